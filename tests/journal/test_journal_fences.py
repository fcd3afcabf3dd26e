"""Which pod may write."""

from dataclasses import replace

import pytest

from agentsessions.api.wire import Outcome
from agentsessions.journal.fences import note_open_egress
from agentsessions.journal.refusals import StaleEpoch, UnknownSession
from agentsessions.journal.store import Store
from agentsessions.journal.writer import Work
from tests.journal.builders import a_player, an_answer


async def test_only_the_newest_epoch_may_write(store: Store) -> None:
    old = await a_player(store)
    await store.pin_turn(old.pod)
    await old.ask(an_answer("hello"))
    new = await a_player(store, epoch=2)
    for write in (
        store.pin_turn(old.pod),
        old.reserve("d2"),
        old.begin("call_1_1_0"),
        old.report("call_1_1_0", "x"),
        old.commit(1, Outcome.FINAL),
    ):
        with pytest.raises(StaleEpoch):
            await write
    assert await store.pin_turn(new.pod)


async def test_a_pod_is_identified_once_status_named_it(store: Store) -> None:
    old = await a_player(store)
    await a_player(store, epoch=2)
    assert await store.identify_pod("unheard-of") is None
    identified = await store.identify_pod(old.pod.pod_uid)
    assert identified == replace(old.pod, is_current=False)
    assert (old.pod.namespace, old.pod.name, old.pod.agent, old.pod.epoch) == ("default", "s1", "agent", 1)


async def test_an_epoch_keeps_its_first_pod(store: Store) -> None:
    player = await a_player(store)
    assert await store.fence("s1", "agent", 1, player.pod.pod_uid) is True
    assert await store.fence("s1", "agent", 1, "second") is False
    assert await store.identify_pod("second") is None
    await store.pin_turn(player.pod)
    with pytest.raises(StaleEpoch):
        await store.pin_turn(replace(player.pod, pod_uid="second"))


async def test_a_pod_cannot_speak_for_two_sessions(store: Store) -> None:
    player = await a_player(store)
    await a_player(store, "s2")
    assert await store.fence("s2", "agent", 7, player.pod.pod_uid) is False
    identified = await store.identify_pod(player.pod.pod_uid)
    assert identified is not None
    assert identified.session_uid == "s1"


async def test_an_older_epoch_that_comes_late_changes_nothing(store: Store) -> None:
    new = await a_player(store, epoch=3)
    late = await a_player(store, epoch=2)
    assert late.pod.is_current is False
    assert await store.pin_turn(new.pod)
    with pytest.raises(StaleEpoch):
        await store.pin_turn(late.pod)


async def test_the_fence_needs_the_session(store: Store) -> None:
    with pytest.raises(UnknownSession):
        await store.fence("nobody", "agent", 1, "p")


@pytest.mark.requirement("ID-5")
async def test_open_egress_is_known_of_the_newest_epoch_and_wakes_nobody(store: Store) -> None:
    old, touched = await a_player(store), set[str]()

    def note(work: Work) -> None:
        note_open_egress(work, old.pod)
        touched.update(work.touched)

    assert not (await old.level()).is_egress_open
    for _ in range(2):
        await store.write(note)
        assert (await old.level()).is_egress_open
    assert not touched
    new = await a_player(store, epoch=2)
    await store.write(note)  # comes late
    assert not (await new.level()).is_egress_open
