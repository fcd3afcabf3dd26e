"""The read model of sessions, and their levels."""

from datetime import timedelta

import pytest

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.wire import Outcome
from agentsessions.journal.entries import EntryRow
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Clock, a_player, a_session, an_answer


async def _bodies(store: Store, kind: str) -> list[dict[str, object]]:
    entries: list[EntryRow] = await store.entries("s1")
    return [entry.body or {} for entry in entries if entry.type == kind]


async def test_a_session_reads_as_it_was_put(store: Store) -> None:
    row = a_session(
        title="A title",
        description="More of it",
        owner="alice",
        session_id="mine-1",
        labels={"team": "a"},
        metadata={"case": "7"},
        started_at=T0,
        message="m",
        reason="r",
        anchor_head=3,
        anchor_digest="d",
    )
    await store.put_session(row)
    assert await store.get_session("s1", "default") == row


async def test_putting_the_same_session_again_writes_nothing(store: Store) -> None:
    await store.put_session(a_session())
    with store.changes() as changes:
        await store.put_session(a_session())
        changes.close()
        assert [uid async for uid in changes] == []
    assert len(await store.entries("s1")) == 3


async def test_a_session_without_status_has_no_entries_yet(store: Store) -> None:
    await store.put_session(a_session(phase=None, phase_started_at=None))
    assert await store.entries("s1") == []
    await store.put_session(a_session())
    assert [entry.type for entry in await store.entries("s1")] == ["session_start", "message", "state"]


@pytest.mark.requirement("STEP-2")
async def test_each_phase_is_journaled_once_and_the_end_with_its_usage(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("hello"))
    await player.commit(1, Outcome.FINAL)
    later = T0 + timedelta(seconds=5)
    running = a_session(phase=Phase.RUNNING, phase_started_at=T0)
    done = a_session(
        phase=Phase.COMPLETED, phase_started_at=later, stop_reason=StopReason.GOAL_REACHED, finished_at=later
    )
    for row in (running, running, done, done, running):
        await store.put_session(row)
    assert [body["phase"] for body in await _bodies(store, "state")] == ["Starting", "Running", "Completed"]
    assert await _bodies(store, "done") == [
        {
            "phase": "Completed",
            "stopReason": "GoalReached",
            "usage": {
                "steps": 1,
                "inputTokens": 100,
                "outputTokens": 10,
                "totalTokens": 110,
                "toolCalls": 0,
                "costMicroUSD": 0,
            },
        }
    ]
    assert await store.get_session("s1", "default") == done


async def test_an_older_view_of_a_session_is_ignored(store: Store) -> None:
    newer = a_session(phase=Phase.RUNNING, phase_started_at=T0 + timedelta(seconds=5), generation=2)
    await store.put_session(newer)
    for older in (
        a_session(),
        a_session(phase=None, phase_started_at=None),
        a_session(phase=Phase.RUNNING, phase_started_at=T0 + timedelta(seconds=5), generation=1),
    ):
        await store.put_session(older)
    assert await store.get_session("s1", "default") == newer


@pytest.mark.parametrize(
    "older",
    [
        pytest.param(a_session(message="before", resource_version=9), id="another message in the same phase"),
        pytest.param(a_session(phase=Phase.QUEUED, resource_version=9), id="an earlier phase of the same second"),
    ],
)
async def test_an_older_version_from_a_watch_that_is_behind_is_ignored(store: Store, older: SessionRow) -> None:
    newer = a_session(message="after", resource_version=10)
    for row in (older, newer, older, newer):
        await store.put_session(row)
    assert await store.get_session("s1", "default") == newer
    phases = [body["phase"] for body in await _bodies(store, "state")]
    assert phases == list(dict.fromkeys(phases))


async def test_a_version_that_changed_nothing_counts(store: Store) -> None:
    for version in (10, 12):
        await store.put_session(a_session(resource_version=version))
    await store.put_session(a_session(message="between", resource_version=11))
    assert (await store.get_session("s1", "default")) == a_session(resource_version=12)


async def test_a_deleted_session_does_not_come_back_by_a_watch_that_is_behind(store: Store) -> None:
    await store.put_session(a_session(resource_version=10))
    await store.mark_deleted("s1", T0)
    for version in (9, 10):
        await store.put_session(a_session(resource_version=version, message="behind"))
    row = await store.get_session("s1", "default")
    assert row is not None
    assert (row.deleted_at, row.message) == (T0, "")


async def test_a_cluster_restored_from_a_backup_is_followed_although_its_versions_begin_again(store: Store) -> None:
    await store.put_session(a_session(resource_version=100))
    restored = a_session(resource_version=50, phase=Phase.RUNNING, phase_started_at=T0 + timedelta(hours=1))
    await store.put_session(restored)
    assert await store.get_session("s1", "default") == restored


async def test_a_name_means_the_newest_session_of_the_namespace(store: Store) -> None:
    for uid, namespace, age in (("old", "a", 2), ("new", "a", 1), ("other", "b", 0)):
        created_at = T0 - timedelta(hours=age)
        await store.put_session(a_session(uid, name="same", namespace=namespace, created_at=created_at))
    await store.mark_deleted("old", T0)
    found = [await store.get_session(id_, "a") for id_ in ("same", "old", "other", "none")]
    assert [row and row.uid for row in found] == ["new", "old", None, None]
    by_uid = await store.get_session_by_uid("other")
    assert by_uid is not None


async def test_a_name_means_the_session_that_is_there_when_both_were_made_in_one_second(store: Store) -> None:
    for uid in ("a-first", "b-second"):
        await store.put_session(a_session(uid, name="same"))
    await store.mark_deleted("a-first", T0)
    found = await store.get_session("same", "default")
    assert found is not None
    assert found.uid == "b-second"


async def test_open_levels_are_of_sessions_that_go_on(store: Store) -> None:
    def ended(uid: str, phase: Phase) -> SessionRow:
        return a_session(uid, phase=phase)

    for row in (a_session("new", phase=None, phase_started_at=None), a_session("on"), ended("x", Phase.FAILED)):
        await store.put_session(row)
    await store.put_session(a_session("gone"))
    await store.mark_deleted("gone", T0)
    assert [level.session_uid for level in await store.open_levels()] == ["new", "on"]
    assert await store.level("nobody") is None
    failed = await store.level("x")
    assert failed is not None
    assert failed.closing is None


async def test_levels_anchor_the_chain(store: Store) -> None:
    await store.put_session(a_session())
    level = await store.level("s1")
    newest = (await store.entries("s1"))[-1]
    assert level is not None
    assert (level.head, level.digest) == (newest.seq, newest.hash)


async def test_entries_are_never_before_the_one_in_front(store: Store, clock: Clock) -> None:
    await store.put_session(a_session())
    clock.move(seconds=-60)
    await store.put_session(a_session(phase=Phase.RUNNING))
    instants = [entry.at for entry in await store.entries("s1")]
    assert instants == sorted(instants)
    assert instants[-1] == T0


async def test_entries_are_read_in_pages(store: Store) -> None:
    await store.put_session(a_session())
    assert [entry.seq for entry in await store.entries("s1", after=1, limit=1)] == [2]
    assert await store.entries("s1", after=3) == []


async def test_deleted_session_is_not_brought_back_by_a_late_view(store: Store) -> None:
    await store.put_session(a_session())
    await store.mark_deleted("s1", T0)
    await store.put_session(a_session(generation=2, title="late"))
    row = await store.get_session_by_uid("s1")
    assert row is not None
    assert (row.deleted_at, row.title) == (T0, "")
