"""What purchases cost, what stops when a limit of cost is reached, and what is charged when one is broken off."""

import asyncio
from typing import Any

import pytest

from agentsessions.api.reasons import LimitName
from agentsessions.api.v1alpha1.provider import ModelPrices
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.api.wire import Outcome
from agentsessions.journal.entries import EntryType
from agentsessions.journal.refusals import LimitReached, PriceMissing, UnknownCall
from agentsessions.journal.rows import PartialAnswer, Replay, Reserved, TokenUsage
from agentsessions.journal.store import Store
from tests.journal.builders import Clock, Player, a_player, a_session, an_answer

PRICES = ModelPrices(input_micro_usd_per_million=2_000_000, output_micro_usd_per_million=10_000_000)
"""2 and 10 micro-USD a token: a request of the tests, 100 tokens by estimate, costs 200."""
ODD = ModelPrices(input_micro_usd_per_million=333_333, output_micro_usd_per_million=1)


async def _cost(store: Store) -> tuple[int, int, int]:
    """Return steps, cost and purchases under way, as the level tells them."""
    level = await store.level("s1")
    assert level is not None
    return level.steps, level.cost_micro_usd, level.open_calls


async def _playing(store: Store, **limits: int) -> Player:
    player = await a_player(store, limits=EffectiveLimits(**limits))
    await store.pin_turn(player.pod)
    return player


@pytest.mark.requirement("LIM-3")
async def test_cost_is_rounded_up_per_call_and_summed_everywhere(store: Store) -> None:
    player = await _playing(store)
    await player.ask(an_answer("one"), prices=ODD)  # 33.33331
    await player.commit(1, Outcome.FINAL)
    assert await _cost(store) == (1, 34, 0)

    row = await store.get_session_by_uid("s1")
    assert row is not None
    assert row.usage.cost_micro_usd == 34
    (complete,) = [e.body for e in await store.entries("s1") if e.type is EntryType.STEP_COMPLETE]
    assert complete is not None
    assert complete["costMicroUSD"] == 34


async def test_each_call_is_rounded_by_itself(store: Store) -> None:
    player = await a_player(store)
    for digest in ("d1", "d2", "d3"):
        await player.ask(an_answer("x"), digest, prices=ODD)
    assert await _cost(store) == (3, 3 * 34, 0)


async def test_a_model_without_prices_costs_nothing_and_shows_no_cost(store: Store) -> None:
    player = await a_player(store)
    await player.ask(an_answer("x"))
    assert await _cost(store) == (1, 0, 0)
    (complete,) = [e.body for e in await store.entries("s1") if e.type is EntryType.STEP_COMPLETE]
    assert "costMicroUSD" not in (complete or {})


async def test_an_answer_costs_what_it_did_when_it_was_asked_for(store: Store) -> None:
    player = await _playing(store)
    first = await player.reserve(prices=PRICES)
    await store.fail_call(first.call_id, "overloaded", "503", charged=False)
    again = await player.reserve(prices=ODD)
    await player.settle(again, an_answer("x"))
    assert await _cost(store) == (1, 34, 0)


@pytest.mark.parametrize(
    ("usage", "want"),
    [
        pytest.param(TokenUsage(7, 3), 7 * 2 + 3 * 10, id="what the provider reported"),
        pytest.param(None, 100 * 2 + 50 * 10, id="the whole reservation"),
    ],
)
async def test_a_failed_call_that_is_charged_costs_too(store: Store, usage: TokenUsage | None, want: int) -> None:
    player = await _playing(store)
    reserved = await player.reserve(asked_output_tokens=50, prices=PRICES)
    await store.fail_call(reserved.call_id, "empty_answer", "no text", charged=True, usage=usage)
    assert await _cost(store) == (1, want, 0)


