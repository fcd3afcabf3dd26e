"""The tool `sql`: one SELECT over the session's data sources, in an SQLite database that lives in memory.

Statements come from a model that may have been talked into anything. SQLite itself asks for each thing that a statement
does (`ALLOWED`), a statement ends after some seconds wherever it is, and neither a value, the heap nor the answer can
grow beyond a bound. Files are read once, and nothing is ever written.
"""

import asyncio
import csv
import io
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from agentsessions.api.datasets import BadDataError, Table, read_table
from agentsessions.api.names import MAX_FILES_BYTES
from agentsessions.api.v1alpha1.context import DataFormat
from agentsessions.api.wire import SideEffect
from agentsessions.runner.tools.tool import ToolFailedError

MAX_QUERY_CHARACTERS: Final = 20_000
MAX_ROWS: Final = 500
MAX_OUTPUT_BYTES: Final = 60_000
"""Below the size of a tool result, so that a result is never shortened unseen."""
MAX_SECONDS: Final = 10.0
MAX_VALUE_BYTES: Final = 1_000_000
HEAP_BYTES: Final = 64 * 1024 * 1024
STEPS_BETWEEN_LOOKS: Final = 10_000
"""Instructions of SQLite's machine: well below a millisecond."""
SHOWN_COLUMNS: Final = 40
"""Of a table, in the tool's description; `SELECT *` shows the others."""

ALLOWED: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
"""All that a statement may do. No write, no other file, no setting, no transaction."""
FORBIDDEN_FUNCTIONS: Final = frozenset({"load_extension", "sqlite_log", "fts3_tokenizer"})


class Database:
    """The data sources, as tables."""

    def __init__(self, folder: Path, *, max_seconds: float = MAX_SECONDS) -> None:
        """Read all sources of a folder: `name.format` each. One that is no table is told in the answer to queries."""
        self.tables: dict[str, Table] = {}
        self.problems: dict[str, str] = {}
        self._max_seconds = max_seconds
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not path.name.startswith("."):  # the kubelet's own
                self._load(path)
        self._lock()

    def run(self, query: str) -> str:
        """Return a SELECT's rows as CSV, with a note on how many there are.

        Raises:
            ToolFailedError: It is not one SELECT over the tables, or takes too long.
        """
        ends_at = time.monotonic() + self._max_seconds
        self._connection.set_progress_handler(lambda: int(time.monotonic() > ends_at), STEPS_BETWEEN_LOOKS)
        try:
            cursor = self._connection.execute(query)
            if cursor.description is None:
                raise ToolFailedError("the query is empty; write one SELECT")
            return to_csv([column[0] for column in cursor.description], cursor)
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise ToolFailedError(f"stopped after {self._max_seconds:g} s: ask for less") from error
            raise ToolFailedError(f"{error}{self._hint()}") from error
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
            raise ToolFailedError(f"{error or type(error).__name__}{self._hint()}") from error

    def _hint(self) -> str:
        told = "".join(f"\n{name} cannot be read: {why}" for name, why in self.problems.items())
        return f"; only one SELECT over the tables {', '.join(self.tables) or '(there are none)'} is run{told}"

    def _load(self, path: Path) -> None:
        name = path.stem
        try:
            with path.open("rb") as file:  # one byte more than may be shows that there is too much
                table = read_table(file.read(MAX_FILES_BYTES + 1), DataFormat(path.suffix[1:].upper()))
        except (BadDataError, OSError, ValueError) as error:
            self.problems[name] = str(error)
            return
        columns = ", ".join(f"{quote(column.name)} {column.affinity}" for column in table.columns)
        self._connection.execute(f"CREATE TABLE {quote(name)} ({columns})")
        places = ", ".join("?" * len(table.columns))
        self._connection.executemany(f"INSERT INTO {quote(name)} VALUES ({places})", table.rows)  # noqa: S608 - quoted
        self.tables[name] = table

    def _lock(self) -> None:
        self._connection.execute(f"PRAGMA hard_heap_limit={HEAP_BYTES}")
        self._connection.execute("PRAGMA temp_store=MEMORY")
        self._connection.execute("PRAGMA query_only=ON")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_QUERY_CHARACTERS * 4)
        self._connection.set_authorizer(authorize)


class Sql:
    """Runs queries over the data sources."""

    name: Final = "sql"
    parameters: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_QUERY_CHARACTERS,
                "description": "One SELECT in SQLite's dialect.",
            }
        },
        "required": ["query"],
        "additionalProperties": False,
    }
    side_effect: Final = SideEffect.NONE

    def __init__(self, database: Database) -> None:
        self._database = database
        self.description = describe(database.tables)

    async def run(self, arguments: Mapping[str, Any]) -> str:
        """Run one query; a thread that is left behind by a cancel ends by itself, it has a deadline."""
        return await asyncio.to_thread(self._database.run, arguments["query"])


def describe(tables: Mapping[str, Table]) -> str:
    """Return what the model is told: the tables with their columns. The same for the same content."""
    offer = f"Run one SELECT (SQLite's dialect) over the session's data sources. Answers CSV, at most {MAX_ROWS} rows"
    told = [f"{offer}; aggregate in the query. Tables:"]
    for name, table in tables.items():
        columns = [f"{quote(column.name)} {column.affinity}" for column in table.columns[:SHOWN_COLUMNS]]
        more = [f"{len(table.columns) - SHOWN_COLUMNS} more"] if len(table.columns) > SHOWN_COLUMNS else []
        told.append(f"{name} ({', '.join(columns + more)}): {len(table.rows)} rows")
    return "\n".join(told)


def authorize(action: int, one: str | None, two: str | None, *_: object) -> int:
    """Say whether a statement may do something (an authorizer of SQLite)."""
    if action not in ALLOWED or (action == sqlite3.SQLITE_FUNCTION and (two or "").lower() in FORBIDDEN_FUNCTIONS):
        return sqlite3.SQLITE_DENY
    del one
    return sqlite3.SQLITE_OK


def to_csv(names: Sequence[str], rows: sqlite3.Cursor) -> str:
    """Return rows as CSV, as many as fit."""
    told = io.StringIO()
    writer = csv.writer(told, lineterminator="\n")
    writer.writerow(names)
    count, size, is_cut = 0, 0, False
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow([shown(value) for value in row])
        size += len(line.getvalue().encode())
        is_cut = count >= MAX_ROWS or size > MAX_OUTPUT_BYTES
        if is_cut:
            break
        told.write(line.getvalue())
        count += 1
    note = f"[the first {count} rows; there are more: ask for less, or aggregate]" if is_cut else f"[{count} rows]"
    return f"{told.getvalue()}{note}"


def shown(value: object) -> object:
    """Return a value as CSV shows it: no value as nothing, bytes as SQL writes them."""
    return f"x'{value.hex()}'" if isinstance(value, bytes) else value


def quote(name: str) -> str:
    """Return a name as SQL takes any."""
    return '"' + name.replace('"', '""') + '"'
