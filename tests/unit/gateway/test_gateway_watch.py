from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.gateway.watch import to_row, to_view

CREATED = datetime(2026, 11, 21, 12, tzinfo=UTC)


def a_resource(**parts: Any) -> dict[str, Any]:
    return {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "AgentSession",
        "metadata": {
            "namespace": "team",
            "name": "sales",
            "uid": "u1",
            "generation": 3,
            "resourceVersion": "42",
            "creationTimestamp": "2026-11-21T12:00:00Z",
        },
        "spec": {"goal": "Count.", "operatingMode": "Paused", "limits": {"maxSteps": 3}},
        **parts,
    }


def test_a_view_tells_what_the_resource_says() -> None:
    view = to_view(a_resource())
    assert (view.namespace, view.name, view.uid, view.generation) == ("team", "sales", "u1", 3)
    assert (view.created_at, view.is_deleting) == (CREATED, False)
    assert view.spec.operating_mode is OperatingMode.PAUSED
    assert view.status.phase is None


def test_a_resource_of_another_version_is_not_taken_for_less_than_it_is() -> None:
    with pytest.raises(ValidationError):
        to_view(a_resource(spec={"goal": "Count.", "fieldOfTheFuture": True}))


def test_a_row_has_the_limits_that_the_spec_puts_in_force_now() -> None:
    limits = to_row(to_view(a_resource()), "n1").limits
    assert (limits.max_steps, limits.max_tokens) == (3, 200_000)


def test_a_row_tells_why_the_session_is_where_it_is() -> None:
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "StepLimit",
        "message": "3 of 3 steps are used.",
        "lastTransitionTime": "2026-11-21T12:00:05Z",
    }
    error = {"code": "step_limit", "message": "3 of 3 steps are used."}
    status = {"phase": "Failed", "stopReason": "StepLimit", "phaseStartedAt": "2026-11-21T12:00:05Z", "error": error}
    row = to_row(to_view(a_resource(status=status | {"conditions": [condition]})), "n1")
    assert (row.phase, row.stop_reason, row.namespace_uid) == (Phase.FAILED, StopReason.STEP_LIMIT, "n1")
    assert (row.reason, row.message, row.error) == ("StepLimit", "3 of 3 steps are used.", error)
