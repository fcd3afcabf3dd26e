"""What the child sessions of directors come to: which are under way, and what they take of its limits. Queries."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from agentsessions.api.child_sessions import ChildRequest, ChildSessionsLevel
from agentsessions.api.v1alpha1.life import Limits
from agentsessions.journal.rows import MailPriority
from agentsessions.journal.tables import child_sessions, sessions, usage
from agentsessions.lifecycle.child_sessions import Amounts, kept_for

MOST_SHOWN: Final = 8
"""Requests of one session that its level tells; the others follow as these are made."""
_COUNTED: Final = ("steps", "input_tokens", "output_tokens", "tool_calls", "cost_micro_usd")
_ROWS: Final = (
    select(child_sessions, sessions.c.uid.label("seen_uid"), *(usage.c[name] for name in _COUNTED))
    .outerjoin(sessions, sessions.c.uid == child_sessions.c.child_uid)
    .outerjoin(usage, usage.c.session_uid == child_sessions.c.child_uid)
    .order_by(child_sessions.c.created_at, child_sessions.c.id)
)
_OF_DIRECTOR: Final = _ROWS.where(child_sessions.c.session_uid == bindparam("uid"))


@dataclass(frozen=True, slots=True)
class Start:
    """The request by which a child began, as messages about it name it."""

    sender_uid: str
    sender: str
    """Name of the director."""
    id: str
    priority: MailPriority = MailPriority.NORMAL


def open_children(of: ColumnElement[bool]) -> Select[Any]:
    """Return the query that counts the child sessions that have no last word yet."""
    return select(func.count()).select_from(child_sessions).where(of, child_sessions.c.replied_at.is_(None))


def find_start(conn: Connection, child_uid: str) -> Start | None:
    """Return what a child session that has no last word yet is about; None when the session is none."""
    query = (
        select(child_sessions.c.session_uid, child_sessions.c.id, sessions.c.name)
        .join(sessions, sessions.c.uid == child_sessions.c.session_uid)
        .where(child_sessions.c.child_uid == child_uid, child_sessions.c.replied_at.is_(None))
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else Start(row.session_uid, row.name, row.id)


def read_taken(conn: Connection, uid: str) -> tuple[Amounts, int]:
    """Return what the children of a session take of its limits, and how many were started.

    Those that were never made do not count.
    """
    rows = conn.execute(_OF_DIRECTOR, {"uid": uid}).all()
    return _sum(map(_kept_of, rows)), sum(map(_is_started, rows))


def read_kept(conn: Connection, uid: str) -> Amounts:
    """Return what the children of a session take of its limits."""
    return read_taken(conn, uid)[0]


@cache
def _of(asked: Select[str]) -> Select[Any]:
    return _ROWS.where(child_sessions.c.session_uid.in_(asked))


def read_children(conn: Connection, asked: Select[str], given: Mapping[str, Any]) -> dict[str, ChildSessionsLevel]:
    """Return what the children of sessions come to, by the sessions' uids; nothing of those without any.

    Args:
        conn: The journal.
        asked: A query for the uids of the sessions that are asked about; one of few, as ours is kept for each.
        given: Its parameters.
    """
    rows: dict[str, list[Any]] = defaultdict(list)
    for row in conn.execute(_of(asked), given):
        rows[row.session_uid].append(row)
    return {uid: _to_level(found) for uid, found in rows.items()}


def _to_level(rows: list[Any]) -> ChildSessionsLevel:
    kept = _sum(map(_kept_of, rows))
    pending = [row for row in rows if row.replied_at is None and row.seen_uid is None]
    return ChildSessionsLevel(
        started=sum(map(_is_started, rows)),
        kept_steps=kept.max_steps,
        kept_tokens=kept.max_tokens,
        kept_tool_calls=kept.max_tool_calls,
        kept_cost_micro_usd=kept.max_cost_micro_usd,
        pending=tuple(map(_to_request, pending[:MOST_SHOWN])),
        **{name: sum(getattr(row, name) or 0 for row in rows) for name in _COUNTED},
    )


def _to_request(row: Any) -> ChildRequest:
    return ChildRequest(id=row.id, name=row.name, agent=row.agent, child_uid=row.child_uid, **row.request)


def _is_started(row: Any) -> bool:
    return row.child_uid is not None or row.replied_at is None


def _kept_of(row: Any) -> Amounts:
    used = Amounts(
        max_steps=row.steps or 0,
        max_tokens=(row.input_tokens or 0) + (row.output_tokens or 0),
        max_tool_calls=row.tool_calls or 0,
        max_cost_micro_usd=row.cost_micro_usd or 0,
    )
    return kept_for(Limits.model_validate(row.request["limits"]), used, is_over=row.replied_at is not None)


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    return reduce(Amounts.__add__, amounts, Amounts())
