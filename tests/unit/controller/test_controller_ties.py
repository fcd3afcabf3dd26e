"""Who belongs to a director, and whom its changes concern."""

from typing import Any

import pytest

from agentsessions.api.reasons import Reason
from agentsessions.controller.store import Sessions
from agentsessions.controller.ties import KnownTies
from agentsessions.controller.views import SessionRecord
from agentsessions.lifecycle.ties import NO_TIES, DirectorState
from tests.unit.controller.objects import a_raw_session

SERVES = {"role": "Department", "conversation": {"open": True}, "directorRef": {"name": "boss"}}


def put(sessions: Sessions, name: str, *, phase: str = "Running", version: str = "7", **spec: Any) -> SessionRecord:
    raw = a_raw_session(version, status={"phase": phase}, **spec)
    raw["metadata"] |= {"name": name, "uid": f"uid-{name}"}
    record, _ = sessions.put(raw)
    return record


def test_director_and_departments_find_each_other() -> None:
    sessions = Sessions()
    ties = KnownTies(sessions)
    boss = put(sessions, "boss", role="Director")
    data = put(sessions, "data", phase="Idle", **SERVES)
    put(sessions, "done", phase="Completed", **SERVES)
    alone = put(sessions, "alone")
    assert ties.of(boss.view).departments == ("data",)
    assert ties.of(data.view).director is DirectorState.LIVE
    assert ties.of(alone.view) is NO_TIES
    assert ties.affected(boss) == ["team/data"]
    assert ties.affected(alone) == []


@pytest.mark.requirement("LIFE-7")
def test_only_a_director_that_is_being_cancelled_hears_of_its_departments() -> None:
    sessions = Sessions()
    ties = KnownTies(sessions)
    put(sessions, "boss", role="Director")
    data = put(sessions, "data", **SERVES)
    assert ties.affected(data) == []
    put(sessions, "boss", version="8", role="Director", operatingMode="Cancelled")
    assert ties.affected(data) == ["team/boss"]
    assert ties.of(data.view).director is DirectorState.CANCELLED


@pytest.mark.requirement("LIFE-7")
def test_end_of_the_last_department_wakes_its_director() -> None:
    sessions, woken = Sessions(), list[str]()
    ties = KnownTies(sessions)
    ties.wake = woken.append
    boss = put(sessions, "boss", role="Director", operatingMode="Cancelled")
    ties.tell(put(sessions, "data", phase="Cancelled", **SERVES))
    assert woken == ["team/boss"]
    assert ties.of(boss.view).departments == ()


def test_new_department_waits_for_its_director() -> None:
    sessions = Sessions()
    ties = KnownTies(sessions)
    data = put(sessions, "data", phase="Pending", **SERVES)
    missing = ties.refuse(data.view)
    assert missing is not None
    assert (missing.reason, "'boss' of namespace team, which is not there" in missing.message) == (
        Reason.DIRECTOR_NOT_FOUND,
        True,
    )
    other = put(sessions, "boss")
    wrong = ties.refuse(data.view)
    assert wrong is not None
    assert "has role Worker" in wrong.message
    sessions.remove("team/boss", other.view.uid)
    other = put(sessions, "boss", role="Director", owner="alice")
    foreign = ties.refuse(data.view)
    assert foreign is not None
    assert "another owner" in foreign.message
    assert ties.of(other.view).departments == ()
    sessions.remove("team/boss", other.view.uid)
    boss = put(sessions, "boss", role="Director")
    assert ties.refuse(data.view) is None
    assert ties.affected(boss) == ["team/data"]


def test_end_of_what_cannot_be_read_or_is_being_deleted_is_not_awaited() -> None:
    sessions = Sessions()
    ties = KnownTies(sessions)
    boss = put(sessions, "boss", role="Director", operatingMode="Cancelled")
    put(sessions, "data", **SERVES)
    put(sessions, "data", version="8", **SERVES, unknown=1)
    raw = a_raw_session("7", status={"phase": "Running"}, **SERVES)
    raw["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    sessions.put(raw)
    assert ties.of(boss.view).departments == ()
    sessions.remove("team/data")
    sessions.remove("team/rows")
    assert sessions.with_director("team/boss") == []
