"""Bodies as people send them: the API's own description shows them, and programs that test the API begin with them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

Json = dict[str, Any]

EXAMPLES: Final[Mapping[str, Json]] = MappingProxyType(
    {
        "createSession": {
            "The shortest": {"goal": "Say hello."},
            "With a context and limits": {
                "sessionId": "sales-2026-11",
                "title": "Monthly sales",
                "goal": "Find the three products that lost most revenue, and say why.",
                "context": {"json": {"metrics": ["revenue", "growth"], "currency": "EUR"}},
                "limits": {"maxSteps": 15, "maxTokens": 60_000, "timeoutSeconds": 180},
                "metadata": {"department": "finance"},
                "labels": {"team": "sales"},
            },
            "Again and again": {
                "sessionId": "metrics-2026-001",
                "type": "Metrics",
                "goal": "Collect CPU and memory metrics.",
                "schedule": {"intervalSeconds": 5, "durationSeconds": 3600},
            },
            "Several agents, effects recorded only": {
                "sessionId": "sim-ops-2026-001",
                "type": "Simulation",
                "goal": "Simulate incident detection and resolution.",
                "agents": [{"name": "detection"}, {"name": "triage"}, {"name": "resolution"}],
                "coordination": {"strategy": "Sequential"},
            },
        },
        "patchSession": {
            "Words about it": {"title": "The greeting", "metadata": {"quarter": "4", "team": None}},
            "More to spend": {"limits": {"maxSteps": 20}},
        },
        "cloneSession": {
            "Another way from its second step": {"atStep": 2, "overrides": {"goal": "Say it in French."}},
            "Once more, with the answers that it got": {"replay": {"mode": "Recorded"}},
        },
        "createMessage": {
            "Something to answer": {"content": "And by region?", "idempotencyKey": "4711"},
            "Something to know": {"role": "system", "content": "Answer in French.", "extraData": {"by": "page"}},
        },
        "patchMessage": {"A correction": {"content": "And by region, please?", "extraData": {"edited": True}}},
        "converse": {
            "A question": {"sessionId": "planning", "message": "What should we do first?", "idempotencyKey": "1"},
            "To an agent of one's own": {
                "sessionId": "coding",
                "title": "Coding",
                "agent": {"name": "helper", "instructions": "You are a helpful coding assistant."},
                "messages": [{"role": "system", "content": "Python."}, {"role": "user", "content": "Sort a list."}],
                "maxHistory": 10,
            },
        },
        "shutdownSession": {
            "With time to end": {"mode": "graceful", "gracePeriodSeconds": 10, "reason": "the plan is made"},
            "At once": {"mode": "forced", "reason": "it does harm"},
        },
        "approveCall": {"With a reason": {"reason": "checked with the customer"}},
        "denyCall": {"With a reason": {"reason": "use the other account"}},
        "settleCall": {"What it came to": {"output": "order 17 is paid"}},
    }
)
"""By operation and by what they show."""
