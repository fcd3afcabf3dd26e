"""A session as a file: JSON Lines, compressed with zstd. Written from queries; read back, checked, into a job.

The first line says what it is and holds the session, one line follows for each row, the last says how many there were.
Redacted entries are as they are: without body, with digest and hash. What only concerns pods (fences, purchases under
way) is not in it: an imported session is history, and nobody plays it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Integer,
    String,
    Table,
    TypeDecorator,
    and_,
    insert,
    or_,
    select,
)

from agentsessions.journal import sessions as read_model
from agentsessions.journal.columns import UtcDateTime
from agentsessions.journal.entries import ChainCheck
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.refusals import Refusal
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.tables import entries, inbox, rounds, seals, session_labels, sessions, turns, usage
from agentsessions.journal.writer import Work

FORMAT: Final = "agentsessions-journal"
VERSION: Final = 1
TABLES: Final = (usage, entries, inbox, turns, rounds, seals)
"""What is in a file, in this order."""
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
PAGE: Final = 100
INSERTED_AT_ONCE: Final = 500
MOST_INTEGER: Final = 2**63

_BY_NAME: Final = {table.name: table for table in TABLES}
_OWN: Final = frozenset({"session_uid"})


class ArchiveRefused(Refusal):
    """The file is not a whole, unchanged session."""


class SessionKnown(Refusal):
    """The journal has a session with this uid."""


def read_header(conn: Connection, uid: str, now: datetime) -> dict[str, Any]:
    """Return the first line: what the file is, and the session's own row."""
    row = conn.execute(select(sessions).where(sessions.c.uid == uid)).mappings().one()
    return {"format": FORMAT, "version": VERSION, "exportedAt": now, "session": _plain(row)}


