"""The store as a whole: group commit, concurrency, subscriptions, schema, crashes, tampering."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, inspect
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from agentsessions.api.wire import Outcome
from agentsessions.journal import postgresql, trigrams
from agentsessions.journal.database import create_reader, create_writer_engine, is_shared, migrate
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger
from agentsessions.journal.lists import read_page
from agentsessions.journal.refusals import ForeignJournal, Refusal, StoreClosed, TurnMismatch, UnknownSession
from agentsessions.journal.schema import metadata
from agentsessions.journal.session_query import SessionQuery
from agentsessions.journal.sessions import put_session
from agentsessions.journal.store import Store, utc_now
from agentsessions.journal.writer import Work, Writer
from tests.journal.builders import Clock, a_player, a_session, an_answer, call_ids
from tests.journals import url_of
from tests.postgres import Databases


def _append(text: str, uid: str = "s1") -> object:
    def job(work: Work) -> int:
        ledger = Ledger(work, uid)
        seq = ledger.append(EntryType.MESSAGE, {"role": "user", "content": text})
        ledger.save()
        return seq

    return job


class Group:
    """A writer whose transactions are counted."""

    def __init__(self, url: str) -> None:
        self.engine = create_writer_engine(url)
        self.commits = 0
        self.announced: list[set[str]] = []

    async def __aenter__(self) -> Self:
        migrate(self.engine)
        event.listen(self.engine, "commit", self._count)
        self.writer = Writer(self.engine, clock=Clock(), announce=self.announced.append)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.writer.close()
        self.engine.dispose()

    def _count(self, _: object) -> None:
        self.commits += 1


async def test_jobs_that_wait_share_one_commit_and_a_failed_one_leaves_no_trace(journal_url: str) -> None:
    def refuse(work: Work) -> None:
        _append("never")(work)  # type: ignore[operator]  # a job
        raise TurnMismatch("no")

    def clash(work: Work) -> None:
        work.conn.exec_driver_sql("INSERT INTO entries SELECT * FROM entries")

    async with Group(journal_url) as group:
        await group.writer.run(lambda work: put_session(work, a_session()))
        group.commits, group.announced[:] = 0, []
        jobs = [_append("one"), refuse, clash, _append("two"), lambda _: 1 / 0, _append("three")]
        outcomes = await asyncio.gather(*map(group.writer.run, jobs), return_exceptions=True)  # type: ignore[arg-type]  # jobs of several types
        assert [type(one) for one in outcomes] == [int, TurnMismatch, IntegrityError, int, ZeroDivisionError, int]
        assert (group.commits, group.announced) == (1, [{"s1"}])
    store = await Store.open(journal_url)
    assert [(e.body or {})["content"] for e in await store.entries("s1", after=3)] == ["one", "two", "three"]
    assert await store.verify("s1") == []
    await store.close()


async def test_a_database_that_fails_fails_the_whole_group_and_not_the_next(journal_url: str) -> None:
    def break_down(work: Work) -> None:
        work.conn.exec_driver_sql("SELECT * FROM nowhere")

    async with Group(journal_url) as group:
        await group.writer.run(lambda work: put_session(work, a_session()))
        jobs = [_append("lost"), break_down]
        outcomes = await asyncio.gather(*map(group.writer.run, jobs), return_exceptions=True)  # type: ignore[arg-type]  # jobs of several types
        assert [isinstance(one, DBAPIError) for one in outcomes] == [True, True]
        assert await group.writer.run(_append("kept")) == 4  # type: ignore[arg-type]  # a job


async def test_a_job_runs_although_its_caller_went_away(store: Store) -> None:
    await store.put_session(a_session())
    asking = asyncio.create_task(store.mark_deleted("s1", utc_now()))
    await asyncio.sleep(0)  # lets it ask
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await store.put_session(a_session("s2"))
    row = await store.get_session_by_uid("s1")
    assert row is not None
    assert row.deleted_at is not None


async def test_a_closed_store_refuses_writes_and_has_done_those_it_took(journal_url: str) -> None:
    store = await Store.open(journal_url)
    taken = asyncio.create_task(store.put_session(a_session()))
    await asyncio.sleep(0)  # lets it ask
    await store.close()
    await taken
    with pytest.raises(StoreClosed):
        await store.put_session(a_session("s2"))


async def _play_to_the_end(store: Store, uid: str) -> None:
    player = await a_player(store, uid)
    for k in (1, 2):
        await store.pin_turn(player.pod)
        (call_id,) = call_ids(await player.ask(an_answer("", "shell"), f"d{k}"))
        await player.begin(call_id)
        await player.report(call_id, "x")
        await player.commit(k, Outcome.CONTINUE)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("done"), "d3")
    await player.commit(3, Outcome.FINAL)


async def test_a_hundred_sessions_at_once_each_have_a_whole_chain(store: Store) -> None:
    uids = [f"s{i}" for i in range(100)]
    await asyncio.gather(*(_play_to_the_end(store, uid) for uid in uids))
    for uid in uids:
        entries = await store.entries(uid)
        assert [entry.seq for entry in entries] == list(range(1, 15))
        assert len({(e.round, e.agent, e.step, e.index) for e in entries}) == len(entries)
        assert await store.verify(uid) == []


async def test_a_hundred_writers_of_one_session_leave_no_gap(store: Store) -> None:
    player = await a_player(store)
    reservations = await asyncio.gather(*(player.reserve(f"d{i}") for i in range(100)))
    await asyncio.gather(*(player.settle(one, an_answer(f"{one.call_id}")) for one in reservations))
    level = await store.level("s1")
    assert level is not None
    assert (level.steps, level.head) == (100, 3 + 300)
    assert sorted(one.step for one in reservations) == list(range(1, 101))
    assert await store.verify("s1") == []


async def test_subscribers_hear_of_each_session_that_changed_once_until_they_look(store: Store) -> None:
    with store.changes() as changes:
        await store.put_session(a_session("s1"))
        await store.put_session(a_session("s2"))
        await store.set_goal_message("s1", "already there")
        await store.fence("s1", "agent", 1, "p1")
        assert [await anext(changes), await anext(changes)] == ["s1", "s2"]
        waiting = asyncio.create_task(anext(changes))
        await store.mark_deleted("s2", utc_now())
        assert await waiting == "s2"


async def test_what_a_subscriber_hears_of_can_be_read(store: Store) -> None:
    heads: list[int] = []
    with store.changes() as changes:
        writing = asyncio.create_task(_play_to_the_end(store, "s1"))
        while not heads or heads[-1] < 14:
            await anext(changes)
            heads.append(len(await store.entries("s1")))
        await writing
    assert heads == sorted(heads)


async def test_subscriptions_end_with_the_store(journal_url: str) -> None:
    store = await Store.open(journal_url)
    changes = store.changes()
    await store.put_session(a_session())
    await store.close()
    assert [uid async for uid in changes] == ["s1"]


async def test_a_refusal_names_session_and_remedy(store: Store) -> None:
    with pytest.raises(UnknownSession, match=r"nobody.*put_session") as refusal:
        await store.set_goal_message("nobody", "x")
    assert isinstance(refusal.value, Refusal)


@pytest.mark.requirement("STEP-5")
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        pytest.param("UPDATE entries SET body = '{\"x\":1}' WHERE seq = 2", "entry 2 has a body", id="changed body"),
        pytest.param("UPDATE entries SET agent = 'x' WHERE seq = 2", "entry 2 has a hash", id="changed head"),
        pytest.param("UPDATE entries SET type = 'x' WHERE seq = 2", "cannot be read", id="unknown type"),
        pytest.param("UPDATE entries SET body = '{' WHERE seq = 2", "cannot be read", id="body that is no JSON"),
        pytest.param("UPDATE entries SET previous_hash = 'x' WHERE seq = 2", "does not continue", id="no hash"),
        pytest.param("DELETE FROM entries WHERE seq = 2", "entry 2 is missing", id="entry taken out"),
        pytest.param("DELETE FROM entries WHERE seq = 3", "ends with entry 2", id="end cut off"),
        pytest.param(
            "UPDATE entries SET seq = CASE seq WHEN 1 THEN -2 ELSE -1 END WHERE seq < 3; "
            "UPDATE entries SET seq = -seq WHERE seq < 0",
            "does not continue the chain", id="two swapped",
        ),
    ],
)  # fmt: skip
async def test_verify_finds(journal_url: str, statement: str, found: str) -> None:
    if is_shared(journal_url) and "'{'" in statement:
        pytest.skip("PostgreSQL keeps no such body")
    store = await Store.open(journal_url)
    await store.put_session(a_session())
    assert await store.verify("s1") == []
    engine = create_writer_engine(journal_url)
    with engine.begin() as database:
        for part in statement.split("; "):
            database.exec_driver_sql(part)
    engine.dispose()
    assert any(found in problem for problem in await store.verify("s1"))
    await store.close()


@pytest.fixture
def no_journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database that holds nothing yet."""
    if request.config.getoption("--journal") == "sqlite":
        yield url_of(tmp_path / "journal.db")
        return
    databases: Databases = request.getfixturevalue("databases")
    with databases.create(template="template1") as name:
        yield databases.server.url(name)


