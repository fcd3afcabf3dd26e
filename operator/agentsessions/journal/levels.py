"""Levels of sessions, read from the store: usage, inbox, rounds, the limit reached, how the newest epoch ended."""

from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, or_, select

from agentsessions.api.child_sessions import ChildSessionsLevel
from agentsessions.api.levels import Level, Seal
from agentsessions.api.names import MAX_RESULT_BYTES
from agentsessions.api.v1alpha1.approval import ApprovalRequest
from agentsessions.api.v1alpha1.status import RoundStatus
from agentsessions.journal import agent_levels, approvals
from agentsessions.journal.charges import CallState, is_in
from agentsessions.journal.child_levels import open_children, read_children
from agentsessions.journal.inbox import WAKING
from agentsessions.journal.open_commands import open_commands
from agentsessions.journal.tables import child_sessions, entries, inbox, model_calls, rounds, seals, sessions, usage
from agentsessions.journal.violations import read_violations
from agentsessions.lifecycle.phases import TERMINAL

_INBOX_PENDING: Final = (
    select(func.count()).where(inbox.c.session_uid == sessions.c.uid, *WAKING).correlate(sessions).scalar_subquery()
)
_OPEN_CALLS: Final = (
    select(func.count())
    .where(model_calls.c.session_uid == sessions.c.uid, is_in(CallState.OPEN))
    .correlate(sessions)
    .scalar_subquery()
)
_OPEN_COMMANDS: Final = (
    open_commands(inbox.c.sender_uid == sessions.c.uid).correlate(sessions).scalar_subquery()
    + open_children(child_sessions.c.session_uid == sessions.c.uid).correlate(sessions).scalar_subquery()
)
_ROUND: Final = tuple(rounds.c[name].label(f"round_{name}") for name in ("number", "completed", "missed", "next_at"))
_SEAL: Final = tuple(seals.c[name].label(f"seal_{name}") for name in ("head", "digest", "sealed_at", "problem"))

_ONE: Final = sessions.c.uid == bindparam("uid")
_ONE_THERE: Final = and_(_ONE, sessions.c.deleted_at.is_(None))
_OPEN: Final = and_(
    sessions.c.deleted_at.is_(None),
    or_(sessions.c.phase.is_(None), sessions.c.phase.not_in([phase.value for phase in TERMINAL])),
)


def read_level(conn: Connection, uid: str) -> Level | None:
    """Return the level of one session."""
    levels = _read(conn, _ONE, {"uid": uid})
    return levels[0] if levels else None


def read_level_if_there(conn: Connection, uid: str) -> Level | None:
    """Return the level of one session, unless its resource is gone."""
    levels = _read(conn, _ONE_THERE, {"uid": uid})
    return levels[0] if levels else None


def read_open_levels(conn: Connection) -> list[Level]:
    """Return the levels of all sessions that still exist and are in no final phase."""
    return _read(conn, _OPEN, {})


@cache
def _uids(condition: ColumnElement[bool]) -> Select[str]:
    return select(sessions.c.uid).where(condition)


@cache
def _standing(condition: ColumnElement[bool]) -> Select[Any]:
    return (
        select(
            sessions.c.namespace,
            sessions.c.name,
            usage,
            _OPEN_CALLS.label("open_calls"),
            entries.c.body.label("result"),
            _INBOX_PENDING.label("inbox_pending"),
            _OPEN_COMMANDS.label("open_commands"),
            *_ROUND,
            *_SEAL,
        )
        .join(usage, usage.c.session_uid == sessions.c.uid)
        .outerjoin(entries, and_(entries.c.session_uid == sessions.c.uid, entries.c.seq == usage.c.result_seq))
        .outerjoin(rounds, rounds.c.session_uid == sessions.c.uid)
        .outerjoin(seals, seals.c.session_uid == sessions.c.uid)
        .where(condition)
        .order_by(sessions.c.uid)
    )


def _read(conn: Connection, condition: ColumnElement[bool], given: dict[str, Any]) -> list[Level]:
    """Return the levels of the sessions of a condition, one of those above: queries are kept for each."""
    asked = _uids(condition)
    pending, violations = approvals.read_pending(conn, asked, given), read_violations(conn, asked, given)
    agents, children = agent_levels.read(conn, condition, given), read_children(conn, asked, given)
    found = []
    for row in conn.execute(_standing(condition), given).mappings():
        uid = row["session_uid"]
        asked_about = pending.get(uid, [])
        found.append(_to_level(row, agents.get(uid, []), asked_about, violations.get(uid), children.get(uid)))
    return found


def _to_level(
    row: Any,
    agents: list[Any],
    pending: list[ApprovalRequest],
    violations: str | None,
    children: ChildSessionsLevel | None,
) -> Level:
    only = agents[0] if len(agents) == 1 else {}
    result, is_truncated = _result(row, violations)
    return Level(
        session_uid=row["session_uid"],
        namespace=row["namespace"],
        name=row["name"],
        head=row["head"],
        digest=row["digest"],
        steps=row["steps"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        tool_calls=row["tool_calls"],
        cost_micro_usd=row["cost_micro_usd"],
        open_calls=row["open_calls"],
        turns=row["turns"],
        epoch_turns=only.get("turns", 0),
        inbox_pending=row["inbox_pending"],
        open_commands=row["open_commands"],
        child_sessions=children,
        idle_seconds=row["idle_milliseconds"] // 1000,
        idle_since=row["idle_since"],
        round=_round(row),
        seal=_seal(row),
        limit_reached=row["limit_reached"],
        limit_message=row["limit_message"],
        closing=agent_levels.to_closing(only),
        is_egress_open=any(agent.get("is_egress_open") for agent in agents),
        agents=tuple(map(agent_levels.to_level, agents)) if len(agents) > 1 else (),
        approval_pending=pending,
        result=result,
        result_truncated=is_truncated,
    )


def _result(row: Any, violations: str | None) -> tuple[str | None, bool]:
    """Return the text of a session's result and whether it was cut."""
    if not row["result"]:
        return None, False
    text = row["result"]["text"]
    return _shorten(text if violations is None else f"{violations}\n\n{text}")  # what is cut off is the end


def _round(row: Any) -> RoundStatus | None:
    if row["round_number"] is None:
        return None
    return RoundStatus(
        number=row["round_number"],
        completed=row["round_completed"],
        missed=row["round_missed"],
        next_at=row["round_next_at"],
    )


def _seal(row: Any) -> Seal | None:
    if row["seal_head"] is None:
        return None
    return Seal(
        head=row["seal_head"], digest=row["seal_digest"], sealed_at=row["seal_sealed_at"], problem=row["seal_problem"]
    )


def _shorten(text: str) -> tuple[str, bool]:
    encoded = text.encode()
    if len(encoded) <= MAX_RESULT_BYTES:
        return text, False
    return encoded[:MAX_RESULT_BYTES].decode(errors="ignore"), True
