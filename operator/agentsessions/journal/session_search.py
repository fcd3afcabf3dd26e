"""Which sessions a page of a list has, and how many the list has in all. Queries.

Two ways lead to a page. The index of its order is walked from where the page begins, a few thousand sessions at most:
what many sessions meet fills a page soon. What few meet is gathered: all of them are found, counted and ordered in one
go, in `ix_sessions_list`, which has all that can be asked for; rows of the table are as long as manifests are.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    TextClause,
    UnaryExpression,
    and_,
    asc,
    desc,
    func,
    or_,
    select,
    tuple_,
)

from agentsessions.journal.session_query import Position, SessionQuery, SessionSort, conditions
from agentsessions.journal.tables import sessions, usage
from agentsessions.journal.trigrams import find_rare

MOST_WALKED: Final = 4000
"""Sessions that are looked at before all are, and two for each that an offset skips."""

_VALUES: Final[dict[SessionSort, ColumnElement[Any]]] = {
    SessionSort.CREATED_AT: sessions.c.created_at,
    SessionSort.UPDATED_AT: sessions.c.updated_at,
    SessionSort.LAST_ACTIVITY: usage.c.last_at,
    SessionSort.STARTED_AT: sessions.c.started_at,
    SessionSort.FINISHED_AT: sessions.c.finished_at,
    SessionSort.NAME: sessions.c.name,
    SessionSort.NAMESPACE: sessions.c.namespace,
    SessionSort.PHASE: sessions.c.phase,
}
"""Each is the beginning of an index that goes on with the uid."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The sessions of a list that have a value to sort by, or behind them those that have none, in order."""

    query: SessionQuery
    has_value: bool

    @property
    def uid(self) -> ColumnElement[str]:
        """Return the uid as the index of the order has it."""
        return usage.c.session_uid if self.query.sort is SessionSort.LAST_ACTIVITY else sessions.c.uid

    def select(self) -> Select[Any]:
        """Return uids and values from where the page begins, its offset aside."""
        value, after = _VALUES[self.query.sort], self.query.after
        found = select(self.uid.label("uid"), value.label("value"))
        found = found.where(value.is_not(None) if self.has_value else value.is_(None))
        if after is not None and (after.value is not None) == self.has_value:
            found = found.where(_follows(value, self.uid, after, descending=self.query.descending))
        turn = _turn(self.query)
        return found.order_by(turn(value), turn(self.uid))

    def is_until(self, last: Row[Any]) -> ColumnElement[bool]:
        """Return whether a session comes before another, or is it."""
        return ~_follows(_VALUES[self.query.sort], self.uid, last, descending=self.query.descending)


def find(conn: Connection, query: SessionQuery) -> tuple[list[Row[Any]], int]:
    """Return `uid` and `value`, that sorts, of the page's sessions and of one more, and how many there are in all.

    A list that goes on behind a position keeps the total of its first page.
    """
    if query.text and conn.dialect.name == "sqlite":
        rare = find_rare(conn, query.text.lower())
        if rare is not None:
            return _gather(conn, query, rare, *conditions(query, walks=True))
    found, is_last = _walk(conn, query)
    is_full = len(found) > query.limit
    if not is_full and not is_last:
        return _gather(conn, query, *conditions(query))
    if query.after is not None:
        return found, query.after.total
    return found, _count(conn, conditions(query)) if is_full else query.offset + len(found)


def _walk(conn: Connection, query: SessionQuery) -> tuple[list[Row[Any]], bool]:
    """Return what is found by walking, and whether it is known to be the last page, as far as it is not full."""
    found: list[Row[Any]] = []
    offset = query.offset
    goes_on_without = query.after is not None and query.after.value is None
    for has_value in (False,) if goes_on_without else (True, False):
        stretch = _Stretch(query, has_value)
        walked = stretch.select()
        last = conn.execute(walked.offset(MOST_WALKED + 2 * offset - 1).limit(1)).one_or_none()
        page = walked.where(*conditions(query, walks=conn.dialect.name == "sqlite"))
        if query.sort is SessionSort.LAST_ACTIVITY:
            page = page.join(sessions, sessions.c.uid == usage.c.session_uid)
        if last is not None:
            page = page.where(stretch.is_until(last))
        found += conn.execute(page.limit(query.limit + 1 - len(found)).offset(offset))
        if last is not None or len(found) > query.limit or (offset and not found):
            return found, False
        offset = 0
    return found, True


def _gather(
    conn: Connection, query: SessionQuery, *asked: ColumnElement[bool] | TextClause
) -> tuple[list[Row[Any]], int]:
    """Find the same where what matches is rare."""
    value = _VALUES[query.sort]
    matching = select(sessions.c.uid, value.label("value")).where(*asked)
    if query.sort is SessionSort.LAST_ACTIVITY:
        matching = matching.join(usage, usage.c.session_uid == sessions.c.uid)
    rows = matching.cte("matching")
    count = select(func.count()).select_from(rows)
    turn = _turn(query)
    page = select(rows, count.scalar_subquery().label("total"))
    page = page.order_by(turn(rows.c.value).nulls_last(), turn(rows.c.uid))
    if query.after is not None:
        behind = _follows(rows.c.value, rows.c.uid, query.after, descending=query.descending)
        is_without = rows.c.value.is_(None)
        page = page.where(and_(is_without, behind) if query.after.value is None else or_(behind, is_without))
    found = list(conn.execute(page.limit(query.limit + 1).offset(query.offset)))
    if query.after is not None:
        return found, query.after.total
    if found or not query.offset:
        return found, found[0].total if found else 0
    return [], _count(conn, asked)


def _turn(query: SessionQuery) -> Callable[[ColumnElement[Any]], UnaryExpression[Any]]:
    return desc if query.descending else asc


def _follows(
    value: ColumnElement[Any], uid: ColumnElement[str], row: Position | Row[Any], *, descending: bool
) -> ColumnElement[bool]:
    """Return whether a session comes behind another; both have a value, or neither has."""
    compare: Callable[[Any, Any], ColumnElement[bool]] = operator.lt if descending else operator.gt
    if row.value is None:
        return compare(uid, row.uid)
    return compare(tuple_(value, uid), (row.value, row.uid))


def _count(conn: Connection, asked: Sequence[ColumnElement[bool] | TextClause]) -> int:
    return conn.scalar(select(func.count()).select_from(sessions).where(*asked)) or 0
