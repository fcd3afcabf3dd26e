"""What is verified against the status, what is removed when it is old, and figures over sessions."""

from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.api.wire import Outcome
from agentsessions.journal import redactions
from agentsessions.journal.comparison import read_compared
from agentsessions.journal.retention import read_expired, remove
from agentsessions.journal.rows import NewMessage
from agentsessions.journal.schema import metadata
from agentsessions.journal.session_query import SessionQuery
from agentsessions.journal.stats import read_aggregates, read_performance, read_totals
from agentsessions.journal.store import Store
from agentsessions.journal.verification import Anchor, read_anchor, read_anchor_problems, read_uids
from tests.journal.builders import T0, a_player, a_session, an_answer, call_ids

MINUTE = timedelta(minutes=1)


async def run_sql(store: Store, *statements: str) -> None:
    for statement in statements:
        await store.write(lambda work, statement=statement: work.conn.exec_driver_sql(statement))  # type: ignore[misc]


async def anchored(store: Store) -> Anchor:
    """Put a session whose status has the journal's head."""
    await store.put_session(a_session())
    newest = (await store.entries("s1"))[-1]
    running = {"phase": Phase.RUNNING, "phase_started_at": T0, "anchor_head": newest.seq, "anchor_digest": newest.hash}
    await store.put_session(a_session(**running))
    anchor = await store.read(read_anchor, "s1")
    assert anchor == Anchor(newest.seq, newest.hash)
    return anchor


@pytest.mark.requirement("STEP-5")
async def test_a_chain_that_was_cut_off_with_its_counters_is_told_by_the_status(store: Store) -> None:
    anchor = await anchored(store)
    assert await store.read(read_anchor_problems, "s1", [anchor]) == []
    before = (await store.entries("s1"))[anchor.head - 2]
    await run_sql(
        store,
        f"DELETE FROM entries WHERE seq >= {anchor.head}",  # noqa: S608 - values of our own
        f"UPDATE usage SET head = {before.seq}, digest = '{before.hash}'",  # noqa: S608 - likewise
    )
    assert await store.verify("s1") == []  # the chain alone does not show it
    (problem,) = await store.read(read_anchor_problems, "s1", [anchor])
    assert f"entry {anchor.head} is missing" in problem


@pytest.mark.requirement("STEP-5")
async def test_a_chain_that_was_written_anew_is_told_by_the_status(store: Store) -> None:
    anchor = await anchored(store)
    (problem,) = await store.read(read_anchor_problems, "s1", [anchor, Anchor(anchor.head, "f" * 64)])
    assert "was written anew" in problem


async def test_a_session_without_an_anchor_yet_has_none(store: Store) -> None:
    await store.put_session(a_session())
    assert await store.read(read_anchor, "s1") is None
    assert await store.read(read_uids, "", 10) == ["s1"]
    assert await store.read(read_uids, "s1", 10) == []


async def played(store: Store, uid: str, **changes: Any) -> None:
    """Play a session with one tool, of which all tables know."""
    player = await a_player(store, uid, **changes)
    await player.store.put_message(uid, _message(uid))
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("I look.", "shell")))
    await player.begin(call_id)
    await player.report(call_id, "there")
    await player.commit(1, Outcome.CONTINUE)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("Done."), "d2")
    await player.commit(2, Outcome.FINAL)


def _message(uid: str) -> NewMessage:
    return NewMessage(f"m-{uid}", "more", "alice")


async def test_only_sessions_that_are_gone_for_long_are_removed_and_all_of_them(store: Store) -> None:
    for uid, namespace_uid in (("old", "n1"), ("there", "n1"), ("young", "n1"), ("other", "n2")):
        await played(store, uid, namespace_uid=namespace_uid, labels={"a": "b"})
    for uid, minutes in (("old", 0), ("other", 0), ("young", 50)):
        await store.mark_deleted(uid, T0 + minutes * MINUTE)
    before = T0 + 10 * MINUTE

    async def expired(**of: Any) -> list[str]:
        return sorted(await store.read(lambda conn: read_expired(conn, before, 10, **of)))

    assert await expired() == ["old", "other"]
    assert await expired(namespace_uid="n1") == ["old"]
    assert await expired(others_than={"n1"}) == ["other"]
    assert [
        await store.write(lambda work, uid=uid: remove(work, uid, before)) for uid in ("old", "there", "young")
    ] == [  # type: ignore[misc]
        True,
        False,
        False,
    ]
    assert await store.get_session_by_uid("old") is None
    for table in metadata.sorted_tables:
        if "session_uid" in table.c and table.c.session_uid.foreign_keys:
            found = await store.read(lambda conn, table=table: conn.execute(table.select()).mappings().all())  # type: ignore[misc]
            assert "old" not in {row["session_uid"] for row in found}, table.name
    assert await store.verify("there") == []


