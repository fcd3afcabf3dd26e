"""Whether the journal that was found is one that this build can write: at its start, not at each write.

Until the first release the first revision changes in place: a journal of an older build then has its number, and other
tables. After it, a build that was rolled back may find a journal of a revision that it does not know.
"""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn

from agentsessions.journal import audit_tables, tables, webhook_tables
from agentsessions.journal.refusals import ForeignJournal

SHOWN: Final = 5
_MODULES: Final = (tables, audit_tables, webhook_tables)
TABLES: Final = tuple(one for one in chain(*(vars(module).values() for module in _MODULES)) if isinstance(one, Table))


def check_tables(connection: Connection) -> None:
    """Compare the journal's tables with those of this build. What it has beyond them, and can do without, is let be.

    Raises:
        ForeignJournal: Something is missing that this build writes, or something is needed that it does not write.
    """
    found = list(islice(_find_differences(connection), SHOWN + 1))
    if found:
        raise ForeignJournal("; ".join(found[:SHOWN]) + ("; …" if len(found) > SHOWN else ""))


def _find_differences(connection: Connection) -> Iterator[str]:
    found = {name: columns for (_, name), columns in inspect(connection).get_multi_columns().items()}
    for table in TABLES:
        if table.name not in found:
            yield f"it has no table {table.name}"
            continue
        live = {column["name"] for column in found[table.name]}
        yield from (
            f"table {table.name} has no column {name}"
            for name in (one.name for one in table.columns)
            if name not in live
        )
        needed = (column["name"] for column in found[table.name] if _is_needed(column))
        yield from (f"table {table.name} needs a column {name}" for name in needed if name not in table.columns)


def _is_needed(column: ReflectedColumn) -> bool:
    return not column["nullable"] and column["default"] is None
