"""Talks to a Kubernetes API server: credentials, requests, watches, a queue of keys. Knows nothing of sessions."""
