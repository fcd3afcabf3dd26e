"""What is to be told to receivers outside: with the transition, in order, at least once, and never for ever."""

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.journal import outbox
from agentsessions.journal.entries import EntryType
from agentsessions.journal.outbox import Account, Delivery, Receiver, Result
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Clock, a_session

pytestmark = pytest.mark.requirement("OPS-4")

SPAN = timedelta(seconds=90)
PHASES = (Phase.STARTING, Phase.RUNNING, Phase.COMPLETED)


def a_receiver(uid: str = "w1", **changes: Any) -> Receiver:
    values = {"namespace": "default", "generation": 1, "match_labels": {}, "phases": None} | changes
    return Receiver(uid=uid, **values)


async def put(store: Store, *receivers: Receiver) -> None:
    for receiver in receivers:
        await store.write(partial(outbox.put_receiver, receiver=receiver))


async def live(store: Store, clock: Clock, *phases: Phase, uid: str = "s1", **changes: Any) -> None:
    """Let a session go through phases, a second each."""
    for phase in phases:
        clock.move(seconds=1)
        await store.put_session(a_session(uid, phase=phase, phase_started_at=clock.now, reason=phase, **changes))


async def claim(store: Store, most: int = 10, *, uid: str = "w1", instance: str = "one") -> list[Delivery]:
    return await store.write(partial(outbox.claim, room={uid: most}, instance=instance, span=SPAN))


async def deliver(store: Store, one: Delivery) -> Result:
    return await store.write(partial(outbox.note_delivered, one=one))


async def fail(store: Store, one: Delivery, *, instance: str = "one", **wait: int) -> Result:
    note = partial(outbox.note_failed, one=one, failure="it is away", wait=timedelta(**wait), instance=instance)
    return await store.write(note)


async def account(store: Store, uid: str = "w1") -> Account:
    return (await store.read(outbox.read_accounts, [uid]))[uid]


async def test_transitions_are_claimed_one_after_the_other(store: Store, clock: Clock) -> None:
    await put(store, a_receiver())
    await live(store, clock, *PHASES)
    told = []
    for _ in PHASES:
        (one,) = await claim(store)
        assert await claim(store) == []
        told.append(json.loads(one.body))
        assert await deliver(store, one) is Result.DELIVERED
    assert [(body["data"]["from"], body["data"]["to"]) for body in told] == [
        (None, "Starting"),
        ("Starting", "Running"),
        ("Running", "Completed"),
    ]
    states = [entry.seq for entry in await store.entries("s1") if entry.type is EntryType.STATE]
    assert [body["id"] for body in told] == [f"s1-{seq}" for seq in states]
    assert await claim(store) == []
    assert (await account(store)).delivered == 3


async def test_session_that_is_seen_again_is_told_of_once(store: Store, clock: Clock) -> None:
    await put(store, a_receiver())
    for _ in range(3):
        await store.put_session(a_session(phase=Phase.RUNNING, phase_started_at=T0))
    await store.put_session(a_session(phase=Phase.RUNNING, phase_started_at=T0, title="another", generation=2))
    clock.move(seconds=1)
    (one,) = await claim(store)
    await deliver(store, one)
    assert await claim(store) == []


async def test_webhook_hears_of_what_it_selects_in_its_own_namespace(store: Store, clock: Clock) -> None:
    await put(
        store,
        a_receiver("all"),
        a_receiver("ends", phases=["Completed", "Failed"]),
        a_receiver("team", match_labels={"team": "a"}),
        a_receiver("elsewhere", namespace="other"),
    )
    await live(store, clock, *PHASES, labels={"team": "b"})
    waiting = {uid: (await account(store, uid)).waiting for uid in ("all", "ends", "team", "elsewhere")}
    assert waiting == {"all": 3, "ends": 1, "team": 0, "elsewhere": 0}


async def test_sessions_do_not_wait_for_each_other(store: Store, clock: Clock) -> None:
    await put(store, a_receiver())
    await live(store, clock, Phase.STARTING, Phase.RUNNING, uid="s1")
    await live(store, clock, Phase.STARTING, Phase.RUNNING, uid="s2")
    first, second = await claim(store)
    assert {first.session_uid, second.session_uid} == {"s1", "s2"}
    await fail(store, first, hours=1)
    await deliver(store, second)
    (following,) = await claim(store)
    assert following.session_uid == second.session_uid