def read_lines(conn: Connection, uid: str, table: Table, after: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Return the next lines of a table, in order of its key, behind the row that `place_of` names."""
    keys = [column for column in table.primary_key if column.name not in _OWN]
    query = select(table).where(table.c.session_uid == uid).order_by(*keys).limit(PAGE)
    if after is not None and keys:
        query = query.where(_behind(keys, after))
    elif after is not None:
        return []
    return [{"table": table.name, "row": _plain(row)} for row in conn.execute(query).mappings()]


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row as JSON has it: its keys are more than texts."""
    return {str(name): value for name, value in row.items() if name not in _OWN}


def place_of(table: Table, line: Mapping[str, Any]) -> list[Any]:
    """Return where a line stands in its table, for `read_lines` to go on behind it."""
    return [line["row"][column.name] for column in table.primary_key if column.name not in _OWN]


def _behind(keys: Sequence[Column[Any]], after: Sequence[Any]) -> Any:
    further = [
        and_(*(key == value for key, value in zip(keys[:place], after, strict=False)), keys[place] > after[place])
        for place in range(len(keys))
    ]
    return or_(*further)


def to_line(value: Mapping[str, Any]) -> bytes:
    """Return a line of the file."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(slots=True)
class ArchiveReader:
    """Reads a file line by line and refuses it at the first thing that does not fit, naming the line."""

    session: dict[str, Any] = field(default_factory=dict)
    """The session's row, once the first line was read."""
    head: int = 0
    _usage: dict[str, Any] = field(default_factory=dict)
    _check: ChainCheck = field(default_factory=ChainCheck)
    _rows: int = 0
    _is_ended: bool = False

    def read(self, lines: Iterable[bytes]) -> Iterator[tuple[Table, dict[str, Any]]]:
        """Yield each row with its table, all checked; what the chain says is known once all are read.

        Raises:
            ArchiveRefused: It is not a file of ours, or not as it was written.
        """
        for number, line in enumerate(lines, 1):
            try:
                found = self._read(line)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                raise ArchiveRefused(f"line {number} of the file is not as it was written: {error}") from error
            if found is not None:
                yield found
        self._finish()

    def _read(self, line: bytes) -> tuple[Table, dict[str, Any]] | None:
        if self._is_ended:
            raise ValueError("it comes after the end")
        content = orjson.loads(line)
        if not self.session:
            self._begin(content)
            return None
        if "end" in content:
            if content["end"]["rows"] != self._rows:
                raise ValueError(f"the file had {content['end']['rows']} rows, {self._rows} are left")
            self._is_ended = True
            return None
        if content["table"] not in _BY_NAME:
            raise ValueError(f"{content['table']!r} is no table of version {VERSION}")
        table = _BY_NAME[content["table"]]
        row = to_columns(table, {**content["row"], "session_uid": self.session["uid"]})
        self._rows += 1
        self._check_row(table, row)
        return table, row

    def _begin(self, content: Mapping[str, Any]) -> None:
        if content.get("format") != FORMAT or content.get("version") != VERSION:
            raise ValueError(f"it does not begin a file of format {FORMAT}, version {VERSION}")
        self.session = to_columns(sessions, content["session"])
        read_model.to_row({**self.session, **dict.fromkeys((c.name for c in usage.c), 0), "limit_reached": None})

    def _check_row(self, table: Table, row: dict[str, Any]) -> None:
        if table is usage:
            self._usage = row
        if table is entries:
            problems = list(self._check.read([to_entry(row)]))
            if problems:
                raise ValueError("; ".join(problems))

    def _finish(self) -> None:
        if not self._is_ended:
            raise ArchiveRefused(f"the file ends after row {self._rows}: the rest of it is missing")
        self.head = self._check.head
        recorded = (self._usage.get("head"), self._usage.get("digest"))
        if recorded != (self._check.head, self._check.digest):
            raise ArchiveRefused(
                f"the file's head is entry {recorded[0]}, but its chain ends with entry {self._check.head}"
            )
        if (problem := next(self._check.unexplained(), None)) is not None:
            raise ArchiveRefused(problem)


def to_columns(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a line as the table takes it.

    Raises:
        ValueError: A column is missing, unknown or of another type.
    """
    unknown = row.keys() - {column.name for column in table.c}
    if unknown:
        raise ValueError(f"{table.name} has no {min(unknown)!r}: was it made by a newer version?")
    return {column.name: _to_value(column, row[column.name]) for column in table.c if _is_needed(column, row)}


def _is_needed(column: Column[Any], row: Mapping[str, Any]) -> bool:
    return column.name in row or not (column.nullable or column.server_default is not None)


def _to_value(column: Column[Any], value: Any) -> Any:
    if value is None:
        if not column.nullable:
            raise ValueError(f"{column.table.name}.{column.name} is empty")
        return None
    kind = column.type
    if isinstance(kind, TypeDecorator) and not isinstance(kind, UtcDateTime):
        kind = kind.impl_instance
    match kind:
        case JSON():
            return value
        case UtcDateTime():
            return _to_instant(column, value)
        case Boolean():
            is_fine = isinstance(value, bool)
        case Integer():
            is_fine = isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST_INTEGER
        case String(length=most):
            is_fine = isinstance(value, str) and (most is None or (len(value) <= most and "\0" not in value))
        case _:
            is_fine = False
    if not is_fine:
        raise ValueError(f"{column.table.name}.{column.name} cannot be {str(value)[:80]!r}")
    return value


def _to_instant(column: Column[Any], value: Any) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError(f"{column.table.name}.{column.name} has no time zone")
    return at.astimezone(UTC)


def put(work: Work, lines: Iterable[bytes], namespace: str, namespace_uid: str) -> SessionRow:
    """Store a session from a file, for readers of a namespace: as one whose resource is gone.

    Raises:
        ArchiveRefused: The file is damaged. Nothing of it stays.
        SessionKnown: There is a session with its uid.
    """
    reader, waiting = ArchiveReader(), dict[str, list[dict[str, Any]]]()
    for table, row in reader.read(lines):
        if table is usage:
            _put_session(work, reader.session, namespace, namespace_uid)
        waiting.setdefault(table.name, []).append(row)
        if len(waiting[table.name]) >= INSERTED_AT_ONCE:
            work.conn.execute(insert(table), waiting.pop(table.name))
    for name, rows in waiting.items():
        work.conn.execute(insert(_BY_NAME[name]), rows)
    work.touched.add(reader.session["uid"])
    found = read_model.find_by_uid(work.conn, reader.session["uid"])
    if found is None:
        raise ArchiveRefused("the file holds no counters")
    return found


def _put_session(work: Work, row: dict[str, Any], namespace: str, namespace_uid: str) -> None:
    uid = row["uid"]
    if work.conn.scalar(select(sessions.c.uid).where(sessions.c.uid == uid)) is not None:
        raise SessionKnown(f"the journal has session {uid} already; what is there is not overwritten")
    here = {"namespace": namespace, "namespace_uid": namespace_uid, "deleted_at": work.now, "updated_at": work.now}
    work.conn.execute(insert(sessions).values({**row, **here}))
    labels = [{"session_uid": uid, "key": key, "value": value} for key, value in row["labels"].items()]
    if labels:
        work.conn.execute(insert(session_labels), labels)


def check(lines: Iterable[bytes]) -> ArchiveReader:
    """Return what a file holds, once all of it was read and fits.

    Raises:
        ArchiveRefused: It does not.
    """
    reader = ArchiveReader()
    for _ in reader.read(lines):
        pass
    return reader
