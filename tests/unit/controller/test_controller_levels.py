"""The feed of levels, against a server that speaks as the gateway does."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentsessions.controller.authority import Authority
from agentsessions.controller.levels import GatewayAwayError, LevelFeed
from agentsessions.controller.outages import Outages
from tests.builders import SESSION_UID, T0, a_level
from tests.unit.controller.level_server import LevelServer


@pytest.fixture
async def gateway() -> AsyncIterator[LevelServer]:
    async with LevelServer().serve() as gateway:
        yield gateway


class Listener:
    """Collects what the feed tells."""

    def __init__(self, feed: LevelFeed) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        feed.on_level = self.heard.put_nowait
        feed.on_reachable = lambda: self.heard.put_nowait(feed.is_reachable)

    async def next(self) -> Any:
        return await asyncio.wait_for(self.heard.get(), 5)


def make_feed(url: str, tmp_path: Path) -> LevelFeed:
    token = tmp_path / "token"
    token.write_text("secret\n")
    no_client: Any = None  # plain http asks for no CA
    return LevelFeed(url, token, Authority(no_client, "agentsessions-system"), clock=lambda: T0)


@pytest.fixture
async def feed(gateway: LevelServer, tmp_path: Path) -> AsyncIterator[LevelFeed]:
    feed = make_feed(gateway.url, tmp_path)
    task = asyncio.create_task(feed.run())
    yield feed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await feed.close()


async def test_feed_is_reachable_only_once_synced(gateway: LevelServer, feed: LevelFeed) -> None:
    listener = Listener(feed)
    gateway.say(a_level(), synced=True)
    assert await listener.next() is True
    assert await listener.next() == SESSION_UID
    assert feed.get(SESSION_UID) == a_level()
    assert gateway.tokens == ["Bearer secret"]


async def test_feed_tells_of_new_levels_and_drops_older_ones(gateway: LevelServer, feed: LevelFeed) -> None:
    listener = Listener(feed)
    newer, older = (a_level().model_copy(update={"head": head}) for head in (5, 4))
    gateway.say(synced=True)
    gateway.say(newer, older, newer.model_copy(update={"steps": 1}))
    assert [await listener.next() for _ in range(3)] == [True, SESSION_UID, SESSION_UID]
    level = feed.get(SESSION_UID)
    assert level is not None
    assert (level.head, level.steps) == (5, 1)


async def test_feed_syncs_anew_after_the_stream_ended(gateway: LevelServer, feed: LevelFeed) -> None:
    listener = Listener(feed)
    gateway.say(a_level().model_copy(update={"head": 9}), synced=True)
    gateway.break_stream()
    gateway.say(a_level(), synced=True)
    assert [await listener.next() for _ in range(3)] == [True, SESSION_UID, False]
    assert await listener.next() is True
    assert feed.get(SESSION_UID) == a_level(), "what the journal says after a reconnect counts, even if it is less"


async def test_fetch_level_reads_the_store_now(gateway: LevelServer, feed: LevelFeed) -> None:
    assert await feed.fetch_level(SESSION_UID) is None
    gateway.stored[SESSION_UID] = a_level()
    assert await feed.fetch_level(SESSION_UID) == a_level()
    assert feed.get(SESSION_UID) == a_level()


@pytest.mark.requirement("LIFE-11")
async def test_feed_without_a_gateway_is_away_and_goes_on(tmp_path: Path) -> None:
    feed = make_feed("http://127.0.0.1:9", tmp_path)
    task = asyncio.create_task(feed.run())
    await asyncio.wait_for(feed.was_tried.wait(), 5)
    assert not feed.is_reachable
    with pytest.raises(GatewayAwayError, match=SESSION_UID):
        await feed.fetch_level(SESSION_UID)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await feed.close()


def seconds(number: int) -> timedelta:
    return timedelta(seconds=number)


def test_outages_count_only_what_falls_into_the_span() -> None:
    outages = Outages()
    outages.begin(T0)
    outages.end(T0 + seconds(10))
    outages.begin(T0 + seconds(50))
    assert outages.within(T0 + seconds(4), T0 + seconds(60)) == seconds(6 + 10)
    assert outages.within(T0 + seconds(20), T0 + seconds(40)) == seconds(0)
