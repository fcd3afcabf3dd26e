"""Streams of events: each entry once, in order, over as many connections as it takes."""

from __future__ import annotations

import pytest

from agentsessions.client import ApiError, AsyncClient, Client, TimedOut
from agentsessions.client.events import EventDecoder
from tests.unit.client.script_server import Answer, ScriptServer, entry, sse

FIRST = sse(entry(1, "state", phase="Running"), entry(2, "output", text="Hello!"))
REST = sse(entry(2, "output", text="Hello!"), entry(3, "done"))


def test_stream_goes_on_where_a_connection_broke(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=FIRST, is_cut=True), Answer(503, {}), Answer(body=REST)]
    assert [(event.seq, event.type) for event in client.stream("hello")] == [(1, "state"), (2, "output"), (3, "done")]
    assert ["after=2" in asked.path for asked in server.asked] == [False, True, True]


async def test_async_stream_goes_on_likewise(server: ScriptServer, async_client: AsyncClient) -> None:
    server.script = [Answer(body=FIRST, is_cut=True), Answer(body=REST)]
    assert [event.seq async for event in async_client.stream("hello")] == [1, 2, 3]


def test_stream_that_ends_without_done_is_opened_again(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=FIRST), Answer(204)]
    assert [event.seq for event in client.stream("hello")] == [1, 2]


def test_half_an_event_of_a_broken_connection_is_forgotten(server: ScriptServer, client: Client) -> None:
    half = FIRST + b'id: 3\nevent: output\ndata: {"seq": 3, "type": "output", "body": {"te'
    server.script = [
        Answer(body=half, is_cut=True),
        Answer(body=sse(entry(3, "output", text="whole"), entry(4, "done"))),
    ]
    assert [event.text for event in client.stream("hello")][2] == "whole"


def test_stream_that_is_forbidden_is_not_tried_again(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(403, {"code": "forbidden", "detail": "no"})]
    with pytest.raises(ApiError):
        list(client.stream("hello"))
    assert len(server.asked) == 1


def test_stream_ends_in_time(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=b": ping\n\n")]
    with pytest.raises(TimedOut):
        list(client.stream("hello", timeout=0.3))


async def test_async_stream_ends_in_time(server: ScriptServer, async_client: AsyncClient) -> None:
    server.script = [Answer(body=b": ping\n\n")]
    with pytest.raises(TimedOut):
        _ = [event async for event in async_client.stream("hello", timeout=0.3)]


def test_replay_ends_with_its_own_last_event(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=sse(entry(1, "output", text="Hello!"), (None, "end", {"seq": 1})))]
    assert [event.type for event in client.replay("hello", speed=0)] == ["output", "end"]
    assert "speed=0" in server.asked[0].path


def test_what_is_not_stored_has_no_number(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=sse((None, "delta", {"text": "Hel"}), entry(1, "done")))]
    delta, _ = client.stream("hello")
    assert (delta.type, delta.seq, delta.text) == ("delta", None, "Hel")


def test_decoder_takes_each_entry_once() -> None:
    decoder = EventDecoder(last_seq=1)
    found = [decoder.feed(line) for line in (FIRST + FIRST).decode().split("\n")]
    assert [event.seq for event in found if event] == [2]


def test_pings_are_no_events(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=b"retry: 2000\n\n: ping\n\n" + sse(entry(1, "done")))]
    assert [event.seq for event in client.stream("hello")] == [1]
