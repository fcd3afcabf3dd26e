"""Run AI-agent sessions on Kubernetes."""
