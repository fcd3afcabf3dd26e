"""Objects as the API server sends them."""

from typing import Any

from tests.builders import SESSION_UID

POD_UID = "90d00000-0000-4000-8000-000000000001"


def a_raw_session(version: str = "7", *, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Return an AgentSession `team/rows`."""
    return {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "AgentSession",
        "metadata": {
            "name": "rows",
            "namespace": "team",
            "uid": SESSION_UID,
            "generation": 1,
            "resourceVersion": version,
            "creationTimestamp": "2026-11-21T12:00:00Z",
        },
        "spec": {"goal": "count the rows", **spec},
        **({"status": status} if status else {}),
    }


def a_raw_provider(version: str = "3", namespace: str = "team", **spec: Any) -> dict[str, Any]:
    """Return a scripted ModelProvider `default`."""
    script = {"rules": [{"answer": {"text": "done"}}]}
    return {
        "metadata": {
            "name": "default",
            "namespace": namespace,
            "uid": "9",
            "generation": 2,
            "resourceVersion": version,
            "creationTimestamp": "2026-11-21T12:00:00Z",
        },
        "spec": {"type": "Scripted", "models": [{"name": "small"}], "script": script, **spec},
    }


def a_raw_pod(status: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    """Return the pod of epoch 1."""
    return {
        "metadata": {
            "name": "rows-1",
            "namespace": "team",
            "uid": POD_UID,
            "resourceVersion": "8",
            "creationTimestamp": "2026-11-21T12:00:01Z",
            "labels": {"agentsessions.dev/agent": "agent", "agentsessions.dev/epoch": "1"},
            "ownerReferences": [
                {
                    "apiVersion": "agentsessions.dev/v1alpha1",
                    "kind": "AgentSession",
                    "name": "rows",
                    "uid": SESSION_UID,
                    "controller": True,
                }
            ],
            **meta,
        },
        "spec": {},
        "status": status or {"phase": "Pending"},
    }
