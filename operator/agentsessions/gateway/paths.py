"""Where the routes of people and programs are. Those of pods are in `agentsessions.api.wire`."""

from typing import Final

API: Final = "/api/v1"
"""Version of the routes, which is what clients depend on, and what stands before them all."""
SESSIONS: Final = f"{API}/agent-sessions"
CONVERSATION: Final = f"{API}/conversation"
APPROVALS: Final = f"{API}/approvals"
AUDIT: Final = f"{API}/audit"
COMPARE: Final = f"{API}/compare"
IMPORT: Final = f"{API}/import"
METRICS: Final = f"{API}/metrics"
STATS: Final = f"{API}/stats"
TEMPLATES: Final = f"{API}/templates"
OPENAPI: Final = f"{API}/openapi.json"
