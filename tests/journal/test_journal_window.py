"""The window on a long conversation."""

from datetime import timedelta

import pytest

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.wire import Outcome, TurnError
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.history import SUMMARY
from agentsessions.journal.rows import Course
from agentsessions.journal.store import Store
from agentsessions.journal.window import keep_newest
from tests.journal.builders import T0, Player, a_player, an_answer, call_ids

OPEN = Course(is_open=True, idle=timedelta(seconds=60), max_history=5)


def an_entry(seq: int, step: int, type_: EntryType) -> EntryRow:
    return EntryRow(
        session_uid="s1", seq=seq, agent="agent", epoch=1, round=1, step=step, index=seq, type=type_, at=T0,
        body={}, body_digest="", previous_hash="", hash="",
    )  # fmt: skip


SAID = [
    an_entry(1, 0, EntryType.MESSAGE),
    an_entry(2, 1, EntryType.OUTPUT),
    an_entry(3, 0, EntryType.MESSAGE),
    an_entry(4, 0, EntryType.MESSAGE),
    an_entry(5, 2, EntryType.THINKING),
    an_entry(6, 2, EntryType.TOOL_CALL),
    an_entry(7, 2, EntryType.TOOL_RESULT),
    an_entry(8, 3, EntryType.OUTPUT),
    an_entry(9, 0, EntryType.MESSAGE),
]
"""Four turns: 1-2, 3-7, 8, and 9, which is open."""


@pytest.mark.parametrize(
    ("room", "kept"),
    [
        pytest.param(7, [1, 2, 3, 4, 5, 6, 7, 8, 9], id="all"),
        pytest.param(6, [3, 4, 5, 6, 7, 8, 9], id="all but the first turn"),
        pytest.param(4, [8, 9], id="no half of a turn with tools"),
        pytest.param(2, [8, 9], id="an answer without its question"),
        pytest.param(1, [9], id="the newest"),
        pytest.param(0, [9], id="the newest in any case"),
    ],
)
def test_keep_newest_cuts_between_turns(room: int, kept: list[int]) -> None:
    assert [entry.seq for entry in keep_newest(SAID, room)] == kept


async def talk(player: Player, number: int) -> list[str]:
    """Say something, answer it, and return what the model was shown."""
    await player.say(f"question {number}")
    turn = await player.answer(f"answer {number}", OPEN)
    return [text_of(item) for item in await player.store.history(turn, OPEN.max_history)]


def text_of(item: dict[str, object]) -> str:
    content = item["content"]
    return content if isinstance(content, str) else content[0]["text"]  # type: ignore[index,no-any-return]  # JSON


@pytest.mark.requirement("CONV-1")
async def test_turn_shows_the_first_message_and_the_newest(store: Store) -> None:
    player = await a_player(store)
    await player.answer("answer 0", OPEN)
    assert await talk(player, 1) == ["say hello", "answer 0", "question 1"]
    assert await talk(player, 2) == ["say hello", "answer 0", "question 1", "answer 1", "question 2"]
    assert await talk(player, 3) == ["say hello", "question 2", "answer 2", "question 3"]


async def test_summary_stays_when_the_window_has_moved_on(store: Store) -> None:
    player = await a_player(store)
    await player.answer("answer 0", OPEN)
    await talk(player, 1)
    await player.say("question 2")
    turn = await store.pin_turn(player.pod, OPEN)
    reserved = await player.reserve("too long")
    await store.fail_call(reserved.call_id, ErrorCode.CONTEXT_TOO_LONG, "too long", charged=False)
    error = TurnError(code=ErrorCode.CONTEXT_TOO_LONG, message="too long")
    await player.commit(turn.k, Outcome.ERROR, OPEN, error=error)
    await player.answer("in short", OPEN)
    await player.answer("answer 2", OPEN)
    for number in (3, 4, 5):
        shown = await talk(player, number)
    assert shown == ["say hello", f"{SUMMARY}in short", "question 4", "answer 4", "question 5"]


async def test_turn_with_tools_is_shown_whole(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod, OPEN)
    (call_id,) = call_ids(await player.ask(an_answer("let me look", "shell")))
    await player.report(call_id, "x")
    await player.commit(1, Outcome.CONTINUE, OPEN)
    turn = await store.pin_turn(player.pod, OPEN)
    kinds = [item.get("type", item.get("role")) for item in await store.history(turn, 2)]
    assert kinds == ["user", "message", "function_call", "function_call_output"]
