"""The audit: who did what to which session. Jobs of the writer, and queries.

- Records are appended, never changed. The head is a row of its own, locked for the length of the transaction: two
  gateways continue one chain.
- An act through the gateway is recorded in the transaction of what it does (messages), or once the API server has
  answered (changes of resources).
- A change of a resource that no request of a gateway accounts for is an act by manifest. `once` (a session's uid and
  generation, or its end) keeps two observers from recording it twice.
- A change that carries the gateway's field manager, and every deletion, may be one whose request is about to record
  it. Such a change waits in `audit_pending`, and is recorded without an actor if no request did so in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from agentsessions.journal.acts import Act, AuditCheck, AuditRecord, Door, SealedRecord, Verdict, audit_hash
from agentsessions.journal.audit_tables import audit, audit_head, audit_pending
from agentsessions.journal.writer import Work

GRACE: Final = timedelta(seconds=30)
"""How long a request may take from the API server's answer to its own record; it is one write to the journal."""
VERIFY_PAGE: Final = 500

_FIELDS: Final = AuditRecord.__slots__
_WORDS: Final[dict[str, type[StrEnum]]] = {"act": Act, "by": Door, "outcome": Verdict}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """What records are asked for, newest first. None and empty mean any."""

    namespace: str | None = None
    namespace_uid: str | None = None
    session: str | None = None
    """UID or name."""
    actor: str | None = None
    act: Act | None = None
    outcome: Verdict | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    """Number of the last record of the page before."""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends."""

    number: int
    digest: str


def append(work: Work, record: AuditRecord) -> int:
    """Add a record of an act through the gateway at the end of the chain; return its number."""
    once = once_of(record)
    if once is not None:
        _lock_head(work.conn)  # first: another gateway may be about to record the same
        work.conn.execute(delete(audit_pending).where(audit_pending.c.once == once))
        if _is_recorded(work.conn, once):
            once = None  # an act that changed nothing: its generation is that of the act before
    return _append(work, record, once)


def note_change(work: Work, seen: AuditRecord, *, may_be_ours: bool) -> datetime | None:
    """Record a change of a resource that was seen, unless it is recorded; idempotent.

    Args:
        work: What jobs have.
        seen: The act by manifest that it is, if no request of a gateway accounts for it.
        may_be_ours: Whether a request may be about to record it.

    Returns:
        When to call `settle`, if it has to wait.
    """
    once = once_of(seen)
    if once is None:
        raise ValueError(f"{seen.act} is no change of a resource")
    _lock_head(work.conn)
    if _is_recorded(work.conn, once):
        return None
    if not may_be_ours:
        _append(work, _as_first_seen(work.conn, seen), once)
        return None
    known: datetime | None = work.conn.scalar(select(audit_pending.c.due_at).where(audit_pending.c.once == once))
    if known is None:
        known = work.now + GRACE
        what = {"once": once, "session_uid": seen.session_uid, "generation": seen.generation, "due_at": known}
        record = to_json(replace(seen, at=seen.at or work.now))
        work.conn.execute(insert(audit_pending).values(**what, record=record))
    return known


def settle(work: Work) -> int:
    """Record what no request accounted for in time; return how many."""
    _lock_head(work.conn)
    due = select(audit_pending).where(audit_pending.c.due_at <= work.now).order_by(audit_pending.c.due_at)
    rows = work.conn.execute(due).all()
    for row in rows:
        work.conn.execute(delete(audit_pending).where(audit_pending.c.once == row.once))
        if not _is_recorded(work.conn, row.once):
            _append(work, _as_first_seen(work.conn, from_json(row.record)), row.once)
    return len(rows)


def next_due(conn: Connection) -> datetime | None:
    """Return when the next pending change is to be settled."""
    due: datetime | None = conn.scalar(select(func.min(audit_pending.c.due_at)))
    return due


def unrecorded(conn: Connection, onces: Sequence[str]) -> set[str]:
    """Return those that are not recorded yet."""
    return set(onces) - set(conn.scalars(select(audit.c.once).where(audit.c.once.in_(onces))))


def newest_of(conn: Connection, uid: str) -> AuditRecord | None:
    """Return the newest record of a session."""
    query = select(audit).where(audit.c.session_uid == uid).order_by(audit.c.number.desc()).limit(1)
    row = conn.execute(query).mappings().one_or_none()
    return None if row is None else _to_record(row)


def once_of(record: AuditRecord) -> str | None:
    """Return what may be recorded only once; None for acts that change no resource."""
    if record.outcome is Verdict.REFUSED or not record.session_uid:
        return None
    if record.act is Act.DELETE:
        return f"{record.session_uid}/end"
    return None if record.generation is None else f"{record.session_uid}/{record.generation}"


def _lock_head(conn: Connection) -> Head:
    row = conn.execute(select(audit_head.c.number, audit_head.c.digest).with_for_update()).one()
    return Head(row.number, row.digest)


def _append(work: Work, record: AuditRecord, once: str | None) -> int:
    head = _lock_head(work.conn)
    record, number = replace(record, at=record.at or work.now), head.number + 1
    digest = audit_hash(number, record, head.digest)
    values = {name: getattr(record, name) for name in _FIELDS}
    values |= {"number": number, "once": once, "previous_hash": head.digest, "hash": digest}
    work.conn.execute(insert(audit).values(values))
    work.conn.execute(update(audit_head).values(number=number, digest=digest))
    return number


def _is_recorded(conn: Connection, once: str) -> bool:
    return conn.scalar(select(audit.c.number).where(audit.c.once == once)) is not None


def _newest_generation(conn: Connection, uid: str) -> int:
    return max(
        conn.scalar(select(func.max(table.c.generation)).where(table.c.session_uid == uid)) or 0
        for table in (audit, audit_pending)
    )


def _as_first_seen(conn: Connection, seen: AuditRecord) -> AuditRecord:
    """Return the record of a change by manifest: generations in front of it that nobody saw are told with it."""
    if seen.generation is None:
        return seen
    newest = _newest_generation(conn, seen.session_uid)
    act = Act.CREATE if newest == 0 else seen.act
    unseen = seen.generation - newest - 1
    return replace(seen, act=act, detail=seen.detail | ({"unseenGenerations": unseen} if unseen > 0 else {}))


def to_json(record: AuditRecord) -> dict[str, Any]:
    """Return a record that waits, as it is kept."""
    values = {name: getattr(record, name) for name in _FIELDS}
    return values | {"at": record.at.isoformat() if record.at else None}


def from_json(values: dict[str, Any]) -> AuditRecord:
    """Return a record that waited."""
    at = datetime.fromisoformat(values["at"]) if values["at"] else None
    return _to_record(values | {"at": at})


def _to_record(values: Any) -> AuditRecord:
    fields: dict[str, Any] = {name: values[name] for name in _FIELDS}
    words = {name: kind(values[name]) for name, kind in _WORDS.items()}
    return AuditRecord(**fields | words)


def _to_sealed(row: Any) -> SealedRecord:
    return SealedRecord(
        number=row["number"], record=_to_record(row), previous_hash=row["previous_hash"], hash=row["hash"]
    )


def list_records(conn: Connection, query: AuditQuery) -> Sequence[SealedRecord]:
    """Return one page of records, newest first."""
    found = _filtered(query).order_by(audit.c.number.desc()).limit(query.limit)
    return [_to_sealed(row) for row in conn.execute(found).mappings()]


def _filtered(query: AuditQuery) -> Select[Any]:
    found = select(audit)
    equal = {
        audit.c.namespace: query.namespace,
        audit.c.namespace_uid: query.namespace_uid,
        audit.c.actor: query.actor,
        audit.c.act: query.act,
        audit.c.outcome: query.outcome,
    }
    for column, value in equal.items():
        if value is not None:
            found = found.where(column == value)
    if query.session is not None:
        found = found.where((audit.c.session_uid == query.session) | (audit.c.session_name == query.session))
    if query.since is not None:
        found = found.where(audit.c.at >= query.since)
    if query.until is not None:
        found = found.where(audit.c.at < query.until)
    if query.before is not None:
        found = found.where(audit.c.number < query.before)
    return found


def read_head(conn: Connection) -> Head:
    """Return where the chain ends."""
    row = conn.execute(select(audit_head.c.number, audit_head.c.digest)).one()
    return Head(row.number, row.digest)


def read_page(conn: Connection, after: int, until: int) -> list[SealedRecord]:
    """Return the records behind number `after` up to `until`, in order; a page of them."""
    page = select(audit).where(audit.c.number > after, audit.c.number <= until)
    return [_to_sealed(row) for row in conn.execute(page.order_by(audit.c.number).limit(VERIFY_PAGE)).mappings()]


def check_page(conn: Connection, check: AuditCheck, until: Head) -> list[str] | None:
    """Take the next page into `check`; return its problems, None behind the last page."""
    try:
        page = read_page(conn, check.head, until.number)
    except ValueError as error:  # a word that is none of ours
        problem = f"a record after record {check.head} cannot be read, it was changed: {error}"
        check.head, check.digest = until.number, until.digest
        return [problem]
    return list(check.read(page)) if page else None
