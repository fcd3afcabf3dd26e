"""Tool calls of a turn."""

import pytest

from agentsessions.api.wire import Outcome, Verdict
from agentsessions.journal.refusals import NothingToPlay, UnknownCall
from agentsessions.journal.store import Store
from tests.journal.builders import a_player, an_answer, call_ids


async def test_a_settled_call_is_recorded_for_the_next_epoch_and_not_run_again(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    one, two = call_ids(await player.ask(an_answer("", "shell", "shell")))
    assert (await player.begin(one)).verdict is Verdict.RUN
    await player.report(one, "first")
    later = await a_player(store, epoch=2)
    await later.reserve()
    recorded = await later.begin(one)
    assert (recorded.verdict, recorded.output) == (Verdict.RECORDED, "first")
    assert (await later.begin(two)).verdict is Verdict.RUN
    await later.report(two, "second")
    await later.commit(1, Outcome.CONTINUE)
    assert [entry.epoch for entry in await store.entries("s1") if entry.type == "tool_result"] == [1, 2]


async def test_the_first_report_of_a_call_stands(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell")))
    await player.report(call_id, "first")
    await player.report(call_id, "second")
    await player.commit(1, Outcome.CONTINUE)
    await player.report(call_id, "third")
    outputs = [entry.body for entry in await store.entries("s1") if entry.type == "tool_result"]
    assert [body["output"] for body in outputs if body] == ["first"]


async def test_a_call_that_the_answer_does_not_ask_for_is_refused(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell")))
    with pytest.raises(UnknownCall):
        await player.begin("call_9_9_9")
    with pytest.raises(UnknownCall):
        await player.report("call_9_9_9", "x")
    with pytest.raises(UnknownCall):
        await player.begin(call_id, "files")


async def test_a_call_of_a_closed_turn_is_refused(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell")))
    await player.report(call_id, "x")
    await player.commit(1, Outcome.CONTINUE)
    with pytest.raises(NothingToPlay):
        await player.begin(call_id)
    await store.pin_turn(player.pod)
    with pytest.raises(UnknownCall):
        await player.begin(call_id)


async def test_a_result_comes_back_with_every_character_that_a_tool_may_print(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell")))
    await player.begin(call_id)
    printed = "NUL \0, its escape \x1a, both \x1a0 \x1a\0, \u2028 and \U0001f600"
    await player.report(call_id, printed)
    assert (await player.begin(call_id)).output == printed
    assert await store.verify("s1") == []