@pytest.mark.requirement("OPS-1")
async def test_totals_count_what_is_there(store: Store) -> None:
    await played(store, "a", phase=Phase.RUNNING, started_at=T0)
    await store.put_session(a_session("b", type="Audit", role="Observer", started_at=T0, finished_at=T0 + 4 * MINUTE))
    await store.put_session(a_session("c", phase=None, phase_started_at=None, namespace="x"))
    await store.put_session(a_session("gone"))
    await store.mark_deleted("gone", T0)
    found = await store.read(read_totals, SessionQuery(), T0 + 2 * MINUTE)
    assert found.total == 3
    assert found.by_type == {"Audit": 1, "Custom": 2}
    assert found.by_role == {"Observer": 1, "Worker": 2}
    assert found.by_phase == {"Pending": 1, "Running": 1, "Starting": 1}
    assert found.average_uptime_seconds == 180
    assert found.processed_tasks == 1
    assert (await store.read(read_totals, SessionQuery(namespace="x"), T0)).total == 1
    empty = await store.read(read_totals, SessionQuery(namespace="none"), T0)
    assert (empty.total, empty.average_uptime_seconds, empty.processed_tasks) == (0, None, 0)


@pytest.mark.requirement("OPS-1")
async def test_a_period_sums_up_the_sessions_created_in_it_deleted_ones_too(store: Store) -> None:
    await played(store, "a")
    await store.put_session(a_session("a", phase=Phase.COMPLETED, started_at=T0, finished_at=T0 + MINUTE))
    await store.put_session(a_session("b", phase=Phase.FAILED, started_at=T0, finished_at=T0 + 3 * MINUTE))
    await store.put_session(a_session("c", phase=Phase.RUNNING, started_at=T0))
    await store.put_session(a_session("old", created_at=T0 - 60 * MINUTE, phase=Phase.COMPLETED))
    await store.mark_deleted("a", T0)
    found = await store.read(read_aggregates, SessionQuery(), T0 - MINUTE)
    assert (found.sessions, found.finished, found.completed) == (3, 2, 1)
    assert found.average_duration_seconds == 120
    assert (found.input_tokens, found.output_tokens) == (200, 20)
    none = await store.read(read_aggregates, SessionQuery(type="Audit"), T0)
    assert (none.sessions, none.finished, none.average_duration_seconds, none.input_tokens) == (0, 0, None, 0)


@pytest.mark.requirement("OPS-2")
async def test_the_performance_of_a_session_is_of_its_calls(store: Store) -> None:
    await played(store, "s1")
    found = await store.read(read_performance, "s1")
    assert (found.queued, found.processed, found.calls, found.errors) == (0, 1, 3, 0)
    assert found.average_response_milliseconds == 0
    await store.put_session(a_session("idle"))
    kept = await store.put_message("idle", NewMessage("kept", "hello", "alice"))
    await store.put_message("idle", NewMessage("gone", "hello", "alice"))
    await store.write(lambda work: redactions.delete(work, "idle", "gone", "alice"))
    none = await store.read(read_performance, "idle")
    assert (none.queued, kept.ordinal) == (1, 1)
    assert (none.calls, none.average_response_milliseconds) == (0, None)


async def test_compared_steps_come_by_place_and_round(store: Store) -> None:
    await played(store, "s1")
    found = await store.read(read_compared, "s1", None, 100)
    assert [(entry.step, entry.type) for entry in found] == [
        (1, "thinking"),
        (1, "tool_call"),
        (1, "tool_result"),
        (2, "output"),
    ]
    assert await store.read(read_compared, "s1", 2, 100) == []
    assert len(await store.read(read_compared, "s1", 1, 2)) == 2
