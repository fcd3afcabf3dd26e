"""The event stream over real HTTP, from a real journal."""

import asyncio
import json
import socket
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy
import sqlalchemy.event
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.wire import Outcome
from agentsessions.gateway.events import MEDIA_TYPE, End, Following, is_over
from agentsessions.gateway.frames import of_data
from agentsessions.gateway.metrics import Stream
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.streams import Changes, LiveResponse, StreamCount
from agentsessions.gateway.tails import KEPT_DELTAS, Tails
from agentsessions.journal.entries import EntryType
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Player, a_player, a_session, an_answer
from tests.plain_http import open_plain
from tests.unit.gateway.conftest import Serve

COMPLETED: dict[str, Any] = {"phase": Phase.COMPLETED, "stop_reason": StopReason.GOAL_REACHED, "finished_at": T0}


@dataclass(frozen=True)
class Event:
    """A server-sent event, as a browser reads it."""

    id: int | None
    type: str
    data: dict[str, Any]


async def read_events(response: httpx2.Response) -> AsyncIterator[Event]:
    """Read events as the standard says; comments are left out."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = value
        if not line and "data" in fields:
            number = int(fields["id"]) if "id" in fields else None
            yield Event(number, fields.get("event", "message"), json.loads(fields["data"]))
        if not line:
            fields = {}


async def always() -> bool:
    return True


async def following(
    store: Store, changes: Changes, after: int = 0, *, tails: Tails | None = None, **options: Any
) -> Following:
    row = await store.get_session_by_uid("s1")
    assert row is not None
    return Following(store, changes, tails or Tails(store, changes), row, after, **{"is_allowed": always, **options})


def an_app(
    store: Store,
    changes: Changes,
    *,
    tails: Tails | None = None,
    ping_seconds: float = 15.0,
    stall_seconds: float = 30.0,
) -> Starlette:
    shared = tails or Tails(store, changes)

    async def events(request: Request) -> Response:
        after = int(request.headers.get("Last-Event-ID", 0))
        reader = await following(store, changes, after, tails=shared, ping_seconds=ping_seconds)
        return LiveResponse(reader.sse(), MEDIA_TYPE, stream=Stream.EVENTS, stall_seconds=stall_seconds)

    return Starlette(routes=[Route("/events", events)])


async def follow(port: int, after: int = 0) -> AsyncGenerator[Event]:
    """Yield events until the stream ends."""
    async with (
        open_plain(timeout=10) as client,
        client.stream("GET", f"http://127.0.0.1:{port}/events", headers={"Last-Event-ID": str(after)}) as response,
    ):
        assert response.headers["content-type"] == f"{MEDIA_TYPE}; charset=utf-8"
        async for event in read_events(response):
            yield event


async def take(port: int, count: int, after: int = 0) -> list[Event]:
    """Return the next events, then cut the connection."""
    events: list[Event] = []
    async with aclosing(follow(port, after)) as following:
        async for event in following:
            events.append(event)
            if len(events) == count:
                break
    return events


async def play_one_turn(player: Player, k: int, thought: str = "I look.") -> None:
    await player.store.pin_turn(player.pod)
    answer = await player.ask(an_answer(thought, "shell"), f"d{k}")
    call_id = answer["choices"][0]["message"]["tool_calls"][0]["id"]
    await player.begin(call_id)
    await player.report(call_id, f"result {k}")
    await player.commit(k, Outcome.CONTINUE)


@pytest.mark.requirement("STEP-2")
async def test_a_client_that_is_cut_and_comes_back_sees_each_event_once_in_order(
    store: Store, changes: Changes, serve: Serve
) -> None:
    port = await serve(an_app(store, changes))
    player = await a_player(store)

    async def play() -> None:
        for k in range(1, 6):
            await play_one_turn(player, k)
        await store.put_session(a_session(**COMPLETED))

    playing = asyncio.create_task(play())
    seen: list[Event] = []
    while not seen or seen[-1].type != "done":
        seen += await take(port, 4, after=seen[-1].id or 0 if seen else 0)
    await playing
    entries = await store.entries("s1")
    assert [event.id for event in seen] == [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert [event.type for event in seen] == [entry.type for entry in entries]
    assert [event.data["body"] for event in seen] == [entry.body for entry in entries]


async def test_the_stream_is_live_and_ends_after_done(store: Store, changes: Changes, serve: Serve) -> None:
    port = await serve(an_app(store, changes))
    await store.put_session(a_session())
    async with aclosing(follow(port)) as stream:
        first = [await anext(stream) for _ in range(3)]
        assert [event.type for event in first] == ["session_start", "message", "state"]
        await store.put_session(a_session(**COMPLETED))
        assert [event.type async for event in stream] == ["state", "done"]


async def test_a_deleted_session_ends_its_stream(store: Store, changes: Changes, serve: Serve) -> None:
    port = await serve(an_app(store, changes))
    await store.put_session(a_session())
    async with aclosing(follow(port)) as stream:
        await anext(stream)
        await store.mark_deleted("s1", T0)
        assert [event.type async for event in stream] == ["message", "state"]


async def test_a_stopping_gateway_ends_its_streams(store: Store, changes: Changes, serve: Serve) -> None:
    port = await serve(an_app(store, changes))
    await store.put_session(a_session())
    async with aclosing(follow(port)) as stream:
        await anext(stream)
        changes.stop()
        assert len([event async for event in stream]) == 2


async def test_a_silent_stream_is_pinged(store: Store, changes: Changes, serve: Serve) -> None:
    port = await serve(an_app(store, changes, ping_seconds=0.02))
    await store.put_session(a_session())
    async with (
        open_plain(timeout=10) as client,
        client.stream("GET", f"http://127.0.0.1:{port}/events") as response,
    ):
        lines = [line async for line in first_lines(response, 30)]
    assert lines[0] == "retry: 2000"
    assert lines.count(": ping") > 1


async def first_lines(response: httpx2.Response, count: int) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        yield line
        count -= 1
        if not count:
            return


@pytest.mark.requirement("STEP-2")
async def test_a_slow_reader_is_dropped_and_others_go_on(store: Store, changes: Changes, serve: Serve) -> None:
    port = await serve(an_app(store, changes, stall_seconds=0.2))
    player = await a_player(store)
    dropped_before = dropped()
    with a_reader_who_sleeps(port):
        playing = asyncio.create_task(play_loud_turns(player, 12))
        events = [event async for event in follow(port)]
        await playing
        while dropped() == dropped_before:
            await asyncio.wait_for(store.entries("s1", 0, 1), 5)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "done"


@contextmanager
def a_reader_who_sleeps(port: int) -> Iterator[None]:
    """Ask for the stream and never read it."""
    with socket.socket() as sleeping:
        sleeping.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sleeping.connect(("127.0.0.1", port))
        sleeping.sendall(b"GET /events HTTP/1.1\r\nHost: gateway\r\n\r\n")
        yield


def dropped() -> float:
    return REGISTRY.get_sample_value("agentsession_gateway_dropped_streams_total", {"stream": "events"}) or 0.0


async def play_loud_turns(player: Player, turns: int) -> None:
    """Write more than the buffers of two sockets hold."""
    for k in range(1, turns + 1):
        await play_one_turn(player, k, "x" * 1_000_000)
    await player.store.put_session(a_session(**COMPLETED))


async def test_a_client_that_has_seen_done_has_seen_all(store: Store) -> None:
    await store.put_session(a_session())
    await store.put_session(a_session(**COMPLETED))
    row = await store.get_session_by_uid("s1")
    assert row is not None
    last = (await store.entries("s1"))[-1]
    assert last.type is EntryType.DONE
    assert await is_over(store, row, last.seq)
    assert not await is_over(store, row, last.seq - 1)
    assert not await is_over(store, row, 0)


async def test_a_reader_who_lost_the_right_is_cut_off(
    store: Store, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsessions.gateway.events.CHECK_SECONDS", 0.0)
    await store.put_session(a_session())

    async def never() -> bool:
        return False

    reader = await following(store, changes, is_allowed=never)
    assert len([piece async for piece in reader.sse()]) == 1  # the greeting
    assert reader.end is End.REFUSED


async def test_a_hole_in_the_journal_is_told_as_a_gap(store: Store, changes: Changes, tmp_path: Path) -> None:
    await store.put_session(a_session())
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        database.execute("DELETE FROM entries WHERE seq = 2")
        database.commit()
    pieces = (await following(store, changes)).sse()
    async with aclosing(pieces):
        text = b"".join([await anext(pieces) for _ in range(2)]).decode()
    assert 'event: gap\ndata: {"after":1,"before":3}\n\n' in text


@pytest.mark.requirement("STEP-2")
async def test_many_viewers_cost_one_read_of_the_journal_for_a_commit(
    store: Store, changes: Changes, serve: Serve
) -> None:
    tails = Tails(store, changes)
    port = await serve(an_app(store, changes, tails=tails))
    await store.put_session(a_session())
    async with AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(aclosing(follow(port))) for _ in range(20)]
        for viewer in viewers:
            for _ in range(3):
                await anext(viewer)
        with noted_statements() as statements:
            await store.put_session(a_session(**COMPLETED))
            for viewer in viewers:
                assert [event.type async for event in viewer] == ["state", "done"]
    reads = [one for one in statements if one.startswith("SELECT") and "FROM entries" in one]
    assert 1 <= len(reads) <= 2, reads


@contextmanager
def noted_statements() -> Iterator[list[str]]:
    """Give all statements that the databases of the process are asked."""
    found: list[str] = []

    def note(*call: Any) -> None:
        found.append(call[2])

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


@pytest.mark.requirement("STEP-2")
async def test_a_delta_reaches_who_waits_and_is_kept_for_nobody(store: Store, changes: Changes, serve: Serve) -> None:
    tails = Tails(store, changes)
    port = await serve(an_app(store, changes, tails=tails))
    await store.put_session(a_session())
    tails.add_delta("s1", of_data("delta", {"text": "nobody"}))
    async with aclosing(follow(port)) as stream:
        for _ in range(3):
            await anext(stream)
        tails.add_delta("s1", of_data("delta", {"text": "hel"}))
        delta = await anext(stream)
        assert (delta.id, delta.type, delta.data) == (None, "delta", {"text": "hel"})
        await store.put_session(a_session(**COMPLETED))
        assert [event.type async for event in stream] == ["state", "done"]
    assert "delta" not in {entry.type for entry in await store.entries("s1")}


async def test_deltas_wait_for_a_slow_viewer_only_so_many(store: Store, changes: Changes) -> None:
    tails = Tails(store, changes)
    await store.put_session(a_session())
    async with tails.join("s1") as (_, viewer):
        for number in range(KEPT_DELTAS + 5):
            tails.add_delta("s1", of_data("delta", {"n": number}))
        kept = viewer.take_deltas()
    assert len(kept) == KEPT_DELTAS
    assert json.loads(kept[0].data) == {"n": 5}
    assert not tails.is_watched("s1")


async def test_a_viewer_who_falls_behind_what_is_kept_reads_the_journal(
    store: Store, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsessions.gateway.tails.KEPT_FRAMES", 2)
    player = await a_player(store)
    reader = await following(store, changes)
    seen: list[int] = []
    async with aclosing(reader.frames()) as batches:
        await anext(batches)
        seen += [frame.seq or 0 for frame in await anext(batches)]
        for k in range(1, 4):
            await play_one_turn(player, k)
        await store.put_session(a_session(**COMPLETED))
        async for batch in batches:
            seen += [frame.seq or 0 for frame in batch]
    assert seen == list(range(1, len(await store.entries("s1")) + 1))


async def test_a_user_has_only_so_many_streams() -> None:
    streams = StreamCount(1)

    async def endless() -> AsyncGenerator[bytes]:
        while True:
            yield b"x"

    async with aclosing(streams.count("alice", endless())) as stream:
        await anext(stream)
        streams.refuse_more("bob")
        with pytest.raises(ProblemError) as refused:
            streams.refuse_more("alice")
        assert (refused.value.status, refused.value.code) == (429, "too_many_streams")
        assert refused.value.headers["Retry-After"]
    streams.refuse_more("alice")
