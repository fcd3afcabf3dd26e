"""Lists of sessions, a page at a time. Queries."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select

from agentsessions.api.reasons import LimitName, Phase
from agentsessions.journal.session_query import MAX_OFFSET, MAX_PAGE, Position, SessionQuery
from agentsessions.journal.session_search import find
from agentsessions.journal.tables import sessions, usage

GOAL_CHARS: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSession:
    """A session as lists show it."""

    uid: str
    namespace: str
    name: str
    session_id: str
    owner: str
    template: str
    type: str
    role: str
    mode: str
    title: str
    phase: Phase | None
    reason: str
    stop_reason: str | None
    goal: str
    """Its first `GOAL_CHARS` characters, and one more when there are more."""
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deleted_at: datetime | None
    last_at: datetime | None
    steps: int
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int
    limit_reached: LimitName | None


_GOAL: Final = func.substr(sessions.c.goal, 1, GOAL_CHARS + 1).label("goal")
_SHOWN: Final = tuple(
    _GOAL if name == "goal" else sessions.c[name] if name in sessions.c else usage.c[name]
    for name in ListedSession.__slots__
)
_ROWS: Final = (
    select(*_SHOWN)
    .join(usage, usage.c.session_uid == sessions.c.uid)
    .where(sessions.c.uid.in_(bindparam("uids", expanding=True)))
)


@dataclass(frozen=True, slots=True)
class SessionPage:
    """One page of a list, how many there are in all, and where the next page begins; None on the last one."""

    items: list[ListedSession]
    total: int
    next: Position | None


def read_page(conn: Connection, query: SessionQuery) -> SessionPage:
    """Return one page of the sessions that match.

    Raises:
        ValueError: The page's limit or offset is out of range.
    """
    if not (1 <= query.limit <= MAX_PAGE and 0 <= query.offset <= MAX_OFFSET):
        raise ValueError(
            f"a page has limit 1 to {MAX_PAGE} and offset 0 to {MAX_OFFSET}, not {query.limit} and {query.offset}"
        )
    found, total = find(conn, query)
    page = found[: query.limit]
    shown = _read_rows(conn, [row.uid for row in page])
    behind = Position(page[-1].value, page[-1].uid, total) if len(found) > query.limit else None
    # What went between the two reads is left out; on PostgreSQL they may see different states.
    return SessionPage([shown[row.uid] for row in page if row.uid in shown], total, behind)


def read_present_uids(conn: Connection) -> set[str]:
    """Return the uids of all sessions whose resource is there, as far as the journal knows."""
    return set(conn.scalars(select(sessions.c.uid).where(sessions.c.deleted_at.is_(None))))


def _read_rows(conn: Connection, uids: list[str]) -> dict[str, ListedSession]:
    rows = conn.execute(_ROWS, {"uids": uids}).all()
    return {row.uid: _to_listed(row._asdict()) for row in rows}


def _to_listed(columns: dict[str, Any]) -> ListedSession:
    phase, limit = columns["phase"], columns["limit_reached"]
    columns["phase"] = Phase(phase) if phase else None
    columns["limit_reached"] = LimitName(limit) if limit else None
    return ListedSession(**columns)
