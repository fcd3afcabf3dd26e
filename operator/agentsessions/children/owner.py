"""What ties a child to its session."""

from typing import Any, Final

from agentsessions.api import names
from agentsessions.lifecycle.facts import SessionView

SESSION_KIND: Final = "AgentSession"


def owner_reference(session: SessionView) -> dict[str, Any]:
    """Return the reference by which the collector deletes a child with its session."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": SESSION_KIND,
        "name": session.name,
        "uid": session.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def owner_uid(raw: dict[str, Any]) -> str | None:
    """Return the uid of the session that controls an object, if one does."""
    for reference in raw["metadata"].get("ownerReferences") or ():
        group = str(reference.get("apiVersion", "")).partition("/")[0]
        if reference.get("controller") and reference.get("kind") == SESSION_KIND and group == names.GROUP:
            return str(reference["uid"])
    return None


def child_labels(session: SessionView) -> dict[str, str]:
    """Return the labels of every child of a session."""
    return {
        names.LABEL_MANAGED_BY: names.MANAGER,
        names.LABEL_SESSION: session.name,
        names.LABEL_SESSION_UID: session.uid,
    }
