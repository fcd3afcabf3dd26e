"""The conversation as input items for the engine."""

from agents.models.chatcmpl_converter import Converter

from agentsessions.api.wire import Outcome
from agentsessions.journal.store import Store
from tests.journal.builders import a_player, an_answer, call_ids

GOAL = {"role": "user", "content": "say hello"}


async def test_history_holds_what_was_said_in_the_order_of_the_calls(store: Store) -> None:
    player = await a_player(store)
    first = await store.pin_turn(player.pod)
    one, two = call_ids(await player.ask(an_answer("let me look", "shell", "files")))
    await player.report(two, "second")
    await player.report(one, "first")
    await player.commit(1, Outcome.CONTINUE)
    second = await store.pin_turn(player.pod)

    assert await store.history(first) == [GOAL]
    items = await store.history(second)
    assert items == [
        GOAL,
        {
            "type": "message",
            "id": "__fake_id__",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "let me look", "annotations": []}],
        },
        {"type": "function_call", "call_id": one, "name": "shell", "arguments": "{}"},
        {"type": "function_call", "call_id": two, "name": "files", "arguments": "{}"},
        {"type": "function_call_output", "call_id": one, "output": "first"},
        {"type": "function_call_output", "call_id": two, "output": "second"},
    ]
    messages = Converter.items_to_messages(items)  # type: ignore[arg-type]  # plain dicts are what the engine is given
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]


async def test_history_of_a_turn_never_changes(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell")))
    await player.report(call_id, "x")
    await player.commit(1, Outcome.CONTINUE)
    turn = await store.pin_turn(player.pod)
    before = await store.history(turn)
    await player.ask(an_answer("hello"), "d2")
    await player.commit(2, Outcome.FINAL)
    assert await store.history(turn) == before


async def test_an_answer_that_no_turn_was_closed_with_is_not_in_the_history(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("", "shell"), "of an epoch that died")
    later = await a_player(store, epoch=2)
    (call_id,) = call_ids(await later.ask(an_answer("", "shell"), "asked differently"))
    await later.report(call_id, "x")
    await later.commit(1, Outcome.CONTINUE)
    turn = await store.pin_turn(later.pod)
    items = await store.history(turn)
    assert [item.get("call_id") for item in items] == [None, call_id, call_id]


async def test_a_recorded_answer_counts_for_the_epoch_that_was_served_it(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("first"), "d1")
    later = await a_player(store, epoch=2)
    await later.ask(an_answer("second"), "d2")
    last = await a_player(store, epoch=3)
    await last.ask(an_answer("?"), "d1")
    await last.commit(1, Outcome.FINAL)
    level = await store.level("s1")
    assert level is not None
    assert level.result == "first"