async def test_claim_that_is_left_goes_to_another_gateway_with_the_same_id(store: Store, clock: Clock) -> None:
    await put(store, a_receiver())
    await live(store, clock, Phase.RUNNING)
    (one,) = await claim(store, instance="one")
    clock.move(seconds=89)
    assert await claim(store, instance="two") == []
    clock.move(seconds=1)
    (again,) = await claim(store, instance="two")
    assert again == one
    assert await fail(store, one, instance="one", seconds=5) is Result.STALE
    assert await deliver(store, again) is Result.DELIVERED
    assert await deliver(store, one) is Result.STALE
    assert (await account(store)).delivered == 1


async def test_what_a_process_left_claimed_is_taken_back_by_the_next_one(store: Store, clock: Clock) -> None:
    await put(store, a_receiver())
    await live(store, clock, Phase.RUNNING)
    taken = await claim(store)
    await store.write(partial(outbox.release, instance="another"))
    assert await claim(store) == []
    await store.write(partial(outbox.release, instance=None))
    assert await claim(store) == taken


async def test_failure_is_tried_again_after_its_wait(store: Store, clock: Clock) -> None:
    await put(store, a_receiver())
    await live(store, clock, Phase.RUNNING)
    (one,) = await claim(store)
    assert await fail(store, one, seconds=5) is Result.FAILED
    clock.move(seconds=4)
    assert await claim(store) == []
    (lane,) = await store.read(outbox.read_lanes)
    assert lane.next_at == clock.now + timedelta(seconds=1)
    assert lane.failures == 1
    clock.move(seconds=1)
    (again,) = await claim(store)
    assert (again.id, again.body, again.attempts) == (one.id, one.body, 1)
    known = await account(store)
    assert (known.failures, known.failure, known.waiting) == (1, "it is away", 1)


async def test_transition_is_given_up_after_a_day_and_the_next_one_goes(store: Store, clock: Clock) -> None:
    await put(store, a_receiver())
    await live(store, clock, Phase.STARTING)
    await live(store, clock, Phase.RUNNING)
    clock.move(hours=23, minutes=30)
    (one,) = await claim(store)
    assert await fail(store, one, hours=1) is Result.GIVEN_UP
    (following,) = await claim(store)
    assert json.loads(following.body)["data"]["to"] == "Running"
    known = await account(store)
    assert (known.lost, known.waiting) == (1, 1)


async def test_delivery_after_failures_has_all_tried_at_once(store: Store, clock: Clock) -> None:
    await put(store, a_receiver())
    for uid in ("s1", "s2", "s3", "s4"):
        await live(store, clock, Phase.RUNNING, uid=uid)
    first, *others = await claim(store)
    for one in others:
        await fail(store, one, hours=1)
    assert await claim(store) == []
    await deliver(store, first)
    assert {one.session_uid for one in await claim(store)} == {one.session_uid for one in others}
    assert (await account(store)).failures == 0


async def test_what_does_not_fit_any_more_is_counted(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_WAITING", 2)
    await put(store, a_receiver())
    await live(store, clock, *PHASES)
    known = await account(store)
    assert (known.waiting, known.lost) == (2, 1)
    states = [entry for entry in await store.entries("s1") if entry.type is EntryType.STATE]
    assert len(states) == 3


async def test_webhook_that_was_deleted_leaves_nothing(store: Store, clock: Clock) -> None:
    await put(store, a_receiver(), a_receiver("w2"))
    await live(store, clock, *PHASES)
    (one,) = await claim(store)
    await store.write(partial(outbox.remove_receiver, uid="w1"))
    assert await store.read(outbox.read_receivers) == {"w2"}
    assert await deliver(store, one) is Result.STALE
    assert await store.read(outbox.read_accounts, ["w1"]) == {}
    assert (await store.read(outbox.read_backlog))[0] == 3


async def test_older_spec_does_not_replace_a_newer_one(store: Store, clock: Clock) -> None:
    await put(store, a_receiver(generation=2, phases=["Failed"]), a_receiver(generation=1))
    await live(store, clock, *PHASES)
    assert await claim(store) == []
    await put(store, a_receiver(generation=3))
    await live(store, clock, Phase.RUNNING, uid="s2")
    assert len(await claim(store)) == 1
