"""The operator's stream, line by line."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from agentsessions.api.levels import LevelLine
from agentsessions.api.reasons import Phase
from agentsessions.api.wire import Outcome
from agentsessions.gateway.levels import stream_levels
from agentsessions.gateway.streams import Changes
from agentsessions.journal.store import Store
from tests.journal.builders import T0, a_player, a_session, an_answer


async def next_line(lines: AsyncGenerator[bytes]) -> LevelLine:
    line = await anext(lines)
    assert line.endswith(b"\n")
    return LevelLine.model_validate(json.loads(line))


async def test_levels_begin_with_all_open_sessions_and_then_follow_changes(store: Store, changes: Changes) -> None:
    player = await a_player(store)
    await store.put_session(a_session("over", phase=Phase.FAILED, finished_at=T0))
    async with aclosing(stream_levels(store, changes)) as lines:
        first, synced = await next_line(lines), await next_line(lines)
        assert first.level is not None
        assert first.level.session_uid == "s1"
        assert synced.synced
        await store.pin_turn(player.pod)
        await player.ask(an_answer("Done."))
        await player.commit(1, Outcome.FINAL)
        level = first.level
        while level.closing is None:
            level = (await next_line(lines)).level or level
        assert (level.closing.outcome, level.result, level.steps) == (Outcome.FINAL, "Done.", 1)


async def test_a_change_between_the_first_levels_and_the_wait_is_not_lost(store: Store, changes: Changes) -> None:
    await store.put_session(a_session())
    async with aclosing(stream_levels(store, changes)) as lines:
        await next_line(lines)
        await store.put_session(a_session("s2"))
        assert (await next_line(lines)).synced
        assert (await next_line(lines)).level is not None


async def test_a_silent_stream_pings(store: Store, changes: Changes) -> None:
    async with aclosing(stream_levels(store, changes, ping_seconds=0.01)) as lines:
        assert (await next_line(lines)).synced
        assert (await next_line(lines)).ping
        assert (await next_line(lines)).ping


async def test_a_stopping_gateway_ends_the_stream(store: Store, changes: Changes) -> None:
    async with aclosing(stream_levels(store, changes)) as lines:
        assert (await next_line(lines)).synced
        changes.stop()
        rest: list[Any] = [line async for line in lines]
    assert rest == []


async def test_a_session_that_is_gone_is_heard_of_no_more(store: Store, changes: Changes) -> None:
    await store.put_session(a_session("gone"))
    async with aclosing(stream_levels(store, changes)) as lines:
        await next_line(lines)
        assert (await next_line(lines)).synced
        await store.mark_deleted("gone", T0)
        await store.put_session(a_session("next"))
        level = (await next_line(lines)).level
    assert level is not None
    assert level.session_uid == "next"
