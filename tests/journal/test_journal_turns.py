"""Pinning and closing of turns."""

import pytest

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.wire import Outcome, TurnError
from agentsessions.journal.refusals import GoalMissing, NothingToPlay, TurnMismatch
from agentsessions.journal.store import Store
from tests.journal.builders import a_player, an_answer, call_ids


async def test_a_session_with_one_tool_turn_is_journaled_in_order(store: Store) -> None:
    player = await a_player(store)
    first = await store.pin_turn(player.pod)
    answer = await player.ask(an_answer("let me look", "shell"))
    (call_id,) = call_ids(answer)
    assert (await player.begin(call_id)).verdict == "run"
    await player.report(call_id, "file.txt")
    assert (await player.commit(1, Outcome.CONTINUE)).is_last is False

    second = await store.pin_turn(player.pod)
    await player.ask(an_answer("hello"), "d2")
    assert (await player.commit(2, Outcome.FINAL)).is_last is True

    assert (first.k, second.k) == (1, 2)
    assert await player.types() == [
        "session_start", "message", "state",
        "step_start", "thinking", "tool_call", "tool_result", "step_complete",
        "step_start", "output", "step_complete",
    ]  # fmt: skip
    level = await store.level("s1")
    assert level is not None
    assert level.closing is not None
    assert (level.result, level.turns, level.epoch_turns, level.steps) == ("hello", 2, 2, 2)
    assert (level.closing.outcome, level.closing.pod_uid) == (Outcome.FINAL, "s1-pod-1")
    assert await store.verify("s1") == []


async def test_a_turn_stays_pinned_for_later_epochs_until_it_is_committed(store: Store) -> None:
    player = await a_player(store)
    pinned = await store.pin_turn(player.pod)
    await player.ask(an_answer("hello"))
    later = await a_player(store, epoch=2)
    assert await store.pin_turn(later.pod) == pinned


async def test_a_turn_is_not_pinned_before_the_goal_is_known(store: Store) -> None:
    player = await a_player(store, spec={"goal": "g", "context": {"text": "c"}})
    with pytest.raises(GoalMissing):
        await store.pin_turn(player.pod)
    await store.set_goal_message("s1", "g and c")
    await store.set_goal_message("s1", "something else")
    turn = await store.pin_turn(player.pod)
    assert await store.history(turn) == [{"role": "user", "content": "g and c"}]


async def test_the_same_commit_again_is_answered_alike_and_writes_nothing(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("hello"))
    first = await player.commit(1, Outcome.FINAL)
    before = await store.level("s1")
    assert await player.commit(1, Outcome.FINAL) == first
    assert await store.level("s1") == before


async def test_an_older_turns_commit_is_still_answered_alike(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell")))
    await player.report(call_id, "x")
    first = await player.commit(1, Outcome.CONTINUE)
    await store.pin_turn(player.pod)
    assert await player.commit(1, Outcome.CONTINUE) == first
    with pytest.raises(TurnMismatch):
        await player.commit(1, Outcome.FINAL)


@pytest.mark.parametrize("outcome", [Outcome.FINAL, Outcome.CONTINUE])
async def test_a_turn_without_an_answer_cannot_be_closed(store: Store, outcome: Outcome) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    with pytest.raises(TurnMismatch):
        await player.commit(1, outcome)


async def test_an_answer_with_tool_calls_is_not_final(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell")))
    await player.report(call_id, "x")
    with pytest.raises(TurnMismatch):
        await player.commit(1, Outcome.FINAL)


async def test_a_turn_goes_on_only_when_all_its_tool_calls_are_settled(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    one, two = call_ids(await player.ask(an_answer("", "shell", "shell")))
    await player.report(two, "second")
    with pytest.raises(TurnMismatch):
        await player.commit(1, Outcome.CONTINUE)
    await player.report(one, "first")
    await player.commit(1, Outcome.CONTINUE)


async def test_an_answer_without_tool_calls_gives_nothing_to_go_on_with(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("hello"))
    with pytest.raises(TurnMismatch):
        await player.commit(1, Outcome.CONTINUE)


@pytest.mark.parametrize("k", [2, 7])
async def test_a_turn_that_was_never_pinned_cannot_be_closed(store: Store, k: int) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    with pytest.raises(TurnMismatch):
        await player.commit(k, Outcome.FINAL)


async def test_an_error_closes_the_epoch_and_leaves_the_turn_to_the_next(store: Store) -> None:
    player = await a_player(store)
    pinned = await store.pin_turn(player.pod)
    error = TurnError(code=ErrorCode.NETWORK, message="no route")
    assert (await player.commit(1, Outcome.ERROR, error=error)).is_last
    assert (await player.commit(1, Outcome.ERROR, error=error)).is_last
    with pytest.raises(NothingToPlay):
        await store.pin_turn(player.pod)
    with pytest.raises(NothingToPlay):
        await player.reserve()

    level = await store.level("s1")
    assert level is not None
    assert level.closing is not None
    assert (level.closing.code, level.closing.message, level.turns) == (ErrorCode.NETWORK, "no route", 0)
    assert (await player.types()).count("error") == 1

    later = await a_player(store, epoch=2)
    level = await store.level("s1")
    assert level is not None
    assert level.closing is None
    assert await store.pin_turn(later.pod) == pinned


async def test_the_gateways_record_of_a_model_error_beats_the_runners_claim(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    await store.fail_call(reserved.call_id, "rate_limited", "429 of the provider", charged=False)
    await player.commit(1, Outcome.ERROR, error=TurnError(code=ErrorCode.RUNNER_ERROR, message="?"))
    level = await store.level("s1")
    assert level is not None
    assert level.closing is not None
    assert (level.closing.code, level.closing.message) == (ErrorCode.RATE_LIMITED, "429 of the provider")
    assert (await player.types()).count("error") == 1


async def test_a_pod_that_finds_its_agent_done_is_closed_as_final_too(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("hello"))
    await player.commit(1, Outcome.FINAL)
    with pytest.raises(NothingToPlay):
        await store.pin_turn(player.pod)

    later = await a_player(store, epoch=2)
    with pytest.raises(NothingToPlay):
        await store.pin_turn(later.pod)
    level = await store.level("s1")
    assert level is not None
    assert level.closing is not None
    assert (level.closing.epoch, level.result) == (2, "hello")
    with pytest.raises(NothingToPlay):
        await later.reserve()


async def test_a_long_result_is_shortened_between_characters(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("ä" * 3000))
    await player.commit(1, Outcome.FINAL)
    level = await store.level("s1")
    assert level is not None
    assert (level.result, level.result_truncated) == ("ä" * 2048, True)
