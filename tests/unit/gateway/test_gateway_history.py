"""Replays, comparisons, health and retention."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.gateway import replay as module
from agentsessions.gateway.compare import Difference, compare, count
from agentsessions.gateway.health import Health, to_health, to_performance
from agentsessions.gateway.pod_usage import PodUsage
from agentsessions.gateway.replay import Part, Replay
from agentsessions.gateway.retention import Retention
from agentsessions.gateway.settings import SettingsError, read_settings
from agentsessions.gateway.spans import to_span
from agentsessions.gateway.streams import Changes
from agentsessions.journal.comparison import read_compared
from agentsessions.journal.rows import SessionRow, SessionUsage
from agentsessions.journal.stats import Performance
from agentsessions.journal.store import Store
from agentsessions.lifecycle.facts import SessionView
from tests.journal.builders import T0, Clock, a_session, play
from tests.unit.gateway.test_gateway_events import always

NO_PODS = PodUsage(reason="no pod of the session runs")
FINE = Performance(queued=0, processed=4, calls=20, errors=0, average_response_milliseconds=250.04)


async def a_replay(store: Store, changes: Changes, part: Part, speed: float) -> list[dict[str, Any]]:
    row = await store.get_session_by_uid("s1")
    assert row is not None
    pieces = [piece async for piece in Replay(store, changes, row, part, speed, always).sse()]
    frames = b"".join(pieces).decode().split("\n\n")
    fields = [dict(line.split(": ", 1) for line in frame.splitlines()) for frame in frames if "data: " in frame]
    return [{"event": one["event"], "id": one.get("id"), **json.loads(one["data"])} for one in fields]


@pytest.mark.requirement("STEP-4")
async def test_a_replay_tells_a_part_and_ends(store: Store, changes: Changes) -> None:
    await store.put_session(a_session())
    told = await a_replay(store, changes, Part(1, 2), 0)
    assert [(one["event"], one["id"]) for one in told] == [("message", "2"), ("end", None)]
    told = await a_replay(store, changes, Part(0, 99), 0)
    assert [one["event"] for one in told] == ["session_start", "message", "state", "end"]


@pytest.mark.requirement("STEP-4")
async def test_a_replay_pauses_as_it_was_divided_by_the_speed_and_bounded(
    store: Store, changes: Changes, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put_session(a_session())
    clock.move(seconds=2)
    await store.put_session(a_session(phase=Phase.RUNNING))
    clock.move(hours=10)
    await store.put_session(a_session(phase=Phase.IDLE))
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.3)
    began = time.monotonic()
    await a_replay(store, changes, Part(0, 99), 10)
    assert 0.5 <= time.monotonic() - began < 5  # 0.2 s, then the bound


async def test_a_replay_ends_with_the_gateway(store: Store, changes: Changes, clock: Clock) -> None:
    await store.put_session(a_session())
    clock.move(hours=1)
    await store.put_session(a_session(phase=Phase.RUNNING))
    telling = asyncio.create_task(a_replay(store, changes, Part(0, 99), 1000))
    await asyncio.sleep(0)
    changes.stop()
    assert "end" not in [one["event"] for one in await asyncio.wait_for(telling, 5)]


@pytest.mark.requirement("STEP-4")
async def test_two_sessions_are_compared_place_by_place(store: Store) -> None:
    for uid, command, last in (("a", "42", "Done."), ("b", "43", "Done."), ("c", "42", None)):
        await play(store, uid, command, last)
    a, b, c = [await store.read(read_compared, uid, None, 100) for uid in "abc"]
    places = compare(a, b, by_round=True)
    assert [(place.step, place.index, place.difference) for place in places][-1] == (2, 1, Difference.SAME)
    (changed,) = [place for place in places if place.difference is Difference.CHANGED]
    assert changed.fields == ["output"]
    assert changed.left is not None
    assert changed.right is not None
    assert (changed.left.text, changed.right.text, changed.left.type) == ("42", "43", "tool_result")
    assert count(places).to_json() == {"same": 3, "changed": 1, "onlyLeft": 0, "onlyRight": 0}
    assert count(compare(a, c, by_round=False)).only_left == 1
    assert count(compare(c, a, by_round=False)).only_right == 1
    assert count(compare(a, a, by_round=True)).same == len(a)


async def test_what_one_side_redacted_is_told_as_changed(store: Store) -> None:
    await play(store, "a", "42")
    entries = await store.read(read_compared, "a", None, 100)
    redacted = [replace(entry, body=None) for entry in entries]
    assert count(compare(entries, redacted, by_round=True)).same == len(entries)  # the digest says it is the same
    other = [replace(entry, body_digest="f") for entry in redacted]
    assert {tuple(place.fields or ()) for place in compare(entries, other, by_round=True)} == {("body",)}


def a_view(**status: Any) -> SessionView:
    spec, found = SessionSpec(goal="g"), SessionStatus.model_validate(status)
    return SessionView("default", "s1", "s1", 1, "1", T0, is_deleting=False, spec=spec, status=found)


STUCK = {
    "type": "Stalled",
    "status": "True",
    "reason": "X",
    "message": "no node has room",
    "lastTransitionTime": T0.isoformat(),
}


@pytest.mark.requirement("OPS-2")
@pytest.mark.requirement("LIFE-3")
@pytest.mark.parametrize(
    ("row", "status", "found", "want", "why"),
    [
        pytest.param({}, {}, {}, Health.HEALTHY, "", id="all is well"),
        pytest.param({"phase": Phase.FAILED, "message": "m"}, {}, {}, Health.UNHEALTHY, "Failed: m", id="it failed"),
        pytest.param({}, {"conditions": [STUCK]}, {}, Health.UNHEALTHY, "no node has room", id="it is stuck"),
        pytest.param({}, {}, {"errors": 10}, Health.UNHEALTHY, "10 of 20", id="half of the calls fail"),
        pytest.param({}, {}, {"errors": 2}, Health.DEGRADED, "2 of 20", id="some calls fail"),
        pytest.param({}, {}, {"queued": 11}, Health.DEGRADED, "11 messages wait", id="messages wait"),
        pytest.param({"phase": Phase.WAITING}, {}, {}, Health.DEGRADED, "waits for somebody", id="it waits"),
        pytest.param({}, {"nextRetryAt": T0.isoformat()}, {}, Health.DEGRADED, "tried again", id="it is tried again"),
        pytest.param(
            {"usage": SessionUsage(limit_reached="steps")},  # type: ignore[arg-type]  # shown as it is
            {},
            {},
            Health.DEGRADED,
            "limit steps is reached",
            id="a limit is reached",
        ),
    ],
)
def test_health_says_what_is_not_well(
    row: dict[str, Any], status: dict[str, Any], found: dict[str, Any], want: Health, why: str
) -> None:
    session = a_session(**{"phase": Phase.RUNNING, "started_at": T0, **row})
    answer = to_health(session, a_view(**status), replace(FINE, **found), NO_PODS, T0 + timedelta(seconds=90))
    assert answer.status is want
    assert why in " ".join(answer.reasons)
    assert (answer.uptime_seconds, answer.last_activity) == (90, session.last_at)
    assert (answer.memory_bytes, answer.resources_reason) == (None, NO_PODS.reason)


@pytest.mark.requirement("OPS-2")
@pytest.mark.requirement("OPS-3")
def test_performance_has_rates_and_sums() -> None:
    row: SessionRow = a_session(started_at=T0, finished_at=T0 + timedelta(seconds=8), usage=SessionUsage(steps=3))
    answer = to_performance(row, replace(FINE, errors=1), PodUsage(1024, 0.25), T0 + timedelta(hours=1))
    assert (answer.messages_processed, answer.throughput_per_second) == (4, 0.5)
    assert (answer.average_response_milliseconds, answer.error_rate) == (250.0, 0.05)
    assert (answer.memory_bytes, answer.cpu_cores, answer.steps) == (1024, 0.25, 3)
    never = to_performance(a_session(), FINE, NO_PODS, T0)
    assert (never.throughput_per_second, never.duration_milliseconds) == (0.0, 0)


@pytest.mark.parametrize(
    ("text", "days"), [("30d", 30.0), ("12h", 0.5), ("2w", 14.0), ("never", None), ("", None)], ids=str
)
def test_a_span_is_read_as_people_write_it(text: str, days: float | None) -> None:
    assert to_span(text) == (None if days is None else timedelta(days=days))


@pytest.mark.parametrize("text", ["30", "0d", "-1d", "a month", "30d "], ids=str)
def test_a_span_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="30d"):
        to_span(text)
    with pytest.raises(SettingsError, match="JOURNAL_RETENTION"):
        read_settings({"AGENTSESSIONS_JOURNAL_RETENTION": text})


async def test_each_namespace_keeps_as_long_as_it_says(store: Store, clock: Clock) -> None:
    for uid in ("short", "long", "wrong", "default", "there"):
        await store.put_session(a_session(uid, namespace_uid=uid))
        if uid != "there":
            await store.mark_deleted(uid, T0)
    clock.move(hours=48)
    said = {"short": "1d", "long": "never", "wrong": "some time"}
    assert await Retention(store, lambda: said, None, clock).sweep() == 1
    assert await store.get_session_by_uid("short") is None
    assert await Retention(store, lambda: said, timedelta(days=3), clock).sweep() == 0
    assert await Retention(store, lambda: said, timedelta(days=1), clock).sweep() == 1
    left = [uid for uid in ("long", "wrong", "default", "there") if await store.get_session_by_uid(uid)]
    assert left == ["long", "wrong", "there"]
