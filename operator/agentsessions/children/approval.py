"""The object that asks people about one call of a session: made, and read."""

from collections.abc import Mapping
from typing import Any, Final

from agentsessions.api import names
from agentsessions.api.v1alpha1.approval import ApprovalRequest, SessionApprovalSpec, SessionApprovalStatus
from agentsessions.children.names import approval_name
from agentsessions.children.owner import child_labels, owner_reference
from agentsessions.lifecycle.approvals import ApprovalView
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


def to_view(found: Mapping[str, Any], session_uid: str) -> ApprovalView:
    """Return the view of a SessionApproval.

    Args:
        found: The object, as the API server shows it.
        session_uid: Of the session that controls it, which its reader knows how to tell.

    Raises:
        ValidationError: This version cannot read it.
    """
    metadata = found["metadata"]
    return ApprovalView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        session_uid=session_uid,
        spec=SessionApprovalSpec.model_validate(found.get("spec") or {}),
        status=SessionApprovalStatus.model_validate(found.get("status") or {}, extra="ignore"),
    )
