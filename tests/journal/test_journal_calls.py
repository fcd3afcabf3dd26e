"""Model calls: replay, reservation, settling, failing, recovery."""

import pytest

from agentsessions.api.reasons import LimitName
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.api.wire import Outcome
from agentsessions.journal.entries import canonical_json
from agentsessions.journal.refusals import CallInFlight, LimitReached, NothingToPlay, UnknownCall
from agentsessions.journal.rows import Replay, Reserved
from agentsessions.journal.store import Store
from tests.journal.builders import Clock, a_player, a_session, an_answer, call_ids


async def _level(store: Store) -> tuple[int, int, int]:
    level = await store.level("s1")
    assert level is not None
    return level.steps, level.input_tokens + level.output_tokens, level.tool_calls


@pytest.mark.requirement("LIFE-11")
async def test_a_recorded_answer_is_served_to_every_epoch_and_costs_nothing(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    bought = await player.ask(an_answer("hello"))
    before = await store.level("s1")
    later = await a_player(store, epoch=2)
    for asking in (later, later):
        replay = await asking.reserve()
        assert isinstance(replay, Replay)
        assert (replay.answer, replay.step) == (bought, 1)
    after = await store.level("s1")
    assert before is not None
    assert after is not None
    assert (after.head, after.steps, after.input_tokens) == (before.head, before.steps, before.input_tokens)
    assert (await later.commit(1, Outcome.FINAL)).is_last


async def test_an_equal_request_of_another_turn_is_bought(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell")))
    await player.report(call_id, "x")
    await player.commit(1, Outcome.CONTINUE)
    with pytest.raises(NothingToPlay):
        await player.reserve()
    await store.pin_turn(player.pod)
    assert isinstance(await player.reserve(), Reserved)


async def test_a_program_without_turns_is_served_each_answer_once_per_epoch_oldest_first(store: Store) -> None:
    player = await a_player(store)
    assert isinstance(await player.reserve(), Reserved)
    with pytest.raises(CallInFlight):
        await player.reserve()
    await player.settle(Reserved(1, 1, 1, None, capped=False), an_answer("one"))
    await player.ask(an_answer("two"))
    later = await a_player(store, epoch=2)
    texts = [(await later.ask(an_answer("three")))["choices"][0]["message"]["content"] for _ in range(3)]
    assert texts == ["one", "two", "three"]
    level = await store.level("s1")
    assert level is not None
    assert (level.steps, level.turns, level.epoch_turns) == (3, 3, 1)
    assert (await later.types())[3:6] == ["step_start", "output", "step_complete"]


async def test_an_answer_that_comes_after_its_pod_was_replaced_is_kept_for_the_next(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    later = await a_player(store, epoch=2)
    with pytest.raises(CallInFlight) as joined:
        await later.reserve()
    assert joined.value.call_id == reserved.call_id
    answer = await player.settle(reserved, an_answer("hello"))
    replay = await later.reserve()
    assert isinstance(replay, Replay)
    assert replay.answer == answer
    assert [entry.epoch for entry in await store.entries("s1") if entry.type == "output"] == [1]


async def test_settling_again_gives_the_first_answer(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    first = await player.settle(reserved, an_answer("hello"))
    assert await player.settle(reserved, an_answer("other")) == first
    assert await _level(store) == (1, 110, 0)


async def test_call_ids_of_providers_are_renamed_and_mapped_back(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    first = call_ids(await player.ask(an_answer("", "shell", "files")))
    for call_id in first:
        await player.report(call_id, "x")
    await player.commit(1, Outcome.CONTINUE)
    await store.pin_turn(player.pod)
    second = call_ids(await player.ask(an_answer("", "shell", ids=""), "d2"))
    assert len({*first, *second}) == 3
    assert await store.original_call_ids("s1") == dict.fromkeys(first, "same") | dict.fromkeys(second, "")


async def test_a_failed_call_is_bought_again_on_the_same_step(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    await store.fail_call(reserved.call_id, "overloaded", "503", charged=False)
    await store.fail_call(reserved.call_id, "overloaded", "503", charged=False)
    assert await _level(store) == (0, 0, 0)
    again = await player.reserve()
    assert (again.step, again.attempt, again.call_id) == (1, 2, reserved.call_id)
    await player.settle(again, an_answer("hello"))
    assert (await player.types())[3:] == ["step_start", "error", "output"]
    assert await _level(store) == (1, 110, 0)


async def test_a_failed_call_that_the_provider_charged_is_counted(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    reserved = await player.reserve(asked_output_tokens=50)
    await store.fail_call(reserved.call_id, "empty_answer", "no text", charged=True)
    assert await _level(store) == (1, 150, 0)
    with pytest.raises(UnknownCall):
        await player.settle(reserved, an_answer("too late"))


async def test_an_answer_without_usage_is_estimated(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    reserved = await player.reserve(asked_output_tokens=20)
    await store.settle_call(player.pod, reserved.call_id, an_answer("hello " * 50), None, estimated=True)
    assert await _level(store) == (1, 120, 0)


@pytest.mark.requirement("LIFE-11")
async def test_a_purchase_that_died_with_the_gateway_is_charged_and_bought_again(journal_url: str) -> None:
    clock = Clock()
    dying = await Store.open(journal_url, clock=clock, instance="gateway")
    player = await a_player(dying)
    await dying.pin_turn(player.pod)
    await player.reserve(asked_output_tokens=50)
    await dying.close()

    store = await Store.open(journal_url, clock=clock, instance="gateway")
    assert await store.recover() == 1
    assert await store.recover() == 0
    assert await _level(store) == (1, 150, 0)
    player.store = store
    again = await player.reserve()
    assert (again.step, again.attempt) == (1, 2)
    await player.settle(again, an_answer("hello"))
    assert await _level(store) == (2, 260, 0)
    assert (await player.types()).count("step_start") == 1
    assert await store.verify("s1") == []
    await store.close()


@pytest.mark.requirement("LIM-1")
async def test_steps_under_way_count_against_the_limit(store: Store) -> None:
    player = await a_player(store, limits=EffectiveLimits(max_steps=1))
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    refused = await player.reserve("d2")
    assert isinstance(refused, LimitReached)
    assert refused.limit is LimitName.STEPS
    await player.settle(reserved, an_answer("hello"))
    assert isinstance(await player.reserve(), Replay)


@pytest.mark.requirement("LIM-1")
async def test_the_level_shows_a_reached_limit_until_it_is_raised_enough(store: Store) -> None:
    player = await a_player(store, limits=EffectiveLimits(max_tokens=100))
    await store.pin_turn(player.pod)
    refused = await player.reserve(request_bytes=400)
    assert isinstance(refused, LimitReached)
    shown = []
    for max_tokens in (100, 150, 201):
        await store.put_session(a_session(limits=EffectiveLimits(max_tokens=max_tokens), generation=max_tokens))
        level = await store.level("s1")
        assert level is not None
        shown.append((level.limit_reached, level.limit_message))
    assert shown == [(LimitName.TOKENS, refused.message)] * 2 + [(None, None)]
    assert isinstance(await player.reserve(request_bytes=400), Reserved)


@pytest.mark.requirement("LIM-1")
async def test_an_answer_that_the_token_limit_cut_is_charged_and_no_result(store: Store) -> None:
    player = await a_player(store, limits=EffectiveLimits(max_tokens=400, max_output_tokens=4000))
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    assert (reserved.cap_output_tokens, reserved.capped) == (300, True)
    with pytest.raises(LimitReached) as reached:
        await player.settle(reserved, an_answer("half a sent", finish_reason="length"), (100, 300))
    assert reached.value.limit is LimitName.TOKENS
    level = await store.level("s1")
    assert level is not None
    assert (level.limit_reached, level.output_tokens, level.closing) == (LimitName.TOKENS, 300, None)
    assert "output" not in await player.types()


@pytest.mark.requirement("LIM-1")
async def test_tool_calls_over_the_limit_are_journaled_and_not_relayed(store: Store) -> None:
    player = await a_player(store, limits=EffectiveLimits(max_tool_calls=1))
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    with pytest.raises(LimitReached):
        await player.settle(reserved, an_answer("", "shell", "shell"))
    assert await _level(store) == (1, 110, 2)
    refused = await player.reserve()
    assert isinstance(refused, LimitReached)
    assert refused.limit is LimitName.TOOL_CALLS

    await store.put_session(a_session(limits=EffectiveLimits(max_tool_calls=2), generation=2))
    assert isinstance(await player.reserve(), Replay)


async def test_a_continued_conversation_is_estimated_from_its_last_answer(store: Store) -> None:
    player = await a_player(store, limits=EffectiveLimits(max_tokens=10_000))
    await store.pin_turn(player.pod)
    answer = await player.ask(an_answer("", "shell"), prompt_digest="p1", prefix_digests=("p1",))
    (call_id,) = call_ids(answer)
    await player.report(call_id, "x")
    await player.commit(1, Outcome.CONTINUE)
    await store.pin_turn(player.pod)
    reserved = await player.reserve("d2", request_bytes=5000, prompt_digest="p3", prefix_digests=("p1", "p2", "p3"))
    new_bytes = 5000 - 200 - len(canonical_json(answer["choices"][0]["message"]))
    assert reserved.cap_output_tokens == 10_000 - 110 - (110 + -(-new_bytes // 2))


async def test_a_call_of_another_agents_pod_cannot_be_settled(store: Store) -> None:
    player, other = await a_player(store), await a_player(store, "s2")
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    with pytest.raises(UnknownCall):
        await other.settle(reserved, an_answer("hello"))
    with pytest.raises(UnknownCall):
        await store.fail_call(99, "network", "x", charged=False)


async def test_an_answer_that_is_none_leaves_the_reservation_open(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    with pytest.raises(ValueError, match=r"chat\.completion"):
        await player.settle(reserved, {"choices": []})
    assert await player.settle(reserved, an_answer("hello"))


async def test_an_error_commit_after_a_cut_answer_keeps_the_level_readable(store: Store) -> None:
    player = await a_player(store, limits=EffectiveLimits(max_tokens=400))
    await store.pin_turn(player.pod)
    with pytest.raises(LimitReached):
        await player.settle(await player.reserve(), an_answer("half", finish_reason="length"), (100, 300))
    await player.commit(1, Outcome.ERROR)
    (level,) = await store.open_levels()
    assert level.closing is not None
    assert level.closing.code == "runner_error"
