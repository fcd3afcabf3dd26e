"""A conversation that is too long for its model: summarised, and gone on with."""

from typing import Any

import pytest
from agents.models.chatcmpl_converter import Converter

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.wire import Outcome, TurnError
from agentsessions.journal.compaction import find_cut
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.history import REQUEST, SUMMARY, condense
from agentsessions.journal.refusals import NothingToPlay, TurnMismatch
from agentsessions.journal.rows import Replay, Reserved, TurnKind
from agentsessions.journal.store import Store
from agentsessions.journal.window import split_turns
from tests.journal.builders import T0, Player, a_player, an_answer, call_ids

GOAL = {"role": "user", "content": "say hello"}
TOO_LONG = TurnError(code=ErrorCode.CONTEXT_TOO_LONG, message="the runner's words")


async def play(player: Player, k: int, output: str = "x" * 200) -> None:
    """Play turn k: one tool call with an output."""
    turn = await player.store.pin_turn(player.pod)
    assert (turn.k, turn.kind) == (k, TurnKind.PLAY)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell"), f"d{k}"))
    await player.report(call_id, output)
    await player.commit(k, Outcome.CONTINUE)


async def overflow(player: Player, k: int) -> Any:
    """Let the provider refuse turn k as too long; return what the commit led to."""
    turn = await player.store.pin_turn(player.pod)
    assert turn.k == k
    reserved = await player.reserve(f"too long {k}")
    await player.store.fail_call(reserved.call_id, "context_too_long", "400: maximum", charged=False)
    return await player.commit(k, Outcome.ERROR, error=TOO_LONG)


async def summarise(player: Player, k: int, text: str) -> Any:
    """Play the compact turn k."""
    turn = await player.store.pin_turn(player.pod)
    assert (turn.k, turn.kind) == (k, TurnKind.COMPACT)
    await player.ask(an_answer(text), f"summary {k}")
    return await player.commit(k, Outcome.FINAL)


async def history(player: Player) -> list[dict[str, Any]]:
    turn = await player.store.pin_turn(player.pod)
    return await player.store.history(turn)


def outputs(items: list[dict[str, Any]]) -> list[str]:
    return [item["output"] for item in items if item.get("type") == "function_call_output"]


@pytest.mark.requirement("LIFE-10")
async def test_a_session_that_became_too_long_goes_on_from_a_summary(store: Store) -> None:
    player = await a_player(store)
    await play(player, 1, "first")
    await play(player, 2, "second")
    assert (await overflow(player, 3)).is_last is False

    asked = await history(player)
    assert (asked[0], asked[-1]) == (GOAL, {"role": "user", "content": REQUEST})
    assert outputs(asked) == ["first"]
    assert (await summarise(player, 4, "first was found")).is_last is False

    items = await history(player)
    assert items[:2] == [GOAL, {"role": "user", "content": f"{SUMMARY}first was found"}]
    assert outputs(items) == ["second"]
    roles = [message["role"] for message in Converter.items_to_messages(items)]  # type: ignore[arg-type]  # plain dicts
    assert roles == ["user", "user", "assistant", "tool"]
    await player.ask(an_answer("hello"), "d5")
    assert (await player.commit(5, Outcome.FINAL)).is_last

    level = await store.level("s1")
    assert level is not None
    assert (level.result, level.steps, level.turns, level.input_tokens) == ("hello", 4, 4, 400)
    assert (await player.types())[-8:] == [
        "step_start", "error", "step_start", "compaction", "step_complete", "step_start", "output", "step_complete",
    ]  # fmt: skip
    assert await store.verify("s1") == []


@pytest.mark.requirement("LIFE-10")
async def test_a_compaction_says_what_it_stands_for_and_deletes_nothing(store: Store) -> None:
    player = await a_player(store)
    await play(player, 1, "first")
    await play(player, 2, "second")
    before = await store.entries("s1")
    await overflow(player, 3)
    await summarise(player, 4, "short")

    entries = await store.entries("s1")
    assert entries[: len(before)] == before
    (compaction,) = [entry for entry in entries if entry.type is EntryType.COMPACTION]
    first_result = next(entry for entry in entries if entry.type is EntryType.TOOL_RESULT)
    assert compaction.body == {"text": "short", "throughSeq": first_result.seq, "droppedMessages": 2}
    assert (compaction.agent, compaction.step) == ("agent", 4)


