"""The object that asks people about one call of a session."""

from typing import Any, Final

from agentsessions.api import names
from agentsessions.api.v1alpha1.approval import ApprovalRequest
from agentsessions.children.names import approval_name
from agentsessions.children.owner import child_labels, owner_reference
from agentsessions.lifecycle.facts import SessionView

KIND: Final = "SessionApproval"


def build_approval(session: SessionView, request: ApprovalRequest) -> dict[str, Any]:
    """Return the SessionApproval for a call. Its name follows from the call, so that a second try makes no second."""
    name = approval_name(session.name, session.uid, request.agent, request.round, request.call_id, request.number)
    return {
        "apiVersion": names.API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            "namespace": session.namespace,
            "labels": child_labels(session),
            "ownerReferences": [owner_reference(session)],
        },
        "spec": {"session": session.name, "request": request.to_json()},
    }