async def test_a_purchase_that_died_with_the_gateway_costs_its_reservation(journal_url: str) -> None:
    clock = Clock()
    dying = await Store.open(journal_url, clock=clock, instance="gateway")
    player = await _playing(dying)
    await player.reserve(asked_output_tokens=50, prices=PRICES)
    assert await _cost(dying) == (0, 0, 1)
    await dying.close()

    store = await Store.open(journal_url, clock=clock, instance="gateway")
    await store.recover()
    assert await _cost(store) == (1, 100 * 2 + 50 * 10, 0)
    await store.close()


@pytest.mark.requirement("LIM-1")
async def test_what_purchases_under_way_may_cost_counts_against_the_limit(store: Store) -> None:
    player = await _playing(store, max_cost_micro_usd=4000, max_output_tokens=300)
    first = await player.reserve("d1", prices=PRICES)  # 200 + 300 * 10 reserved: 800 left
    assert (first.cap_output_tokens, first.capped) == (300, False)
    second = await player.reserve("d2", request_bytes=800, prices=PRICES)  # a prompt of 400 tokens: 800

    assert isinstance(second, LimitReached)
    assert second.limit is LimitName.COST
    assert (await store.level("s1")).limit_reached is LimitName.COST  # type: ignore[union-attr]  # it is there
    await player.settle(first, an_answer("x"), (100, 10))  # cost 300 of 3,200
    again = await player.reserve("d2", request_bytes=800, prices=PRICES)
    assert (again.cap_output_tokens, again.capped) == (290, True)


@pytest.mark.requirement("LIM-1")
async def test_an_answer_that_the_cost_limit_cut_is_charged_and_no_result(store: Store) -> None:
    player = await _playing(store, max_cost_micro_usd=5000, max_output_tokens=4000)
    reserved = await player.reserve(prices=PRICES)
    assert (reserved.cap_output_tokens, reserved.capped) == (480, True)
    with pytest.raises(LimitReached, match="maxCostMicroUSD") as reached:
        await player.settle(reserved, an_answer("half a sent", finish_reason="length"), (100, 480))
    assert reached.value.limit is LimitName.COST
    level = await store.level("s1")
    assert level is not None
    assert (level.limit_reached, level.cost_micro_usd, level.open_calls) == (LimitName.COST, 5000, 0)
    assert "output" not in await player.types()


async def test_a_limit_that_was_raised_while_it_cut_an_answer_is_not_reached(store: Store) -> None:
    player = await _playing(store, max_cost_micro_usd=5000)
    reserved = await player.reserve(prices=PRICES)
    await store.put_session(a_session(limits=EffectiveLimits(max_cost_micro_usd=50_000), generation=2))
    with pytest.raises(LimitReached):
        await player.settle(reserved, an_answer("half a sent", finish_reason="length"), (100, 480))
    level = await store.level("s1")
    assert level is not None
    assert level.limit_reached is None
    again = await player.reserve(prices=PRICES)
    assert again.cap_output_tokens > 480


@pytest.mark.requirement("LIM-1")
async def test_a_model_without_prices_is_not_sold_to_a_session_with_a_cost_limit(store: Store) -> None:
    player = await _playing(store)
    bought = await player.ask(an_answer("hello"))
    await store.put_session(a_session(limits=EffectiveLimits(max_cost_micro_usd=9), generation=2))

    with pytest.raises(PriceMissing, match="model 'm' has no prices"):
        await player.reserve("d2")
    replay = await player.reserve()
    assert isinstance(replay, Replay)
    assert replay.answer == bought
    level = await store.level("s1")
    assert level is not None
    assert (level.limit_reached, level.open_calls) == (None, 0)


REACHED: dict[LimitName, tuple[dict[str, int], dict[str, Any], int]] = {
    LimitName.STEPS: ({"max_steps": 1}, {}, 2),
    LimitName.TOKENS: ({"max_tokens": 150}, {"request_bytes": 400}, 110 + 200 + 1),
    LimitName.TOOL_CALLS: ({"max_tool_calls": 1}, {}, 2),
    LimitName.COST: ({"max_cost_micro_usd": 310}, {"prices": PRICES}, 300 + 200 + 1),
}
"""For each limit: what it is, a call that it forbids after one answer, and what it would have to be for that."""


