"""What kstatus makes of a resource it has no rule of its own for: what Flux, Helm and kpt wait by.

Source: github.com/kubernetes-sigs/cli-utils, pkg/kstatus/status: generic.go and status.go.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class KStatus(StrEnum):
    """What kstatus says."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"


def compute(resource: dict[str, Any]) -> KStatus:
    """Return the first that holds: deletion, generation, Reconciling or Stalled by their order in the list, Ready."""
    metadata, status = resource["metadata"], resource.get("status", {})
    if "deletionTimestamp" in metadata:
        return KStatus.TERMINATING
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return KStatus.IN_PROGRESS
    conditions = status.get("conditions", [])
    for condition in conditions:
        if (condition["type"], condition["status"]) == ("Reconciling", "True"):
            return KStatus.IN_PROGRESS
        if (condition["type"], condition["status"]) == ("Stalled", "True"):
            return KStatus.FAILED
    for condition in conditions:
        if condition["type"] == "Ready":
            return KStatus.CURRENT if condition["status"] == "True" else KStatus.IN_PROGRESS
    return KStatus.CURRENT