async def test_the_schema_is_what_the_tables_say_and_migrates_only_once(no_journal_url: str) -> None:
    for _ in range(2):
        store = await Store.open(no_journal_url)
        await store.close()
    engine = create_writer_engine(no_journal_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == "0001"
        text_index = postgresql.TEXT_INDEX if is_shared(no_journal_url) else trigrams.PREFIX
        changes = {(change[0], change[1].name) for change in compare_metadata(context, metadata)}
    # Beyond the journal's tables there is an index of texts, which each database has in its own way.
    assert ("remove_index" if is_shared(no_journal_url) else "remove_table", text_index) in changes
    assert {name for _, name in changes if not name.startswith(text_index)} == set()
    engine.dispose()


async def test_a_server_without_trigrams_only_looks_for_texts_longer(databases: Databases) -> None:
    with databases.create(template="template1") as name:
        url = databases.server.url(name)
        engine = create_writer_engine(url)
        with engine.begin() as database:
            database.exec_driver_sql("CREATE SCHEMA elsewhere")
            database.exec_driver_sql("CREATE EXTENSION pg_trgm SCHEMA elsewhere")  # found, and not of use
        store = await Store.open(url)
        await store.put_session(a_session(title="Sales report"))
        page = await store.read(read_page, SessionQuery(text="sales"))
        await store.close()
        with engine.connect() as database:
            assert postgresql.TEXT_INDEX not in {index["name"] for index in inspect(database).get_indexes("sessions")}
        engine.dispose()
    assert [row.uid for row in page.items] == ["s1"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param("ALTER TABLE inbox RENAME TO old_inbox", "it has no table inbox", id="a table of ours is missing"),
        pytest.param("ALTER TABLE sessions DROP COLUMN goal", "table sessions has no column goal", id="a column is"),
        pytest.param(
            "ALTER TABLE sessions RENAME COLUMN goal TO aim",
            "table sessions has no column goal; table sessions needs a column aim",
            id="it needs a column that we do not write",
        ),
        pytest.param(
            "UPDATE alembic_version SET version_num = '0099'", "its revision 0099 is not one of", id="it is newer"
        ),
    ],
)
async def test_a_journal_of_another_build_is_refused_at_start(journal_url: str, change: str, found: str) -> None:
    await (await Store.open(journal_url)).close()
    engine = create_writer_engine(journal_url)
    with engine.begin() as database:
        database.exec_driver_sql(change)
    with pytest.raises(ForeignJournal, match=f"made by another build.*{found}.*or give this one an empty database"):
        await Store.open(journal_url)
    with engine.begin() as database:
        assert database.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() in {"0001", "0099"}
    engine.dispose()


