"""The invariants that end-to-end tests check find what they are there to find."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace as Thing
from typing import Any

import pytest

from tests.invariants import check_audit, check_cost, check_deadline, check_left, check_settled

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def a_pod(phase: str = "Running", *, owner: str = "u1", deleted_at: datetime | None = None) -> Any:
    meta = Thing(name="p", owner_references=[Thing(uid=owner)], deletion_timestamp=deleted_at)
    return Thing(kind="Pod", metadata=meta, status=Thing(phase=phase))


def in_phase(phase: str, *, since: timedelta = timedelta(0), seen: int = 2, **status: Any) -> dict[str, Any]:
    started_at = (NOW - since).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = {"phase": phase, "phaseStartedAt": started_at, "observedGeneration": seen, **status}
    return {"metadata": {"generation": 2}, "spec": {"goal": "count"}, "status": shown}


def test_left_names_what_a_deleted_session_still_owns() -> None:
    assert check_left("u1", [a_pod(), a_pod(owner="u2")]) == ["I4: Pod p is left of session u1"]


@pytest.mark.parametrize(
    ("session", "pods", "want"),
    [
        pytest.param(in_phase("Paused"), [a_pod("Succeeded")], 0, id="a pod that has ended is none"),
        pytest.param(in_phase("Paused"), [a_pod(deleted_at=NOW)], 0, id="a pod on its way out is none"),
        pytest.param(in_phase("Idle"), [a_pod()], 1, id="an idle session holds no pod"),
        pytest.param(in_phase("Waiting"), [a_pod()], 1, id="one that waits for a person holds none"),
        pytest.param(in_phase("Running"), [], 1, id="a running session has a pod"),
        pytest.param(in_phase("Completed", seen=1), [], 1, id="a change of spec that nobody saw"),
    ],
)
def test_settled_compares_pods_and_generation(session: dict[str, Any], pods: list[Any], want: int) -> None:
    assert len(check_settled(session, pods)) == want


@pytest.mark.parametrize(
    ("session", "want"),
    [
        pytest.param(in_phase("Pausing", since=timedelta(seconds=95)), [], id="within grace and ending"),
        pytest.param(
            in_phase("Pausing", since=timedelta(seconds=101)),
            ["I8: Pausing for 0:01:41, at most 0:01:30 without Stalled"],
            id="late and silent",
        ),
        pytest.param(
            in_phase("Pausing", since=timedelta(hours=1), conditions=[{"type": "Stalled", "status": "True"}]),
            [],
            id="late and said so",
        ),
        pytest.param(in_phase("Paused", since=timedelta(days=9)), [], id="people may take their time"),
    ],
)
def test_deadline_finds_a_phase_that_is_stuck_in_silence(session: dict[str, Any], want: list[str]) -> None:
    assert check_deadline(session, NOW) == want


def test_cost_counts_events_apart_from_other_writes() -> None:
    writes = [{"objectRef": {"resource": resource}} for resource in ["pods", *["agentsessions"] * 4, "events"]]
    assert check_cost(8, writes, [1, 2, 3]) == ["I11: 5 object writes, at most 4 are ordinary"]
    assert check_cost(21, [], []) == ["I11: 21 reconciles, at most 20 are ordinary"]


def by_manifest(generation: int, manager: str = "kubectl", **detail: int) -> dict[str, Any]:
    return {"by": "manifest", "generation": generation, "fieldManager": manager, "detail": detail}


def by_request(generation: int) -> dict[str, Any]:
    return {"by": "gateway", "generation": generation}


@pytest.mark.parametrize(
    ("records", "want"),
    [
        pytest.param([by_manifest(1), by_request(2), {"by": "gateway"}], 0, id="one for each, and a message"),
        pytest.param([by_manifest(2, unseenGenerations=1)], 0, id="one that nobody saw, but told"),
        pytest.param([by_manifest(1), by_request(1), by_manifest(2)], 0, id="an act that changed nothing"),
        pytest.param([by_manifest(1), by_manifest(1), by_manifest(2)], 1, id="one told twice"),
        pytest.param([by_manifest(1), by_request(2), by_manifest(2, "agentsessions-gateway")], 1, id="told by both"),
        pytest.param([by_manifest(2)], 1, id="one not told"),
    ],
)
def test_audit_accounts_for_each_generation_once(records: list[dict[str, Any]], want: int) -> None:
    assert len(check_audit(records, 2)) == want
