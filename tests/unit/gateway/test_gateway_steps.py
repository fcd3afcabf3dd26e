from typing import Any

import pytest

from agentsessions.api.wire import Outcome
from agentsessions.gateway.models import StepAnswer
from agentsessions.gateway.steps import read_steps
from agentsessions.journal.rows import Reserved
from agentsessions.journal.store import Store
from tests.journal.builders import Clock, Player, a_player, an_answer, call_ids


async def play(store: Store) -> Player:
    """Play a session of two steps: one that thinks and calls a tool, one that answers."""
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("I look.", "shell")))
    await player.begin(call_id)
    await player.report(call_id, "three rows")
    await player.commit(1, Outcome.CONTINUE)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("Three."), "d2")
    await player.commit(2, Outcome.FINAL)
    return player


async def all_steps(store: Store, limit: int) -> list[StepAnswer]:
    """Read page by page."""
    items: list[StepAnswer] = []
    after: int | None = 0
    while after is not None:
        page = await read_steps(lambda seq, count: store.entries("s1", seq, count), after, limit)
        assert len(page.items) <= limit
        items += page.items
        after = page.next
    return items


@pytest.mark.requirement("STEP-1")
async def test_steps_are_typed_and_numbered_and_tell_input_and_output(store: Store) -> None:
    await play(store)
    items = await all_steps(store, 100)
    assert [(item.type, item.number, item.output) for item in items] == [
        ("thinking", 1, "I look."),
        ("tool_call", 1, None),
        ("tool_result", 1, "three rows"),
        ("output", 2, "Three."),
    ]
    asked, reported = items[1].input or {}, items[2].input or {}
    assert asked.keys() == {"callId", "name", "arguments"}
    assert reported == {"callId": asked["callId"], "name": "shell"}
    assert items[0].input == {"new": [{"seq": 2, "role": "user", "text": "say hello"}]}
    assert items[3].input == {"new": [{"seq": items[2].seq, "role": "tool", "text": "three rows"}]}


@pytest.mark.requirement("STEP-1")
async def test_steps_tell_the_tokens_and_time_of_their_model_answer(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    reserved: Reserved = await player.reserve()
    clock.move(seconds=3)
    await player.settle(reserved, an_answer("Hello."), (70, 7))
    await player.commit(1, Outcome.FINAL)
    (item,) = await all_steps(store, 100)
    assert (item.input_tokens, item.output_tokens, item.duration_milliseconds) == (70, 7, 3000)


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_of_steps_together_are_the_whole(store: Store, limit: int) -> None:
    await play(store)
    whole = await all_steps(store, 100)
    assert await all_steps(store, limit) == whole


async def test_a_step_that_is_not_complete_is_shown_without_tokens(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("", "shell"))
    (item,) = await all_steps(store, 100)
    assert (item.type, item.number) == ("tool_call", 1)


async def test_a_session_without_entries_has_no_steps() -> None:
    async def none(_after: int, _count: int) -> list[Any]:
        return []

    page = await read_steps(none, 0, 10)
    assert (page.items, page.next) == ([], None)