@pytest.mark.requirement("LIFE-10")
async def test_each_compaction_includes_the_summary_before_it(store: Store) -> None:
    player = await a_player(store)
    for k in (1, 2, 3):
        await play(player, k, f"{k}" * 100)
    await overflow(player, 4)
    await summarise(player, 5, "of one")
    await play(player, 6, "6" * 100)
    assert outputs(await history(player)) == ["2" * 100, "3" * 100, "6" * 100]

    await overflow(player, 7)
    asked = await history(player)
    assert asked[1] == {"role": "user", "content": f"{SUMMARY}of one"}
    assert outputs(asked) == ["2" * 100]
    await summarise(player, 8, "of two")
    assert (await history(player))[1] == {"role": "user", "content": f"{SUMMARY}of two"}
    assert outputs(await history(player)) == ["3" * 100, "6" * 100]

    await overflow(player, 9)
    await summarise(player, 10, "of three")
    assert outputs(await history(player)) == ["6" * 100]
    assert (await overflow(player, 11)).is_last, "the newest turn is not summarised"
    assert await store.verify("s1") == []


@pytest.mark.requirement("LIFE-10")
@pytest.mark.parametrize("turns", [0, 1])
async def test_what_cannot_be_made_shorter_closes_the_epoch(store: Store, turns: int) -> None:
    player = await a_player(store)
    for k in range(1, turns + 1):
        await play(player, k)
    assert (await overflow(player, turns + 1)).is_last
    level = await store.level("s1")
    assert level is not None
    assert level.closing is not None
    assert (level.closing.code, level.closing.message) == (ErrorCode.CONTEXT_TOO_LONG, "400: maximum")


@pytest.mark.requirement("LIFE-10")
async def test_a_compaction_that_is_too_long_itself_closes_the_epoch(store: Store) -> None:
    player = await a_player(store)
    await play(player, 1)
    await play(player, 2)
    await overflow(player, 3)
    assert (await overflow(player, 4)).is_last
    level = await store.level("s1")
    assert level is not None
    assert level.closing is not None
    assert level.closing.code is ErrorCode.CONTEXT_TOO_LONG


async def test_a_compaction_that_fails_otherwise_is_left_to_the_next_epoch(store: Store) -> None:
    player = await a_player(store)
    await play(player, 1)
    await play(player, 2)
    await overflow(player, 3)
    turn = await store.pin_turn(player.pod)
    reserved = await player.reserve("summary")
    await store.fail_call(reserved.call_id, "network", "cut", charged=False)
    error = TurnError(code=ErrorCode.NETWORK, message="cut")
    assert (await player.commit(4, Outcome.ERROR, error=error)).is_last
    with pytest.raises(NothingToPlay):
        await store.pin_turn(player.pod)
    later = await a_player(store, epoch=2)
    assert await store.pin_turn(later.pod) == turn


@pytest.mark.requirement("LIFE-11")
async def test_a_pod_lost_in_a_compaction_leaves_it_to_the_next_with_what_was_bought(store: Store) -> None:
    player = await a_player(store)
    await play(player, 1)
    await play(player, 2)
    await overflow(player, 3)
    turn, asked = await store.pin_turn(player.pod), await history(player)
    await player.ask(an_answer("short"), "summary")

    later = await a_player(store, epoch=2)
    assert (await store.pin_turn(later.pod), await history(later)) == (turn, asked)
    assert isinstance(await later.reserve("summary"), Replay)
    await later.commit(4, Outcome.FINAL)
    assert (await history(later))[1]["content"] == f"{SUMMARY}short"
    assert (await later.types()).count("compaction") == 1
    level = await store.level("s1")
    assert level is not None
    assert (level.steps, level.epoch_turns) == (3, 1)


