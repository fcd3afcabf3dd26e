"""Lists of sessions: which, in which order, from where. Queries.

Any page of 100,000 sessions takes some ten milliseconds because only the index `ix_sessions_list`, which has all that
is filtered and sorted by, is gone through; rows are read for one page. Offsets are for people who leaf a little;
whoever reads on takes the position of the last row, which stands still while sessions come and go.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, false, func, literal, or_, select

from agentsessions.api.reasons import LimitName, Phase
from agentsessions.journal.tables import session_labels, sessions, usage

MAX_PAGE: Final = 1000
MAX_OFFSET: Final = 10_000
MOST_GATHERED: Final = 20_000
"""Sessions whose last activity is looked up one by one; of more the index by activity is walked instead."""
MOST_WALKED: Final = 4000
"""Sessions at the beginning of a list that are looked at for a page with a text, before all are. A text that fills no
page with them is rare, and then all that have it are soon kept and ordered."""
GOAL_CHARS: Final = 80


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


_SORT_COLUMNS: Final[dict[SessionSort, ColumnElement[Any]]] = {
    SessionSort.CREATED_AT: sessions.c.created_at,
    SessionSort.UPDATED_AT: sessions.c.updated_at,
    SessionSort.LAST_ACTIVITY: usage.c.last_at,
    SessionSort.STARTED_AT: sessions.c.started_at,
    SessionSort.FINISHED_AT: sessions.c.finished_at,
    SessionSort.NAME: sessions.c.name,
    SessionSort.NAMESPACE: sessions.c.namespace,
    SessionSort.PHASE: sessions.c.phase,
}
_WALKED: Final = frozenset({SessionSort.CREATED_AT, SessionSort.LAST_ACTIVITY})
"""What has an index of its own."""
_SHOWN: Final = (
    *(
        "uid",
        "namespace",
        "name",
        "session_id",
        "owner",
        "template",
        "type",
        "role",
        "mode",
        "title",
        "phase",
        "reason",
    ),
    *("stop_reason", "created_at", "updated_at", "started_at", "finished_at", "deleted_at"),
)
_SPENT: Final = ("last_at", "steps", "input_tokens", "output_tokens", "cost_micro_usd", "limit_reached")


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
    found, total = _find(conn, query)
    page = found[: query.limit]
    shown = _read_rows(conn, [row.uid for row in page])
    behind = Position(page[-1].value, page[-1].uid, total) if len(found) > query.limit else None
    # What went between the two reads is left out; on PostgreSQL they may see different states.
    return SessionPage([shown[row.uid] for row in page if row.uid in shown], total, behind)


def read_present_uids(conn: Connection) -> set[str]:
    """Return the uids of all sessions whose resource is there, as far as the journal knows."""
    return set(conn.scalars(select(sessions.c.uid).where(sessions.c.deleted_at.is_(None))))


def _find(conn: Connection, query: SessionQuery) -> tuple[list[Row[Any]], int]:
    """Return uids and sort values of the page and one more, and the total."""
    if query.after is None and query.text and query.sort in _WALKED:
        found = _find_soon(conn, query)
        if len(found) > query.limit:
            return found, _count(conn, query)
    if query.after is None and (query.text or query.labels):
        return _find_in_one_pass(conn, query)
    total = _count(conn, query) if query.after is None else query.after.total
    if query.offset >= total:
        return [], total
    return list(conn.execute(_paged(_matching(query, total), query))), total


def _count(conn: Connection, query: SessionQuery) -> int:
    return conn.scalar(select(func.count()).select_from(sessions).where(*conditions(query))) or 0


def _find_soon(conn: Connection, query: SessionQuery) -> list[Row[Any]]:
    """Return the page and one more as far as the first sessions by creation, or by activity, have them."""
    column = _SORT_COLUMNS[query.sort]
    order = column.desc() if query.descending else column.asc()
    walked = select(column).where(column.is_not(None)).order_by(order).offset(query.offset + MOST_WALKED).limit(1)
    last = conn.scalar(walked)
    if last is None:
        return []
    among = column > last if query.descending else column < last
    return list(conn.execute(_paged(_select(query).where(among, *conditions(query, walks=True)), query)))


def _find_in_one_pass(conn: Connection, query: SessionQuery) -> tuple[list[Row[Any]], int]:
    """Do the same where looking is dearer than keeping what was found."""
    matching = _matching(query, 0).cte("matching")
    total = select(func.count()).select_from(matching).scalar_subquery()
    order = _order(matching.c.value, matching.c.uid, descending=query.descending)
    page = select(matching, total.label("total")).order_by(*order).limit(query.limit + 1).offset(query.offset)
    found = list(conn.execute(page))
    if found or not query.offset:
        return found, found[0].total if found else 0
    return [], conn.scalar(select(func.count()).select_from(matching)) or 0


def _matching(query: SessionQuery, total: int) -> Select[Any]:
    walks = query.sort is SessionSort.LAST_ACTIVITY and total > MOST_GATHERED
    return _select(query).where(*conditions(query, walks=walks))


def _select(query: SessionQuery) -> Select[Any]:
    found = select(sessions.c.uid, _SORT_COLUMNS[query.sort].label("value"))
    if query.sort is not SessionSort.LAST_ACTIVITY:
        return found
    return found.select_from(sessions.join(usage, usage.c.session_uid == sessions.c.uid))


def _paged(matching: Select[Any], query: SessionQuery) -> Select[Any]:
    column = _SORT_COLUMNS[query.sort]
    if query.after is not None:
        matching = matching.where(_behind(column, query.after, descending=query.descending))
    order = _order(column, sessions.c.uid, descending=query.descending)
    return matching.order_by(*order).limit(query.limit + 1).offset(query.offset)


def _order(value: ColumnElement[Any], uid: ColumnElement[str], *, descending: bool) -> tuple[ColumnElement[Any], ...]:
    return (value.desc() if descending else value.asc()).nulls_last(), uid


def _behind(column: ColumnElement[Any], last: Position, *, descending: bool) -> ColumnElement[bool]:
    if last.value is None:
        return and_(column.is_(None), sessions.c.uid > last.uid)
    further = column < last.value if descending else column > last.value
    return or_(further, and_(column == last.value, sessions.c.uid > last.uid), column.is_(None))


def conditions(query: SessionQuery, *, walks: bool = False) -> list[ColumnElement[bool]]:
    """Return what a session must meet.

    Args:
        query: Which sessions.
        walks: Keep the planner from finding by namespace what another index is to be walked for.
    """
    namespace = sessions.c.namespace + literal("") if walks else sessions.c.namespace
    asked = (
        (namespace, query.namespace),
        (sessions.c.namespace_uid, query.namespace_uid),
        (sessions.c.type, query.type),
        (sessions.c.role, query.role),
        (sessions.c.mode, query.mode),
        (sessions.c.owner, query.owner),
        (sessions.c.session_id, query.session_id),
        (sessions.c.template, query.template),
    )
    found: list[ColumnElement[bool]] = [column == value for column, value in asked if value is not None]
    if not query.include_deleted:
        found.append(sessions.c.deleted_at.is_(None))
    if query.phases:
        is_new = sessions.c.phase.is_(None) if Phase.PENDING in query.phases else false()
        found.append(or_(sessions.c.phase.in_(query.phases), is_new))
    if query.text:
        found.append(sessions.c.search.contains(query.text.lower(), autoescape=True))
    return [*found, *_times(query), *(_is_labelled(key, value) for key, value in query.labels)]


def _times(query: SessionQuery) -> list[ColumnElement[bool]]:
    asked = (
        (sessions.c.created_at, query.created_after, query.created_before),
        (sessions.c.finished_at, query.finished_after, query.finished_before),
    )
    found: list[ColumnElement[bool]] = []
    for column, after, before in asked:
        if after is not None:
            found.append(column >= after)
        if before is not None:
            found.append(column < before)
    return found


def _is_labelled(key: str, value: str) -> ColumnElement[bool]:
    labelled = select(session_labels.c.session_uid).where(session_labels.c.key == key, session_labels.c.value == value)
    return sessions.c.uid.in_(labelled)


def _read_rows(conn: Connection, uids: list[str]) -> dict[str, ListedSession]:
    goal = func.substr(sessions.c.goal, 1, GOAL_CHARS + 1).label("goal")
    columns = [*(sessions.c[name] for name in _SHOWN), goal, *(usage.c[name] for name in _SPENT)]
    query = select(*columns).join(usage, usage.c.session_uid == sessions.c.uid).where(sessions.c.uid.in_(uids))
    return {row["uid"]: _to_listed(row) for row in conn.execute(query).mappings()}


def _to_listed(row: Any) -> ListedSession:
    phase, limit = row["phase"], row["limit_reached"]
    return ListedSession(
        **{**row, "phase": Phase(phase) if phase else None, "limit_reached": LimitName(limit) if limit else None}
    )
