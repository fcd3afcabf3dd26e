"""What the informer makes of lists and streams that a real API server does not give on request."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson

from agentsessions.engine.client import Client
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import POD
from tests.unit.engine.conftest import Answer, ScriptedServer

View = tuple[str, str]
"""Name and value."""
HANG = Answer(then="hang")


def pod(name: str, version: int, value: str = "", uid: str = "") -> dict[str, Any]:
    metadata = {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version), "namespace": "ns"}
    return {"metadata": metadata, "value": value}


def listed(version: int, *pods: dict[str, Any]) -> Answer:
    return Answer(body={"metadata": {"resourceVersion": str(version)}, "items": list(pods)})


def streamed(*events: tuple[str, dict[str, Any]], then: str = "hang") -> Answer:
    return Answer(
        chunks=tuple(orjson.dumps({"type": kind, "object": found}) + b"\n" for kind, found in events), then=then
    )


def convert(found: dict[str, Any]) -> View | None:
    if found["value"] == "unwanted":
        return None
    if found["value"] == "broken":
        raise ValueError("a bug")
    return found["metadata"]["name"], found["value"]


class Log:
    """The changes, in order."""

    def __init__(self, server: ScriptedServer) -> None:
        self._signal = server.signal
        self.changes: list[tuple[View | None, View | None]] = []
        self.raises = False

    def __call__(self, old: View | None, new: View | None) -> None:
        self.changes.append((old, new))
        self._signal.note()
        if self.raises:
            raise RuntimeError("a bug")


@asynccontextmanager
async def running(client: Client, log: Log) -> AsyncIterator[Informer[View]]:
    informer = Informer(client, POD, convert=convert, key_of=lambda view: view[0], on_change=log)
    task = asyncio.create_task(informer.run())
    try:
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def asked(server: ScriptedServer) -> list[str]:
    """Return what was asked, in order: `list`, or the version that a watch began at."""
    return [request.query.get("resourceVersion", "list") for request in server.requests]


async def test_a_relist_tells_what_came_changed_and_went(server: ScriptedServer, client: Client) -> None:
    server.plays(
        listed(5, pod("same", 1, "x"), pod("other", 2, "old"), pod("gone", 3)),
        Answer(410, {"reason": "Expired"}),
        listed(9, pod("same", 1, "x"), pod("other", 8, "new"), pod("new", 7)),
        HANG,
    )
    log = Log(server)
    async with running(client, log) as informer:
        await server.signal.until(lambda: len(server.requests) == 4)
        assert sorted(informer) == ["new", "other", "same"]
        assert informer["other"] == ("other", "new")
        assert informer.get("gone") is None
        assert len(informer) == len(informer.values()) == 3
    assert log.changes[3:] == [
        (("gone", ""), None),
        (("other", "old"), ("other", "new")),
        (None, ("new", "")),
    ]
    assert asked(server) == ["list", "5", "list", "9"]


async def test_an_object_made_anew_under_its_name_went_and_came(server: ScriptedServer, client: Client) -> None:
    server.plays(
        listed(5, pod("a", 1, "first")),
        Answer(410, {}),
        listed(9, pod("a", 8, "second", uid="another")),
        HANG,
    )
    log = Log(server)
    async with running(client, log) as informer:
        await server.signal.until(lambda: len(log.changes) == 3)
        assert informer["a"] == ("a", "second")
    assert log.changes[1:] == [(("a", "first"), None), (None, ("a", "second"))]


async def test_a_broken_stream_goes_on_from_the_last_version_heard_of(server: ScriptedServer, client: Client) -> None:
    bookmark = {"metadata": {"resourceVersion": "12"}}
    server.plays(
        listed(5),
        streamed(("ADDED", pod("a", 6)), ("BOOKMARK", bookmark), then="break"),
        streamed(("DELETED", pod("a", 13))),
    )
    log = Log(server)
    async with running(client, log) as informer:
        await server.signal.until(lambda: len(log.changes) == 2)
        assert not informer.values()
    assert asked(server) == ["list", "5", "12"]


async def test_a_stream_that_broke_before_its_first_word_starts_from_scratch(
    server: ScriptedServer, client: Client
) -> None:
    server.plays(listed(5), Answer(then="break"), listed(7), HANG)
    async with running(client, Log(server)):
        await server.signal.until(lambda: len(server.requests) == 4)
    assert asked(server) == ["list", "5", "list", "7"]


async def test_a_stream_that_fell_silent_starts_from_scratch(
    server: ScriptedServer, make_client: Callable[..., Client]
) -> None:
    server.plays(listed(5, pod("a", 1)), streamed(("ADDED", pod("b", 6))), listed(8, pod("b", 6)), HANG)
    log = Log(server)
    async with running(make_client(silence_seconds=0.1), log):
        await server.signal.until(lambda: len(log.changes) == 3)
        await server.signal.until(lambda: len(server.requests) >= 4)
    assert log.changes[2] == (("a", ""), None)
    assert asked(server)[:4] == ["list", "5", "list", "8"]


async def test_a_stream_that_ends_well_is_followed_by_the_next(server: ScriptedServer, client: Client) -> None:
    server.plays(listed(5), streamed(("ADDED", pod("a", 6)), then="end"), HANG)
    async with running(client, Log(server)):
        await server.signal.until(lambda: len(server.requests) == 3)
    assert asked(server) == ["list", "5", "6"]


async def test_the_informer_waits_for_a_server_that_refuses(server: ScriptedServer, client: Client) -> None:
    server.plays(Answer(403, {"reason": "Forbidden"}), listed(5, pod("a", 1)), HANG)
    async with running(client, Log(server)) as informer:
        assert not informer.is_synced.is_set()
        async with asyncio.timeout(10):
            await informer.is_synced.wait()
        assert "a" in informer


async def test_an_object_that_is_not_wanted_any_more_went(server: ScriptedServer, client: Client) -> None:
    server.plays(
        listed(5, pod("a", 1), pod("never", 2, "unwanted")),
        streamed(("MODIFIED", pod("a", 6, "unwanted")), ("DELETED", pod("never", 7, "unwanted"))),
    )
    log = Log(server)
    async with running(client, log) as informer:
        await server.signal.until(lambda: len(log.changes) == 2)
        assert "a" not in informer
    assert log.changes == [(None, ("a", "")), (("a", ""), None)]


async def test_an_object_that_breaks_the_conversion_keeps_its_last_view(server: ScriptedServer, client: Client) -> None:
    server.plays(
        listed(5, pod("a", 1, "good"), pod("b", 2, "broken")),
        streamed(("MODIFIED", pod("a", 6, "broken")), ("ADDED", pod("c", 7))),
    )
    log = Log(server)
    async with running(client, log) as informer:
        await server.signal.until(lambda: "c" in informer)
        assert informer["a"] == ("a", "good")
        assert "b" not in informer
    assert log.changes == [(None, ("a", "good")), (None, ("c", ""))]


async def test_a_listener_that_raises_stops_nothing(server: ScriptedServer, client: Client) -> None:
    server.plays(listed(5, pod("a", 1)), streamed(("ADDED", pod("b", 6))))
    log = Log(server)
    log.raises = True
    async with running(client, log) as informer:
        await server.signal.until(lambda: "b" in informer)
    assert len(log.changes) == 2


async def test_hearing_is_dated(server: ScriptedServer, client: Client) -> None:
    server.plays(listed(5, pod("a", 1)), streamed(("ADDED", pod("b", 6))))
    log = Log(server)
    made_at = time.monotonic()
    async with running(client, log) as informer:
        assert informer.last_heard_at >= made_at
        await informer.is_synced.wait()
        at_list = informer.last_heard_at
        await server.signal.until(lambda: "b" in informer)
        assert informer.last_heard_at > at_list > made_at
