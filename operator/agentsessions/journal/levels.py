"""Levels of sessions, read from the store: usage, inbox, rounds, the limit reached, how the newest epoch ended."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from agentsessions.api.levels import Closing, Level, Seal
from agentsessions.api.names import MAX_RESULT_BYTES
from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.status import RoundStatus
from agentsessions.api.wire import Outcome
from agentsessions.journal.charges import CallState
from agentsessions.journal.inbox import WAKING
from agentsessions.journal.open_commands import open_commands
from agentsessions.journal.tables import entries, epochs, inbox, model_calls, rounds, seals, sessions, usage
from agentsessions.lifecycle.phases import TERMINAL

_INBOX_PENDING: Final = (
    select(func.count()).where(inbox.c.session_uid == sessions.c.uid, *WAKING).correlate(sessions).scalar_subquery()
)
_OPEN_COMMANDS: Final = open_commands(inbox.c.sender_uid == sessions.c.uid).correlate(sessions).scalar_subquery()
_ROUND: Final = tuple(rounds.c[name].label(f"round_{name}") for name in ("number", "completed", "missed", "next_at"))
_SEAL: Final = tuple(seals.c[name].label(f"seal_{name}") for name in ("head", "digest", "sealed_at", "problem"))


def read_level(conn: Connection, uid: str) -> Level | None:
    """Return the level of one session."""
    levels = _read(conn, sessions.c.uid == uid)
    return levels[0] if levels else None


def read_level_if_there(conn: Connection, uid: str) -> Level | None:
    """Return the level of one session, unless its resource is gone."""
    levels = _read(conn, and_(sessions.c.uid == uid, sessions.c.deleted_at.is_(None)))
    return levels[0] if levels else None


def read_open_levels(conn: Connection) -> list[Level]:
    """Return the levels of all sessions that still exist and are in no final phase."""
    final = [phase.value for phase in TERMINAL]
    return _read(
        conn,
        and_(sessions.c.deleted_at.is_(None), or_(sessions.c.phase.is_(None), sessions.c.phase.not_in(final))),
    )


def _read(conn: Connection, condition: ColumnElement[bool]) -> list[Level]:
    newest = (
        select(epochs.c.session_uid, func.max(epochs.c.epoch).label("epoch")).group_by(epochs.c.session_uid).subquery()
    )
    open_calls = (
        select(func.count())
        .where(model_calls.c.session_uid == sessions.c.uid, model_calls.c.state == CallState.OPEN.value)
        .scalar_subquery()
    )
    query = (
        select(
            sessions.c.namespace,
            sessions.c.name,
            usage,
            open_calls.label("open_calls"),
            epochs.c.agent,
            epochs.c.epoch,
            epochs.c.pod_uid,
            epochs.c.turns.label("epoch_turns"),
            epochs.c.outcome,
            epochs.c.code,
            epochs.c.message,
            epochs.c.retry_at,
            entries.c.body.label("result"),
            _INBOX_PENDING.label("inbox_pending"),
            _OPEN_COMMANDS.label("open_commands"),
            *_ROUND,
            *_SEAL,
        )
        .join(usage, usage.c.session_uid == sessions.c.uid)
        .outerjoin(newest, newest.c.session_uid == sessions.c.uid)
        .outerjoin(epochs, and_(epochs.c.session_uid == sessions.c.uid, epochs.c.epoch == newest.c.epoch))
        .outerjoin(entries, and_(entries.c.session_uid == sessions.c.uid, entries.c.seq == usage.c.result_seq))
        .outerjoin(rounds, rounds.c.session_uid == sessions.c.uid)
        .outerjoin(seals, seals.c.session_uid == sessions.c.uid)
        .where(condition)
        .order_by(sessions.c.uid)
    )
    return [_to_level(row) for row in conn.execute(query).mappings()]


def _to_level(row: Any) -> Level:
    result, is_truncated = _shorten(row["result"]["text"]) if row["result"] else (None, False)
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
        epoch_turns=row["epoch_turns"] or 0,
        inbox_pending=row["inbox_pending"],
        open_commands=row["open_commands"],
        idle_seconds=row["idle_milliseconds"] // 1000,
        idle_since=row["idle_since"],
        round=_round(row),
        seal=_seal(row),
        limit_reached=row["limit_reached"],
        limit_message=row["limit_message"],
        closing=_closing(row),
        result=result,
        result_truncated=is_truncated,
    )


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


def _closing(row: Any) -> Closing | None:
    if row["outcome"] is None:
        return None
    return Closing(
        agent=row["agent"],
        epoch=row["epoch"],
        pod_uid=row["pod_uid"],
        outcome=Outcome(row["outcome"]),
        code=ErrorCode(row["code"]) if row["code"] else None,
        message=row["message"],
        retry_at=row["retry_at"],
    )


def _shorten(text: str) -> tuple[str, bool]:
    encoded = text.encode()
    if len(encoded) <= MAX_RESULT_BYTES:
        return text, False
    return encoded[:MAX_RESULT_BYTES].decode(errors="ignore"), True
