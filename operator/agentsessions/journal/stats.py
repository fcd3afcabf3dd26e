"""Figures over many sessions, and over one session's calls. Queries."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, Connection, and_, case, extract, func, literal, select

from agentsessions.api.reasons import Phase
from agentsessions.journal.charges import CallState, is_in
from agentsessions.journal.columns import UtcDateTime
from agentsessions.journal.inbox import QUEUED, TEXT_OUTCOMES
from agentsessions.journal.rows import TurnKind
from agentsessions.journal.session_query import SessionQuery, conditions
from agentsessions.journal.tables import inbox, model_calls, sessions, tool_calls, turns, usage
from agentsessions.lifecycle.phases import TERMINAL

_FINAL: Final = tuple(sorted(phase.value for phase in TERMINAL))
_ANSWERED: Final = (turns.c.outcome.in_(TEXT_OUTCOMES), turns.c.kind != TurnKind.COPIED.value)
"""Turns that ended with a text, in the session that played them."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sessions that are there."""

    by_type: dict[str, int]
    by_role: dict[str, int]
    by_phase: dict[str, int]
    average_uptime_seconds: float | None
    processed_tasks: int
    """Turns that ended with a text."""

    @property
    def total(self) -> int:
        """How many sessions there are."""
        return sum(self.by_phase.values())


@dataclass(frozen=True, slots=True)
class Aggregates:
    """Sessions that were created in a period."""

    sessions: int
    finished: int
    completed: int
    average_duration_seconds: float | None
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int


@dataclass(frozen=True, slots=True)
class Performance:
    """What one session's calls came to."""

    queued: int
    """Messages that no turn has taken."""
    processed: int
    """Turns that ended with a text."""
    calls: int
    """Purchases of answers that ended, and tool results."""
    errors: int
    """Those of them that failed."""
    average_response_milliseconds: float | None
    """Of model answers."""


def read_totals(conn: Connection, query: SessionQuery, now: datetime) -> Totals:
    """Return totals over the sessions that match."""
    matching = conditions(query)
    counts = select(sessions.c.type, sessions.c.role, sessions.c.phase, func.count().label("number"))
    found = conn.execute(counts.where(*matching).group_by(sessions.c.type, sessions.c.role, sessions.c.phase)).all()
    ended = func.coalesce(sessions.c.finished_at, sessions.c.deleted_at, literal(now, UtcDateTime()))
    uptime = select(func.avg(_seconds(ended) - _seconds(sessions.c.started_at)))
    average = conn.scalar(uptime.where(*matching, sessions.c.started_at.is_not(None)))
    is_text = and_(turns.c.session_uid == sessions.c.uid, *_ANSWERED)
    tasks = conn.scalar(select(func.count()).select_from(sessions.join(turns, is_text)).where(*matching))
    return Totals(
        by_type=_sum_by(found, "type"),
        by_role=_sum_by(found, "role"),
        by_phase=_sum_by(found, "phase"),
        average_uptime_seconds=None if average is None else float(average),
        processed_tasks=tasks or 0,
    )


def _sum_by(found: Any, name: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in found:
        key = getattr(row, name) or Phase.PENDING.value
        sums[key] = sums.get(key, 0) + row.number
    return dict(sorted(sums.items()))


def read_aggregates(conn: Connection, query: SessionQuery, since: datetime) -> Aggregates:
    """Return figures over the sessions that match and were created since then, deleted ones too."""
    asked = replace(query, created_after=since, include_deleted=True)
    is_final = sessions.c.phase.in_(_FINAL)
    seconds = _seconds(sessions.c.finished_at) - _seconds(sessions.c.started_at)
    columns = (
        func.count().label("number"),
        _count_if(is_final).label("finished"),
        _count_if(sessions.c.phase == Phase.COMPLETED.value).label("completed"),
        func.avg(case((is_final, seconds))).label("seconds"),
        func.coalesce(func.sum(usage.c.input_tokens), 0).label("input_tokens"),
        func.coalesce(func.sum(usage.c.output_tokens), 0).label("output_tokens"),
        func.coalesce(func.sum(usage.c.cost_micro_usd), 0).label("cost"),
    )
    joined = sessions.join(usage, usage.c.session_uid == sessions.c.uid)
    row = conn.execute(select(*columns).select_from(joined).where(*conditions(asked))).one()
    return Aggregates(
        sessions=row.number,
        finished=row.finished or 0,
        completed=row.completed or 0,
        average_duration_seconds=None if row.seconds is None else float(row.seconds),
        input_tokens=int(row.input_tokens),
        output_tokens=int(row.output_tokens),
        cost_micro_usd=int(row.cost),
    )


def read_performance(conn: Connection, uid: str) -> Performance:
    """Return what a session's calls came to."""
    is_failed = model_calls.c.state.in_((CallState.FAILED.value, CallState.LOST.value))
    duration = case((is_in(CallState.SETTLED), model_calls.c.duration_milliseconds))
    columns = (func.count().label("number"), _count_if(is_failed).label("failed"), func.avg(duration).label("average"))
    ended = (model_calls.c.session_uid == uid, model_calls.c.state != CallState.OPEN.value)
    bought = conn.execute(select(*columns).where(*ended)).one()
    reported = (tool_calls.c.session_uid == uid, tool_calls.c.output.is_not(None))
    failed = _count_if(func.coalesce(tool_calls.c.is_error, False, type_=Boolean).is_(True)).label("failed")
    used = conn.execute(select(func.count().label("number"), failed).where(*reported)).one()
    waiting = (inbox.c.session_uid == uid, *QUEUED)
    answered = (turns.c.session_uid == uid, *_ANSWERED)
    return Performance(
        queued=conn.scalar(select(func.count()).select_from(inbox).where(*waiting)) or 0,
        processed=conn.scalar(select(func.count()).select_from(turns).where(*answered)) or 0,
        calls=bought.number + used.number,
        errors=(bought.failed or 0) + (used.failed or 0),
        average_response_milliseconds=None if bought.average is None else float(bought.average),
    )


def _seconds(instant: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an instant as seconds, of which both databases can take averages."""
    return extract("epoch", instant)


def _count_if(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((condition, 1), else_=0))
