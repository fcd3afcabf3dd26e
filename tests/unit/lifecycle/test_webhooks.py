"""Whom a transition is told, in which words, and when it is tried again."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.lifecycle.webhooks import Transition, build_body, is_given_up, is_wanted, wait_after

pytestmark = pytest.mark.requirement("OPS-4")

T0 = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
DONE = Transition(
    namespace="team",
    name="sales",
    uid="0b1c",
    generation=3,
    seq=12,
    head=13,
    before=Phase.RUNNING,
    to=Phase.COMPLETED,
    at=T0,
    reason="GoalReached",
    message="the goal was reached",
    usage={"steps": 2, "totalTokens": 120},
)


@pytest.mark.parametrize(
    ("wanted", "phases", "labels", "is_told"),
    [
        pytest.param({}, None, {}, True, id="a webhook without selector and phases is told everything"),
        pytest.param({"team": "a"}, None, {"team": "a", "x": "y"}, True, id="all labels fit"),
        pytest.param({"team": "a", "x": "y"}, None, {"team": "a"}, False, id="a label is missing"),
        pytest.param({"team": "a"}, None, {"team": "b"}, False, id="a label differs"),
        pytest.param({}, ["Completed", "Failed"], {}, True, id="the phase is among those named"),
        pytest.param({}, ["Failed"], {}, False, id="the phase is not among those named"),
    ],
)
def test_webhook_is_told_what_it_wants(
    wanted: Mapping[str, str], phases: list[str] | None, labels: Mapping[str, str], *, is_told: bool
) -> None:
    assert is_wanted(wanted, phases, labels, Phase.COMPLETED) is is_told


def test_body_is_a_cloud_event_with_both_phases() -> None:
    assert build_body(DONE) == {
        "specversion": "1.0",
        "id": "0b1c-12",
        "source": "/apis/agentsessions.dev/v1alpha1/namespaces/team/agentsessions/sales",
        "type": "dev.agentsessions.session.completed",
        "subject": "team/sales",
        "time": "2026-11-21T12:00:00.250Z",
        "datacontenttype": "application/json",
        "data": {
            "session": {"namespace": "team", "name": "sales", "uid": "0b1c", "generation": 3},
            "from": "Running",
            "to": "Completed",
            "reason": "GoalReached",
            "message": "the goal was reached",
            "usage": {"steps": 2, "totalTokens": 120},
            "journal": {"head": 13},
        },
    }


@pytest.mark.parametrize(
    ("failures", "shortest", "longest"),
    [(1, 2.5, 5), (2, 5, 10), (5, 40, 80), (10, 1280, 2560), (11, 1800, 3600), (10_000, 1800, 3600)],
)
def test_wait_doubles_from_five_seconds_to_an_hour(failures: int, shortest: float, longest: float) -> None:
    assert wait_after(failures, 0.0).total_seconds() == shortest
    assert wait_after(failures, 1.0).total_seconds() == longest


def test_wait_is_what_the_receiver_asked_for_but_no_more_than_an_hour() -> None:
    assert wait_after(1, 1.0, timedelta(seconds=90)) == timedelta(seconds=90)
    assert wait_after(1, 1.0, timedelta(days=2)) == timedelta(hours=1)
    assert wait_after(8, 1.0, timedelta(seconds=1)) == timedelta(seconds=640)


def test_transition_is_given_up_after_a_day() -> None:
    assert not is_given_up(T0, T0 + timedelta(hours=24))
    assert is_given_up(T0, T0 + timedelta(hours=24, seconds=1))
