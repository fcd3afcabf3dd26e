"""Engines over PostgreSQL: several gateways share one journal, and one of them writes at a time.

- Each transaction of a writer first takes one advisory lock. What SQLite's write lock gives (no two jobs at once, no
  deadlock, commits in one order) holds between processes too, and group commit keeps the rate.
- No process can hold the lock for ever: one that hangs in a transaction has it ended by the server, one that waits
  too long gives up, and connections to a machine that is gone end in seconds.
- A commit is on the disk before it is acknowledged, whatever the server's default.
"""

from typing import Any, Final

import orjson
import psycopg
import structlog
from sqlalchemy import URL, Column, Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from agentsessions.journal.columns import to_text

log = structlog.get_logger(__name__)

DRIVER: Final = "postgresql+psycopg"
DRIVERS: Final = frozenset({DRIVER, "postgresql", "postgres"})
"""As administrators write them; the driver is ours to choose."""
MAX_BATCH: Final = 60
"""Jobs in one transaction. From 64 savepoints on, the server's own bookkeeping makes readers slow."""
READERS: Final = 8
WRITER_LOCK: Final = 0x6167656E74736573
"""Key of the advisory lock: any number that no other program uses in this database."""
TEXT_INDEX: Final = "ix_sessions_search"
MIGRATES: Final = "journal_migrates"
"""Execution option of the connection that migrates: it waits as long as it takes."""

_CONNECTION: Final[dict[str, str | int]] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
    "fallback_application_name": "agentsessions-gateway",
}
_SESSION: Final = {"jit": "off", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "10s"}
_WRITER: Final = _SESSION | {
    "default_transaction_isolation": r"read\ committed",  # what was committed before the lock came is seen
    "lock_timeout": "15s",  # longer than any other may idle with the lock
    "synchronous_commit": "on",
}
_READER: Final = _SESSION | {
    "default_transaction_isolation": r"repeatable\ read",
    "default_transaction_read_only": "on",
    "random_page_cost": "1.1",  # the default is for disks that turn: it reads whole tables where a list has an index
}


def is_postgresql(url: URL) -> bool:
    """Return whether a URL is one of PostgreSQL."""
    return url.drivername in DRIVERS


def create_writer_engine(url: URL) -> Engine:
    """Return an engine with the one connection that writes."""
    engine = create_engine(
        url.set(drivername=DRIVER),
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args=_arguments(url, _WRITER),
        json_serializer=to_text,
        json_deserializer=orjson.loads,
    )

    @event.listens_for(engine, "begin")
    def take_lock(connection: Connection) -> None:
        if connection.get_execution_options().get(MIGRATES):
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")

    return engine


def create_reader_engine(url: URL) -> AsyncEngine:
    """Return an engine for reads; each of its transactions sees one state of the database."""
    return create_async_engine(
        url.set(drivername=DRIVER),
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args=_arguments(url, _READER),
        json_serializer=to_text,
        json_deserializer=orjson.loads,
    )


async def connect_listener(url: URL) -> psycopg.AsyncConnection:
    """Return a connection that can wait for notifications.

    Raises:
        psycopg.OperationalError: The server cannot be reached.
    """
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return await psycopg.AsyncConnection.connect(plain, autocommit=True, **_arguments(url, _SESSION))


def index_texts(connection: Connection) -> None:
    """Let lists find a text by an index, where the server has the extension pg_trgm and this user may use it."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            connection.exec_driver_sql(
                f"CREATE INDEX IF NOT EXISTS {TEXT_INDEX} ON sessions USING gin (search gin_trgm_ops)"
            )
    except DBAPIError as error:
        if is_passing(error):
            raise
        log.info("lists look for texts without an index", error=str(error.orig).strip())


def count_on(connection: Connection, column: Column[Any]) -> None:
    """Let a counted key go on behind the rows that were given theirs."""
    following = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
    counter = func.pg_get_serial_sequence(column.table.name, column.name)
    connection.execute(select(func.setval(counter, following, False)))


def is_passing(error: BaseException) -> bool:
    """Return whether the server was away or busy: the same may succeed in a moment."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError) or not isinstance(error.orig, psycopg.Error):
        return False
    is_standby = isinstance(error.orig, psycopg.errors.ReadOnlySqlTransaction)  # since a moment ago: it failed over
    return error.connection_invalidated or is_standby or isinstance(error, OperationalError | InterfaceError)


def _arguments(url: URL, settings: dict[str, str]) -> dict[str, Any]:
    """Return what connects; what the URL says itself comes last, and so wins."""
    given = url.query.get("options", "")
    own = " ".join(f"-c {name}={value}" for name, value in settings.items())
    options = f"{own} {given if isinstance(given, str) else ' '.join(given)}".strip()
    named = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    return {**named, "options": options}
