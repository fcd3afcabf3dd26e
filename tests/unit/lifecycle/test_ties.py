"""A director ends after its departments; they end with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.decision import Decision
from agentsessions.lifecycle.ties import DirectorState, Member, Ties, gather_departments, judge_director
from tests.builders import T0, SessionBuilder, a_session

GRACE, ENDING = timedelta(seconds=30), timedelta(seconds=30)
LEFT = {"departments": ("data", "mail"), "longest_grace": GRACE}
SERVES = {"goal": None, "role": "Department", "conversation": {"open": True}, "directorRef": {"name": "boss"}}


def a_director() -> SessionBuilder:
    return a_session().with_spec(role="Director")


def a_department() -> SessionBuilder:
    return a_session().with_spec(**SERVES)


def member(name: str = "data", phase: Phase | None = Phase.IDLE, **spec: Any) -> Member:
    finished_at = spec.pop("finished_at", None)
    status = SessionStatus(phase=phase, finished_at=finished_at)
    return Member(name, SessionSpec.model_validate({"goal": "x", **spec}), status)


def message_of(decision: Decision) -> str:
    return next(one.message for one in decision.status.conditions or [] if one.type == "Ready")


@pytest.mark.requirement("LIFE-7")
def test_director_that_is_cancelled_keeps_its_pod_until_its_departments_ended() -> None:
    waits = decide(a_director().running().asked_to_cancel().tied(**LEFT).facts(), T0)
    assert (waits.status.phase, waits.delete) == (Phase.CANCELLING, ())
    assert "first data, mail must end" in message_of(waits)
    assert waits.wake_at == T0 + GRACE + 2 * ENDING
    ends = decide(a_director().running().asked_to_cancel().facts(), T0)
    assert [pod.grace_seconds for pod in ends.delete] == [30]


@pytest.mark.requirement("LIFE-7")
@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.IDLE, Phase.PAUSED])
def test_director_without_a_pod_stays_where_it_is_until_its_departments_ended(phase: Phase) -> None:
    director = a_director().in_phase(phase).asked_to_cancel()
    assert decide(director.tied(**LEFT).facts(), T0).status.phase is phase
    assert decide(director.facts(), T0).status.phase is Phase.CANCELLED


def test_director_in_cancelling_does_not_wait_for_ever() -> None:
    director = a_director().running().in_phase(Phase.CANCELLING, since=GRACE + 2 * ENDING).asked_to_cancel()
    late = decide(director.tied(**LEFT).facts(), T0)
    assert (late.status.phase, late.status.stop_reason) == (Phase.CANCELLED, StopReason.FORCE_TERMINATED)


def test_time_of_the_directors_own_pods_begins_with_the_end_of_its_departments() -> None:
    director = a_director().running().in_phase(Phase.CANCELLING, since=timedelta(seconds=50)).asked_to_cancel()
    ended = director.tied(departments_ended_at=T0 - timedelta(seconds=5))
    decision = decide(ended.facts(), T0)
    assert (decision.status.phase, [pod.grace_seconds for pod in decision.delete]) == (Phase.CANCELLING, [30])
    assert decision.wake_at == T0 + timedelta(seconds=25)


@pytest.mark.requirement("LIFE-7")
@pytest.mark.parametrize(
    ("department", "phase"),
    [
        pytest.param(a_department().running(), Phase.CANCELLING, id="one that works is given its time"),
        pytest.param(a_department().in_phase(Phase.IDLE), Phase.CANCELLED, id="one that waits ends at once"),
        pytest.param(a_department().paused().asked_to_pause(), Phase.CANCELLED, id="one that is paused ends as well"),
        pytest.param(a_department().in_phase(Phase.PENDING), Phase.CANCELLED, id="one that never began ends as well"),
    ],
)
def test_department_is_cancelled_with_its_director(department: SessionBuilder, phase: Phase) -> None:
    decision = decide(department.tied(director=DirectorState.CANCELLED).facts(), T0)
    assert decision.status.phase is phase
    assert message_of(decision).endswith("(with its director boss)")


@pytest.mark.requirement("LIFE-7")
def test_department_finishes_its_work_when_its_director_is_done() -> None:
    ended = {"director": DirectorState.ENDED}
    idle = a_department().in_phase(Phase.IDLE).with_row(state="Ended").with_idle_closing()
    assert decide(idle.tied(**ended).facts(), T0).status.phase is Phase.COMPLETED
    assert decide(idle.tied(director=DirectorState.LIVE).facts(), T0).status.phase is Phase.IDLE
    asked = idle.with_journal(inbox_pending=1).tied(**ended)
    assert decide(asked.facts(), T0).status.phase is Phase.STARTING


def test_department_whose_director_is_done_waits_for_no_message() -> None:
    ended = {"director": DirectorState.ENDED}
    works = a_department().running().tied(**ended)
    assert decide(works.facts(), T0).status.phase is Phase.RUNNING
    waits = works.with_journal(idle_since=T0)
    done = decide(waits.facts(), T0)
    assert (done.status.phase, len(done.delete)) == (Phase.COMPLETED, 1)
    assert decide(waits.with_stale_journal().facts(), T0).needs_level
    assert decide(waits.with_journal(inbox_pending=1).facts(), T0).status.phase is Phase.RUNNING
    alone = waits.tied(director=DirectorState.LIVE)
    assert decide(alone.facts(), T0).status.phase is Phase.RUNNING


def test_director_whose_conversation_is_closed_waits_for_its_departments() -> None:
    closed = a_director().with_spec(conversation={"open": False}).in_phase(Phase.IDLE).with_row(state="Ended")
    waits = closed.with_idle_closing(open_commands=1)
    assert decide(waits.facts(), T0).status.phase is Phase.IDLE
    assert decide(closed.with_idle_closing().facts(), T0).status.phase is Phase.COMPLETED


@pytest.mark.parametrize(
    ("director", "phase", "want"),
    [
        pytest.param(None, None, DirectorState.NONE, id="not there yet"),
        pytest.param(None, Phase.PENDING, DirectorState.NONE, id="still not there"),
        pytest.param(None, Phase.IDLE, DirectorState.CANCELLED, id="deleted"),
        pytest.param(member(phase=Phase.RUNNING), Phase.IDLE, DirectorState.LIVE, id="at work"),
        pytest.param(member(phase=Phase.PAUSED), Phase.IDLE, DirectorState.LIVE, id="paused"),
        pytest.param(
            member(phase=Phase.RUNNING, operatingMode="Cancelled"), Phase.IDLE, DirectorState.CANCELLED, id="to cancel"
        ),
        pytest.param(member(phase=Phase.CANCELLED), Phase.IDLE, DirectorState.CANCELLED, id="cancelled"),
        pytest.param(member(phase=Phase.COMPLETED), Phase.IDLE, DirectorState.ENDED, id="completed"),
        pytest.param(member(phase=Phase.FAILED), Phase.PENDING, DirectorState.ENDED, id="failed"),
    ],
)
def test_judge_director(director: Member | None, phase: Phase | None, want: DirectorState) -> None:
    assert judge_director(director, phase) is want


def test_departments_that_have_ended_are_awaited_no_more() -> None:
    slow = member("slow", Phase.CANCELLING, shutdown={"gracePeriodSeconds": 90})
    gone = member("gone", Phase.CANCELLED, finished_at=T0, shutdown={"gracePeriodSeconds": 300})
    ties = gather_departments([member("data"), slow, gone])
    assert ties == Ties(departments=("data", "slow"), departments_ended_at=T0, longest_grace=timedelta(seconds=90))
