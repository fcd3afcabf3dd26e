"""How the agents of sessions stand: the newest epoch of each, and of several what each has to do. Queries."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from agentsessions.api.levels import AgentLevel, Closing
from agentsessions.api.reasons import ErrorCode
from agentsessions.api.wire import Outcome
from agentsessions.journal.tables import epochs, parts, sessions


@cache
def _newest_epochs(condition: ColumnElement[bool]) -> Select[Any]:
    newest = epochs.alias("newest")
    epoch = select(func.max(newest.c.epoch)).where(
        newest.c.session_uid == epochs.c.session_uid, newest.c.agent == epochs.c.agent
    )
    return (
        select(epochs)
        .join(sessions, sessions.c.uid == epochs.c.session_uid)
        .where(condition, epochs.c.epoch == epoch.scalar_subquery())
    )


@cache
def _parts(condition: ColumnElement[bool]) -> Select[Any]:
    several = select(parts).join(sessions, sessions.c.uid == parts.c.session_uid).where(condition)
    return several.order_by(parts.c.session_uid, parts.c.position)


def read(conn: Connection, condition: ColumnElement[bool], given: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the agents of each session with the newest epoch of each.

    Of sessions with several agents all of them, in order; of others the one, once it has a pod. Queries are kept for
    each condition, of which there must be few; `given` are its parameters.
    """
    found: dict[str, list[Any]] = {}
    newest_of: dict[tuple[str, str], Any] = {}
    for row in conn.execute(_newest_epochs(condition), given).mappings():
        newest_of[row["session_uid"], row["agent"]] = row
        found.setdefault(row["session_uid"], []).append(row)
    together: dict[str, list[Any]] = {}
    for part in conn.execute(_parts(condition), given).mappings():
        row = newest_of.get((part["session_uid"], part["agent"]), {})
        together.setdefault(part["session_uid"], []).append({**row, **part})
    return {**found, **together}


def to_level(row: Any) -> AgentLevel:
    """Return how an agent of several stands."""
    return AgentLevel(
        name=row["agent"],
        is_due=row["is_due"],
        epoch_turns=row.get("turns", 0),
        closing=to_closing(row),
        steps=row["steps"],
        tokens=row["tokens"],
    )


def to_closing(row: Any) -> Closing | None:
    """Return the closing record of an agent's newest epoch; None while it is open, or there is none."""
    if row.get("outcome") is None:
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
