"""Which sessions a list or a figure is about, and the order of a list."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, false, func, or_, select

from agentsessions.api.reasons import Phase
from agentsessions.journal.tables import session_labels, sessions

MAX_PAGE: Final = 1000
MAX_OFFSET: Final = 10_000


class SessionSort(StrEnum):
    """What lists of sessions can be ordered by."""

    CREATED_AT = "createdAt"
    UPDATED_AT = "updatedAt"
    LAST_ACTIVITY = "lastActivity"
    STARTED_AT = "startedAt"
    FINISHED_AT = "finishedAt"
    NAME = "name"
    NAMESPACE = "namespace"
    PHASE = "phase"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: sort value and uid of its last session, and the total when the first page was read."""

    value: datetime | str | None
    uid: str
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery:
    """Which sessions to list. None and empty mean: no condition."""

    namespace: str | None = None
    namespace_uid: str | None = None
    """Only those of this incarnation of the namespace."""
    type: str | None = None
    role: str | None = None
    mode: str | None = None
    phases: tuple[str, ...] = ()
    """Any of these."""
    owner: str | None = None
    session_id: str | None = None
    template: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """All of these."""
    text: str | None = None
    """Part of name, own id, title, description or goal, whatever the case, as far as `search` has them."""
    created_after: datetime | None = None
    created_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None
    include_deleted: bool = False
    """Whether sessions whose resource is gone are listed too."""
    sort: SessionSort = SessionSort.CREATED_AT
    descending: bool = True
    limit: int = 100
    """1 to 1,000."""
    offset: int = 0
    """Up to 10,000."""
    after: Position | None = None
    """The page begins behind this."""


def conditions(query: SessionQuery, *, walks: bool = False) -> list[ColumnElement[bool]]:
    """Return what a session must meet.

    Args:
        query: Which sessions.
        walks: Keep a planner without statistics from finding by these what the index of an order is walked for.
    """
    of = _hide if walks else _show
    asked = (
        (sessions.c.namespace, query.namespace),
        (sessions.c.namespace_uid, query.namespace_uid),
        (sessions.c.type, query.type),
        (sessions.c.role, query.role),
        (sessions.c.mode, query.mode),
        (sessions.c.owner, query.owner),
        (sessions.c.session_id, query.session_id),
        (sessions.c.template, query.template),
    )
    found: list[ColumnElement[bool]] = [of(column) == value for column, value in asked if value is not None]
    if not query.include_deleted:
        found.append(sessions.c.deleted_at.is_(None))
    if query.phases:
        phase = of(sessions.c.phase)
        found.append(or_(phase.in_(query.phases), phase.is_(None) if Phase.PENDING in query.phases else false()))
    if query.text:
        found.append(sessions.c.search.contains(query.text.lower(), autoescape=True))
    return [*found, *_times(query, of), *(_is_labelled(key, value, of) for key, value in query.labels)]


def _show(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return column


def _hide(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column's value in words that no index has."""
    return func.coalesce(column, column)


def _times(query: SessionQuery, of: Callable[[ColumnElement[Any]], ColumnElement[Any]]) -> list[ColumnElement[bool]]:
    asked = (
        (of(sessions.c.created_at), query.created_after, query.created_before),
        (of(sessions.c.finished_at), query.finished_after, query.finished_before),
    )
    found: list[ColumnElement[bool]] = []
    for column, after, before in asked:
        if after is not None:
            found.append(column >= after)
        if before is not None:
            found.append(column < before)
    return found


def _is_labelled(key: str, value: str, of: Callable[[ColumnElement[Any]], ColumnElement[Any]]) -> ColumnElement[bool]:
    labelled = select(session_labels.c.session_uid).where(session_labels.c.key == key, session_labels.c.value == value)
    return of(sessions.c.uid).in_(labelled)
