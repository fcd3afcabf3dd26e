"""The claim of an agent's workspace: one for all its pods, until it moves to another storage class."""

from typing import Any

from agentsessions.api import names
from agentsessions.api.v1alpha1.placement import Volume
from agentsessions.api.v1alpha1.session import WhenDeleted, Workspace
from agentsessions.children.names import claim_name
from agentsessions.children.owner import child_labels, owner_reference
from agentsessions.lifecycle.facts import SessionView


def build_claim(session: SessionView, agent: str, workspace: Workspace, volume: Volume) -> dict[str, Any]:
    """Return the claim. With `whenDeleted: Retain` no session owns it, so that the collector leaves it."""
    spec: dict[str, Any] = {
        # Not ReadWriteOncePod: the pod of a lost node would keep its successor from starting.
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": volume.size}},
    }
    if volume.storage_class_name is not None:
        spec["storageClassName"] = volume.storage_class_name
    is_kept = workspace.when_deleted is WhenDeleted.RETAIN
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(session.name, session.uid, agent, volume),
            "namespace": session.namespace,
            "labels": {**child_labels(session), names.LABEL_AGENT: agent},
            **({} if is_kept else {"ownerReferences": [owner_reference(session)]}),
        },
        "spec": spec,
    }
