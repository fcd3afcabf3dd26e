"""The whole journal, out of a SQLite file into another database that is empty: how an installation moves to PostgreSQL.

It is one transaction: what breaks off leaves nothing. Nobody else has the file open meanwhile, so nothing that was
acknowledged is left out; and a gateway that starts on the new database waits until all of it is there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection, Engine, Table, delete, func, insert, inspect, select

from agentsessions.journal import audit, postgresql
from agentsessions.journal.acts import AuditCheck
from agentsessions.journal.audit_tables import audit_head, changes, instances
from agentsessions.journal.database import migrate
from agentsessions.journal.refusals import Refusal
from agentsessions.journal.schema import metadata
from agentsessions.journal.store import verify_chain
from agentsessions.journal.tables import model_calls, sessions
from agentsessions.journal.verification import read_uids

AT_ONCE: Final = 200
"""Rows, of 64 KiB and more."""
OF_PROCESSES: Final = frozenset({instances, changes})
"""What tells who has a shared journal open, and is nothing to keep."""


class CopyRefused(Refusal):
    """The journal cannot be copied there; nothing was."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied."""

    sessions: int
    rows: int
    """Of all tables."""
    problems: tuple[str, ...]
    """What `verify` says of the copy. It said the same of the original."""


def copy(source: Engine, target: Engine) -> Copied:
    """Copy the journal, and verify every chain of the copy before it counts.

    Args:
        source: Of `create_sole_engine`. Its schema is brought up to date.
        target: A writer's engine. Its schema is made.

    Raises:
        CopyRefused: The source is no journal, there is something in the target, or the copy would not be the original.
    """
    with source.connect() as old:
        if not inspect(old).has_table(sessions.name):
            raise CopyRefused("the file to copy holds no journal")
    migrate(source)
    migrate(target)
    with source.begin() as old, target.execution_options(**{postgresql.MIGRATES: True}).begin() as new:
        for table in _tables():
            _refuse_content(new, table)
        new.execute(delete(audit_head))
        rows = sum(_copy_table(old, new, table) for table in _tables())
        if new.dialect.name == "postgresql":
            postgresql.count_on(new, model_calls.c.id)
        problems = tuple(_check(old, new))
        count = new.scalar(select(func.count()).select_from(sessions)) or 0
    return Copied(count, rows, problems)


def _tables() -> list[Table]:
    """Return the tables in an order in which rows can be inserted."""
    return [table for table in metadata.sorted_tables if table not in OF_PROCESSES]


def _refuse_content(conn: Connection, table: Table) -> None:
    query = select(table.c[0])
    if table is audit_head:  # it has one row from the beginning
        query = query.where(audit_head.c.number > 0)
    if conn.execute(query.limit(1)).first() is not None:
        raise CopyRefused(
            f"the journal to copy to has rows in {table.name} already: only an empty database is copied to, "
            "because two journals cannot become one. Name a new database, or remove everything from this one"
        )


def _copy_table(old: Connection, new: Connection, table: Table) -> int:
    rows = 0
    with old.execution_options(yield_per=AT_ONCE).execute(select(table)) as found:
        for part in found.mappings().partitions():
            new.execute(insert(table), [dict(row) for row in part])
            rows += len(part)
    return rows


def _check(old: Connection, new: Connection) -> Iterator[str]:
    """Yield what does not fit in the copy, and does not in the original."""
    after = ""
    while uids := read_uids(new, after, AT_ONCE):
        for uid in uids:
            yield from _compare(f"session {uid}", verify_chain(new, uid), partial(verify_chain, old, uid))
        after = uids[-1]
    yield from _compare("the audit", _check_audit(new), partial(_check_audit, old))


def _compare(what: str, found: list[str], verify_original: Callable[[], list[str]]) -> Iterator[str]:
    if found and found != verify_original():
        raise CopyRefused(f"{what} does not arrive as it was: {'; '.join(found)}. Please report this")
    yield from (f"{what}: {problem}" for problem in found)


def _check_audit(conn: Connection) -> list[str]:
    head, check = audit.read_head(conn), AuditCheck()
    problems: list[str] = []
    while (page := audit.check_page(conn, check, head)) is not None:
        problems += page
    return [*problems, *check.end(head.number, head.digest)]
