"""The read model of sessions, and their levels."""

from datetime import timedelta

import pytest

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.wire import Outcome
from agentsessions.journal.entries import EntryRow
from agentsessions.journal.rows import SessionQuery, SessionRow, SessionSort
from agentsessions.journal.store import Store
from tests.unit.journal.builders import T0, Clock, a_player, a_session, an_answer


async def _bodies(store: Store, kind: str) -> list[dict[str, object]]:
    entries: list[EntryRow] = await store.entries("s1")
    return [entry.body or {} for entry in entries if entry.type == kind]


async def test_a_session_reads_as_it_was_put(store: Store) -> None:
    row = a_session(title="A title", stop_reason=None, started_at=T0, message="m", reason="r")
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


@pytest.mark.parametrize(
    ("query", "want"),
    [
        pytest.param({}, ["c", "b", "a"], id="newest first"),
        pytest.param({"descending": False}, ["a", "b", "c"], id="oldest first"),
        pytest.param({"sort": SessionSort.NAME, "descending": False}, ["a", "b", "c"], id="by name"),
        pytest.param({"limit": 1, "offset": 1}, ["b"], id="one page"),
        pytest.param({"phase": "Running"}, ["b"], id="of a phase"),
        pytest.param({"type": "Audit"}, [], id="of a type"),
        pytest.param({"role": "Worker"}, ["c", "b", "a"], id="of a role"),
        pytest.param({"text": "SALES"}, ["c", "a"], id="by words of title or goal"),
        pytest.param({"text": "100%"}, ["b"], id="percent signs are no wildcards"),
        pytest.param({"namespaces": frozenset({"x"})}, ["c"], id="of a namespace"),
        pytest.param({"namespaces": frozenset()}, [], id="of no namespace"),
        pytest.param({"include_deleted": True}, ["d", "c", "b", "a"], id="deleted ones too"),
    ],
)
@pytest.mark.requirement("OPS-9")
async def test_list_sessions(store: Store, query: dict[str, object], want: list[str]) -> None:
    rows: list[dict[str, object]] = [
        {"uid": "a", "title": "Sales report"},
        {"uid": "b", "phase": Phase.RUNNING, "goal": "reach 100% of it"},
        {"uid": "c", "goal": "find lost sales", "namespace": "x"},
        {"uid": "d"},
    ]
    for hour, row in enumerate(rows):
        await store.put_session(a_session(**row, created_at=T0 + timedelta(hours=hour)))  # type: ignore[arg-type]  # uid is a str
    await store.mark_deleted("d", T0)
    page = await store.list_sessions(SessionQuery(**query))  # type: ignore[arg-type]  # the cases are typed by hand
    assert [row.uid for row in page.items] == want
    assert page.total == (3 if "limit" in query else len(want))


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit": 1001}, {"offset": -1}])
async def test_a_page_out_of_range_is_refused(store: Store, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="limit 1 to 1000"):
        await store.list_sessions(SessionQuery(**bad))  # type: ignore[arg-type]  # limit and offset alone


async def test_lists_show_what_each_session_spent(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("hello"))
    (row,) = (await store.list_sessions(SessionQuery())).items
    assert (row.usage.steps, row.usage.input_tokens, row.usage.output_tokens) == (1, 100, 10)


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