def test_the_table_of_limits_is_complete() -> None:
    assert set(REACHED) == set(LimitName)


@pytest.mark.requirement("LIM-2")
@pytest.mark.parametrize("limit", LimitName)
async def test_a_reached_limit_stays_until_it_is_raised_enough(store: Store, limit: LimitName) -> None:
    in_force, asked, needed = REACHED[limit]
    ((name, was),) = in_force.items()
    player = await a_player(store, limits=EffectiveLimits(**in_force))
    reserved = await player.reserve(prices=PRICES)
    tools = ("shell", "shell") if limit is LimitName.TOOL_CALLS else ()
    try:
        await player.settle(reserved, an_answer("x", *tools))
    except LimitReached as refused:
        assert limit is LimitName.TOOL_CALLS, refused  # noqa: PT017 - only then the answer itself is refused
    assert isinstance(await player.reserve("d2", **asked), LimitReached)

    shown = {}
    for generation, allowed in enumerate((was, needed - 1, needed, was, None), start=2):
        limits = EffectiveLimits(**{name: allowed})
        await store.put_session(a_session(limits=limits, generation=generation))
        level = await store.level("s1")
        assert level is not None
        shown[generation, allowed] = level.limit_reached
    assert list(shown.values()) == [limit, limit, None, None, None]
    assert isinstance(await player.reserve("d2", **asked), Reserved)


@pytest.mark.requirement("LIFE-5")
@pytest.mark.parametrize(
    ("received", "want"),
    [
        pytest.param([], (0, 0, 0), id="nothing was asked of the provider"),
        pytest.param([PartialAnswer(0)], (1, 100, 0), id="the prompt was sent"),
        pytest.param([PartialAnswer(21)], (1, 100, 11), id="part of an answer came"),
        pytest.param([PartialAnswer(9000)], (1, 100, 50), id="never more than the cap"),
        pytest.param([PartialAnswer(21, TokenUsage(70, 7))], (1, 70, 7), id="the provider had reported"),
        pytest.param([PartialAnswer(21), PartialAnswer(2)], (1, 200, 12), id="two tries"),
    ],
)
async def test_a_purchase_that_is_broken_off_is_charged_what_it_used(
    store: Store, received: list[PartialAnswer], want: tuple[int, int, int]
) -> None:
    player = await _playing(store)
    reserved = await player.reserve(asked_output_tokens=50, prices=PRICES)
    assert await _cost(store) == (0, 0, 1)

    for _ in range(2):
        await store.break_off_call(reserved.call_id, "session_cancelled", "Broken off.", received)

    level = await store.level("s1")
    assert level is not None
    assert (level.steps, level.input_tokens, level.output_tokens) == want
    assert (level.cost_micro_usd, level.open_calls) == (want[1] * 2 + want[2] * 10, 0)
    assert (await player.types())[-2:] == ["step_start", "error"]
    with pytest.raises(UnknownCall):
        await player.settle(reserved, an_answer("too late"))


async def test_an_answer_that_came_before_the_break_is_charged_once(store: Store) -> None:
    player = await _playing(store)
    reserved = await player.reserve(prices=PRICES)
    await player.settle(reserved, an_answer("just in time"))
    await store.break_off_call(reserved.call_id, "session_cancelled", "Broken off.", [PartialAnswer(0)])
    assert await _cost(store) == (1, 300, 0)
    assert (await player.types())[-1] == "output"


async def test_subscribers_hear_of_each_purchase_that_begins_and_ends(store: Store) -> None:
    player = await _playing(store)
    seen = []
    changes = store.changes()
    reserved = await player.reserve()
    async with asyncio.timeout(5):  # a change that nobody hears of
        for _ in range(2):  # the second one buys the same row again, which journals nothing
            seen.append((await anext(changes), (await _cost(store))[2]))
            await store.fail_call(reserved.call_id, "overloaded", "503", charged=False)
            seen.append((await anext(changes), (await _cost(store))[2]))
            reserved = await player.reserve()
    assert seen == [("s1", 1), ("s1", 0)] * 2
