"""A whole journal, out of its SQLite file into another database: all of it or nothing, and what was in use is not."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, func, select, update
from sqlalchemy.exc import OperationalError

from agentsessions.api.wire import Outcome
from agentsessions.journal import audit
from agentsessions.journal.acts import Act, AuditRecord, Door, Verdict
from agentsessions.journal.copying import Copied, CopyRefused, copy
from agentsessions.journal.database import create_sole_engine, create_writer_engine
from agentsessions.journal.rows import NewMessage
from agentsessions.journal.schema import metadata
from agentsessions.journal.store import Store
from agentsessions.journal.tables import entries, sessions
from tests.journal.builders import T0, Clock, a_player, an_answer, call_ids
from tests.journals import put_journal

HOSTILE = "a\0b\x1ac \N{ALIEN MONSTER}"
"""What PostgreSQL keeps otherwise than SQLite."""


@pytest.fixture
async def old(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """A journal in a file, in which a session was played to its second turn."""
    (tmp_path / "old").mkdir()
    store = await Store.open(put_journal(tmp_path / "old" / "journal.db"), clock=clock)
    player = await a_player(store, labels={"team": "x"})
    await store.put_message("s1", NewMessage("m1", HOSTILE, "alice", "k"))
    await store.pin_turn(player.pod)
    answer = await player.ask(an_answer("I look.", "shell"), "d1")
    (call_id,) = call_ids(answer)
    await player.begin(call_id)
    await player.report(call_id, HOSTILE)
    await player.commit(1, Outcome.CONTINUE)
    record = AuditRecord(act=Act.PAUSE, by=Door.GATEWAY, outcome=Verdict.DONE, actor="alice", session_uid="s1", at=T0)
    await store.write(lambda work: audit.append(work, record))
    yield store
    await store.close()


@pytest.fixture
def target(journal_url: str) -> Iterator[Engine]:
    engine = create_writer_engine(journal_url)
    yield engine
    engine.dispose()


def copied_from(folder: Path, target: Engine) -> Copied:
    source = create_sole_engine(folder / "old" / "journal.db")
    try:
        return copy(source, target)
    finally:
        source.dispose()


def content_of(conn: Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of all tables, in one order."""
    return {
        table.name: [tuple(row) for row in conn.execute(select(table).order_by(*table.primary_key))]
        for table in metadata.sorted_tables
    }


@pytest.mark.requirement("STEP-5")
async def test_a_copied_journal_is_what_it_was_and_goes_on(
    old: Store, target: Engine, tmp_path: Path, journal_url: str, clock: Clock
) -> None:
    before = await old.read(content_of)
    await old.close()
    copied = await asyncio.to_thread(copied_from, tmp_path, target)
    assert copied == Copied(1, sum(len(rows) for rows in before.values()), ())
    store = await Store.open(journal_url, clock=clock)
    try:
        assert await store.read(content_of) == before
        assert await store.verify("s1") == []
        player = await a_player(store, uid="s2")
        await store.pin_turn(player.pod)
        await player.ask(an_answer("Hello."), "d1")  # counts on behind the calls that were copied
    finally:
        await store.close()


async def test_a_journal_in_use_is_not_copied(old: Store, target: Engine, tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="locked"):
        await asyncio.to_thread(copied_from, tmp_path, target)
    assert await old.verify("s1") == []


def test_a_file_that_is_no_journal_is_not_copied_and_stays_as_it_was(target: Engine, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with closing(sqlite3.connect(tmp_path / "old" / "journal.db")) as other:
        other.execute("CREATE TABLE letters (text)")
    before = (tmp_path / "old" / "journal.db").read_bytes()
    with pytest.raises(CopyRefused, match="holds no journal"):
        copied_from(tmp_path, target)
    assert (tmp_path / "old" / "journal.db").read_bytes() == before


async def test_a_journal_that_has_something_is_not_copied_to(old: Store, target: Engine, tmp_path: Path) -> None:
    await old.close()
    await asyncio.to_thread(copied_from, tmp_path, target)
    with pytest.raises(CopyRefused, match=r"has rows in .* already"):
        await asyncio.to_thread(copied_from, tmp_path, target)


async def test_a_copy_that_differs_is_not_kept(old: Store, target: Engine, tmp_path: Path) -> None:
    await old.close()

    @event.listens_for(target, "before_cursor_execute", retval=True)
    def lose_the_last(conn: Any, cursor: Any, statement: str, rows: Any, *_: Any) -> tuple[str, Any]:  # noqa: ARG001
        return statement, rows[:-1] if statement.startswith("INSERT INTO entries") else rows

    with pytest.raises(CopyRefused, match=r"session s1 does not arrive as it was: the journal's head is entry"):
        await asyncio.to_thread(copied_from, tmp_path, target)
    with target.connect() as conn:
        assert conn.scalar(select(func.count()).select_from(sessions)) == 0


async def test_what_was_changed_before_is_copied_and_told(old: Store, target: Engine, tmp_path: Path) -> None:
    await old.write(lambda work: work.conn.execute(update(entries).where(entries.c.seq == 2).values(body={"x": 1})))
    await old.close()
    copied = await asyncio.to_thread(copied_from, tmp_path, target)
    assert [problem for problem in copied.problems if "session s1: entry 2" in problem]
