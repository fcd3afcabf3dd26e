"""Who belongs to a director, and whom its changes concern."""

from typing import Any

import pytest

from agentsessions.api.reasons import Reason
from agentsessions.controller.store import Sessions
from agentsessions.controller.teams import Teams
from agentsessions.controller.views import SessionRecord
from agentsessions.lifecycle.team import NO_TEAM, DirectorState
from tests.unit.controller.objects import a_raw_session

SERVES = {"role": "Department", "conversation": {"open": True}, "directorRef": {"name": "boss"}}


def put(sessions: Sessions, name: str, *, phase: str = "Running", version: str = "7", **spec: Any) -> SessionRecord:
    raw = a_raw_session(version, status={"phase": phase}, **spec)
    raw["metadata"] |= {"name": name, "uid": f"uid-{name}"}
    record, _ = sessions.put(raw)
    return record


def test_director_and_departments_find_each_other() -> None:
    sessions = Sessions()
    teams = Teams(sessions)
    boss = put(sessions, "boss", role="Director")
    data = put(sessions, "data", phase="Idle", **SERVES)
    put(sessions, "done", phase="Completed", **SERVES)
    alone = put(sessions, "alone")
    assert teams.of(boss.view).departments == ("data",)
    assert teams.of(data.view).director is DirectorState.LIVE
    assert teams.of(alone.view) is NO_TEAM
    assert teams.affected(boss) == ["team/data"]
    assert teams.affected(alone) == []


@pytest.mark.requirement("LIFE-7")
def test_only_a_director_that_is_being_cancelled_hears_of_its_departments() -> None:
    sessions = Sessions()
    teams = Teams(sessions)
    put(sessions, "boss", role="Director")
    data = put(sessions, "data", **SERVES)
    assert teams.affected(data) == []
    put(sessions, "boss", version="8", role="Director", operatingMode="Cancelled")
    assert teams.affected(data) == ["team/boss"]
    assert teams.of(data.view).director is DirectorState.CANCELLED


def test_new_department_waits_for_its_director() -> None:
    sessions = Sessions()
    teams = Teams(sessions)
    data = put(sessions, "data", phase="Pending", **SERVES)
    missing = teams.refuse(data.view)
    assert missing is not None
    assert (missing.reason, "'boss' of namespace team, which is not there" in missing.message) == (
        Reason.DIRECTOR_NOT_FOUND,
        True,
    )
    other = put(sessions, "boss")
    wrong = teams.refuse(data.view)
    assert wrong is not None
    assert "has role Worker" in wrong.message
    sessions.remove("team/boss", other.view.uid)
    other = put(sessions, "boss", role="Director", owner="alice")
    foreign = teams.refuse(data.view)
    assert foreign is not None
    assert "another owner" in foreign.message
    assert teams.of(other.view).departments == ()
    sessions.remove("team/boss", other.view.uid)
    boss = put(sessions, "boss", role="Director")
    assert teams.refuse(data.view) is None
    assert teams.affected(boss) == ["team/data"]


def test_end_of_what_cannot_be_read_or_is_being_deleted_is_not_awaited() -> None:
    sessions = Sessions()
    teams = Teams(sessions)
    boss = put(sessions, "boss", role="Director", operatingMode="Cancelled")
    put(sessions, "data", **SERVES)
    put(sessions, "data", version="8", **SERVES, unknown=1)
    raw = a_raw_session("7", status={"phase": "Running"}, **SERVES)
    raw["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    sessions.put(raw)
    assert teams.of(boss.view).departments == ()
    sessions.remove("team/data")
    sessions.remove("team/rows")
    assert sessions.with_director("team/boss") == []