async def test_columns_that_this_build_can_do_without_are_let_be(journal_url: str) -> None:
    await (await Store.open(journal_url)).close()
    engine = create_writer_engine(journal_url)
    with engine.begin() as database:
        database.exec_driver_sql("ALTER TABLE sessions ADD COLUMN mood TEXT")
    engine.dispose()
    await (await Store.open(journal_url)).close()


async def test_two_processes_that_start_together_migrate_once(no_journal_url: str) -> None:
    stores = await asyncio.gather(*(Store.open(no_journal_url) for _ in range(3)))
    await stores[0].put_session(a_session())
    assert await stores[1].get_session_by_uid("s1")
    for store in stores:
        await store.close()


async def test_commits_are_on_the_disk_and_readers_cannot_write(tmp_path: Path) -> None:
    writer, reader = create_writer_engine(url_of(tmp_path / "j.db")), create_reader(url_of(tmp_path / "j.db"))
    with writer.connect() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]
    with pytest.raises(OperationalError, match="readonly"):
        await reader.run(lambda connection: connection.exec_driver_sql("CREATE TABLE x (y)"))
    writer.dispose()
    await reader.close()


def _write_until_killed(url: str, acknowledged: Connection) -> None:
    async def write() -> None:
        store = await Store.open(url)
        for i in range(10_000):
            await _play_to_the_end(store, f"s{i}")
            acknowledged.send(i)

    asyncio.run(write())


@pytest.mark.requirement("LIFE-11")
async def test_a_killed_process_leaves_every_acknowledged_commit_and_no_half_one(journal_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_write_until_killed, args=(journal_url, sender))
    process.start()
    sender.close()
    last = -1
    while last < 5:
        last = await asyncio.to_thread(receiver.recv)
    process.kill()
    await asyncio.to_thread(process.join)
    process.close()
    with receiver, suppress(EOFError):
        while True:
            last = receiver.recv()

    store = await Store.open(journal_url)
    await store.recover()
    for i in range(last + 1):
        level = await store.level(f"s{i}")
        assert level is not None
        assert level.result == "done"
    for level in await store.open_levels():
        assert await store.verify(level.session_uid) == []
    await store.close()
