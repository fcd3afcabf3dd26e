"""What a namespace is charged per day: each charge once, the failed and the lost ones too."""

from datetime import date

import pytest

from agentsessions.api.spending import Spent
from agentsessions.journal.store import Store
from tests.journal.builders import Clock, a_player, an_answer

pytestmark = pytest.mark.requirement("LIM-4")


async def spent(store: Store, *namespaces: str) -> dict[str, Spent]:
    return (await store.spent_today(namespaces)).namespaces


async def test_spent_today_sums_all_sessions_of_a_namespace(store: Store) -> None:
    for uid, namespace in (("s1", "team"), ("s2", "team"), ("s3", "others")):
        player = await a_player(store, uid, namespace=namespace)
        await store.pin_turn(player.pod)
        await player.ask(an_answer("Done."))
    assert await spent(store, "team", "others", "nobody") == {
        "team": Spent(tokens=220),
        "others": Spent(tokens=110),
        "nobody": Spent(),
    }


async def test_a_replayed_answer_is_not_charged_again(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    for _ in range(3):
        await player.ask(an_answer("Done."))
    assert await spent(store, "default") == {"default": Spent(tokens=110)}


async def test_a_call_that_failed_charged_and_was_bought_again_counts_twice(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    reserved = await player.reserve(asked_output_tokens=50)
    await store.fail_call(reserved.call_id, "network", "cut", charged=True)
    first = (await spent(store, "default"))["default"].tokens
    assert first > 0
    await player.ask(an_answer("Done."))
    assert (await spent(store, "default"))["default"].tokens == first + 110


async def test_midnight_utc_begins_a_new_day(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("Done."))
    clock.move(hours=11, minutes=59, seconds=59)
    assert await spent(store, "default") == {"default": Spent(tokens=110)}
    clock.move(seconds=1)
    today = await store.spent_today(["default"])
    assert (today.day, today.namespaces) == (date(2026, 11, 2), {"default": Spent()})


async def test_spending_survives_a_restart(journal_url: str, clock: Clock) -> None:
    store = await Store.open(journal_url, clock=clock)
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("Done."))
    await store.close()
    again = await Store.open(journal_url, clock=clock)
    assert await spent(again, "default") == {"default": Spent(tokens=110)}
    await again.close()
