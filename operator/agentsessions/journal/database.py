"""Engines over the journal's database, and its schema. The one place that knows SQLite; `postgresql` knows the other.

The writer's engine is synchronous: its thread runs whole transactions. Through an asynchronous driver each statement
would cross threads, and a turn has some forty of them.
"""

from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Final

import orjson
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from agentsessions.journal import postgresql, trigrams
from agentsessions.journal.builds import check_tables
from agentsessions.journal.columns import to_text
from agentsessions.journal.reader import FileReader, Reader, ServerReader
from agentsessions.journal.refusals import ForeignJournal

MIGRATIONS_DIR: Final = Path(__file__).parent / "migrations"
BUSY_TIMEOUT: Final = timedelta(seconds=10)
READERS: Final = 4
URL_SCHEME: Final = "sqlite"

_ALEMBIC: Final = Lock()
"""Alembic keeps the migration that runs in a global."""

_WRITER_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # a commit is on the disk before it is acknowledged
    "PRAGMA foreign_keys=ON",
)
_SOLE_PRAGMAS: Final = (
    "PRAGMA busy_timeout=1000",  # who has it open keeps it open
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA synchronous=FULL",
)
_READER_PRAGMAS: Final = (
    "PRAGMA query_only=ON",
    "PRAGMA mmap_size=268435456",  # lists go through an index of tens of megabytes: read in place, not copied
)


def create_writer_engine(url: str) -> Engine:
    """Return an engine with the one connection that writes.

    Raises:
        ValueError: The URL is one of neither SQLite nor PostgreSQL.
    """
    target = make_url(url)
    if postgresql.is_postgresql(target):
        return postgresql.create_writer_engine(target)
    if target.drivername != URL_SCHEME:
        raise ValueError(
            f"the journal cannot open {target!r}: its URL must be {URL_SCHEME}:////path/of/a/file, "
            "or postgresql://user:password@host:5432/database"
        )
    engine = create_engine(
        target,
        pool_size=1,
        max_overflow=0,
        json_serializer=to_text,
        json_deserializer=orjson.loads,
    )
    _configure(engine, begin="BEGIN IMMEDIATE", pragmas=_WRITER_PRAGMAS)
    return engine


def create_sole_engine(file: Path) -> Engine:
    """Return an engine over a SQLite file that nobody else has open, nor opens as long as its connection lasts.

    Its first transaction fails as locked where somebody has. The file must be there: a missing one would be made.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        pool_size=1,
        max_overflow=0,
        json_serializer=to_text,
        json_deserializer=orjson.loads,
    )
    _configure(engine, begin="BEGIN IMMEDIATE", pragmas=_SOLE_PRAGMAS)
    return engine


def is_shared(url: str) -> bool:
    """Return whether other processes may have the journal open too."""
    return postgresql.is_postgresql(make_url(url))


def create_reader(url: str) -> Reader:
    """Return what reads; each of its transactions sees one state of the database."""
    if postgresql.is_postgresql(make_url(url)):
        return ServerReader(postgresql.create_reader_engine(make_url(url)))
    engine = create_engine(
        url, pool_size=READERS, max_overflow=0, json_serializer=to_text, json_deserializer=orjson.loads
    )
    _configure(engine, begin="BEGIN", pragmas=_READER_PRAGMAS)
    return FileReader(engine, READERS)


def _configure(engine: Engine, *, begin: str, pragmas: tuple[str, ...]) -> None:
    # sqlite3 starts transactions where it sees fit, so that savepoints and DDL would escape them: SQLAlchemy's recipe.
    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (f"PRAGMA busy_timeout={int(BUSY_TIMEOUT.total_seconds() * 1000)}", *pragmas):
            cursor.execute(pragma)
        cursor.close()

    # The recipe's listener to `begin` would do too, but with one each statement costs a quarter more: all are asked.
    def begin_transaction(connection: PoolProxiedConnection) -> None:
        cursor = connection.cursor()
        cursor.execute(begin)
        cursor.close()

    engine.dialect.do_begin = begin_transaction  # type: ignore[method-assign,assignment]


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest revision, in one transaction that holds the journal's write lock.

    Whoever comes first does it; another process waits for the lock, and finds nothing left to do.

    Raises:
        ForeignJournal: The journal is of a build that has other tables, or a newer revision.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_DIR).replace("%", "%%"))
    with _ALEMBIC, engine.execution_options(**{postgresql.MIGRATES: True}).begin() as connection:
        config.attributes["connection"] = connection
        _check_revision(connection, ScriptDirectory.from_config(config))
        command.upgrade(config, "head")
        check_tables(connection)
        (postgresql if connection.dialect.name == "postgresql" else trigrams).index_texts(connection)


def _check_revision(connection: Connection, known: ScriptDirectory) -> None:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in {script.revision for script in known.walk_revisions()}:
        raise ForeignJournal(f"its revision {revision} is not one of this build")