async def test_the_same_commits_again_are_answered_alike(store: Store) -> None:
    player = await a_player(store)
    await play(player, 1)
    await play(player, 2)
    first = await overflow(player, 3)
    assert await player.commit(3, Outcome.ERROR, error=TOO_LONG) == first
    with pytest.raises(TurnMismatch):
        await player.commit(3, Outcome.FINAL)
    second = await summarise(player, 4, "short")
    before = await store.level("s1")
    assert await player.commit(4, Outcome.FINAL) == second
    assert await player.commit(3, Outcome.ERROR, error=TOO_LONG) == first
    assert await store.level("s1") == before


async def test_a_runner_that_only_claims_it_gets_no_compaction(store: Store) -> None:
    player = await a_player(store)
    await play(player, 1)
    await play(player, 2)
    await store.pin_turn(player.pod)
    assert (await player.commit(3, Outcome.ERROR, error=TOO_LONG)).is_last


async def test_a_summary_must_be_a_text(store: Store) -> None:
    player = await a_player(store)
    await play(player, 1)
    await play(player, 2)
    await overflow(player, 3)
    await store.pin_turn(player.pod)
    reserved = await player.reserve("summary")
    assert isinstance(reserved, Reserved)
    assert reserved.is_text_only
    with pytest.raises(TurnMismatch):
        await player.commit(4, Outcome.CONTINUE)


async def test_the_history_of_turns_before_a_compaction_stays(store: Store) -> None:
    player = await a_player(store)
    await play(player, 1)
    await play(player, 2)
    turn = await store.pin_turn(player.pod)
    before = await store.history(turn)
    await overflow(player, 3)
    await summarise(player, 4, "short")
    assert await store.history(turn) == before


# Where to cut.


def an_entry(seq: int, step: int, size: int) -> EntryRow:
    kind = EntryType.OUTPUT if step else EntryType.MESSAGE
    return EntryRow(
        session_uid="s1", seq=seq, agent="agent", epoch=1, round=1, step=step, index=seq, type=kind, at=T0,
        body={"text": "x" * size}, body_digest="", previous_hash="", hash="",
    )  # fmt: skip


def said(*parts: tuple[int, int]) -> list[EntryRow]:
    """Return entries of (step, size); step 0 is a message."""
    return [an_entry(seq, step, size) for seq, (step, size) in enumerate(parts, 1)]


@pytest.mark.requirement("LIFE-10")
@pytest.mark.parametrize(
    ("entries", "cut"),
    [
        pytest.param([(0, 9)], None, id="a goal alone is not cut"),
        pytest.param([(0, 9), (1, 9)], None, id="nor is the newest turn"),
        pytest.param([(0, 9000), (1, 9), (2, 9)], 2, id="a large goal does not count"),
        pytest.param([(0, 9), (1, 100), (2, 100), (3, 100), (4, 100)], 3, id="half of equal turns goes"),
        pytest.param([(0, 9), (1, 900), (2, 100), (3, 100), (4, 100)], 2, id="a large old turn goes alone"),
        pytest.param([(0, 9), (1, 100), (2, 100), (3, 100), (4, 900)], 4, id="all but a large newest turn goes"),
        pytest.param([(0, 9), (1, 50), (1, 50), (2, 100), (2, 100)], 3, id="entries of a turn stay together"),
        pytest.param([(0, 9), (1, 100), (0, 100), (2, 10)], 2, id="a message stays with its answer"),
        pytest.param([(0, 9), (1, 100), (0, 100)], 2, id="a message without an answer is kept"),
        pytest.param([(0, 9), (0, 100)], None, id="messages without any answer are kept"),
    ],
)
def test_the_cut_is_between_turns_and_leaves_the_newest(entries: list[tuple[int, int]], cut: int | None) -> None:
    assert find_cut(condense(said(*entries))) == cut


def test_turns_are_split_behind_their_answers() -> None:
    parts = split_turns(said((1, 1), (1, 1), (0, 1), (0, 1), (2, 1), (3, 1), (0, 1)))
    assert [[entry.seq for entry in part] for part in parts] == [[1, 2], [3, 4, 5], [6], [7]]
