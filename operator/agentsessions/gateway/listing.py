"""Lists of sessions as routes answer them: lean items, and cursors."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.api.reasons import LimitName, Phase
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.journal.lists import GOAL_CHARS, ListedSession, SessionPage
from agentsessions.journal.session_query import Position, SessionQuery, SessionSort

CUT: Final = "…"
_TEXTS: Final = frozenset({SessionSort.NAME, SessionSort.NAMESPACE, SessionSort.PHASE})
_CURSOR_FIELDS: Final = 5
MOST_TOTAL: Final = 2**53


class SessionItem(ApiModel):
    """A session in a list; the session itself has the rest."""

    uid: str
    """UID of the resource: good as an id in every route."""
    namespace: str
    """Its namespace."""
    name: str
    """Its name: good as an id for the newest session of that name."""
    session_id: str | None = None
    """An id of its owner's own."""
    owner: str | None = None
    """User name of the owner."""
    template: str | None = None
    """Template that it starts from."""
    type: str
    """Kind of session."""
    mode: str
    """Which classes of tools agents may use."""
    role: str
    """Part that the session plays among others."""
    title: str | None = None
    """Title for people; a long one ends in `…`."""
    goal: str
    """What the agents are to reach; a long one ends in `…`."""
    phase: Phase
    """Where it is, in one word."""
    reason: str | None = None
    """Why it is there, in one word; why it stopped when it did."""
    limit_reached: LimitName | None = None
    """A limit that stopped the session."""
    steps: int
    """Model answers bought."""
    total_tokens: int
    """Input plus output tokens."""
    cost_micro_usd: int = Field(alias="costMicroUSD")
    """Cost in millionths of a US dollar."""
    created_at: datetime
    """When the resource was created (UTC)."""
    updated_at: datetime
    """When the resource last changed, as the journal saw it (UTC)."""
    last_activity: datetime | None = None
    """When the newest journal entry was written (UTC)."""
    started_at: datetime | None = None
    """When its first pod ran (UTC)."""
    finished_at: datetime | None = None
    """When it reached a final phase (UTC)."""
    deleted_at: datetime | None = None
    """When the resource was deleted (UTC); the journal stays."""


class SessionList(ApiModel):
    """One page of sessions."""

    items: list[SessionItem]
    """The page."""
    total: int
    """Sessions on all pages; with `cursor`, as it was when the first page was read."""
    limit: int
    """Most items of a page."""
    offset: int
    """Sessions before this page; 0 with `cursor`."""
    next: str | None = None
    """Pass it as `cursor`, with the same filters, for the next page; absent on the last one."""


def to_list(page: SessionPage, query: SessionQuery) -> SessionList:
    """Return a page as it is answered."""
    return SessionList(
        items=[to_item(row) for row in page.items],
        total=page.total,
        limit=query.limit,
        offset=query.offset,
        next=None if page.next is None else to_cursor(page.next, query),
    )


def to_item(row: ListedSession) -> SessionItem:
    """Return a session as lists show it."""
    return SessionItem(
        uid=row.uid,
        namespace=row.namespace,
        name=row.name,
        session_id=row.session_id or None,
        owner=row.owner or None,
        template=row.template or None,
        type=row.type,
        mode=row.mode,
        role=row.role,
        title=cut(row.title, GOAL_CHARS) or None,
        goal=cut(row.goal, GOAL_CHARS),
        phase=row.phase or Phase.PENDING,
        reason=row.stop_reason or row.reason or None,
        limit_reached=row.limit_reached,
        steps=row.steps,
        total_tokens=row.input_tokens + row.output_tokens,
        cost_micro_usd=row.cost_micro_usd,
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_activity=row.last_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        deleted_at=row.deleted_at,
    )


def cut(text: str, most: int) -> str:
    """Return a text, or its beginning with a mark."""
    return text if len(text) <= most else text[: most - 1] + CUT


def to_cursor(position: Position, query: SessionQuery) -> str:
    """Return a position as clients carry it: nothing to read for them, and nothing to trust for us."""
    value = position.value.isoformat() if isinstance(position.value, datetime) else position.value
    fields = [query.sort, query.descending, value, position.uid, position.total]
    return base64.urlsafe_b64encode(orjson.dumps(fields)).decode().rstrip("=")


def from_cursor(cursor: str, sort: SessionSort, *, descending: bool) -> Position:
    """Return the position that a cursor holds.

    Raises:
        ProblemError: 400 when it is not one of ours, or of a list in another order.
    """
    try:
        fields = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return _to_position(fields, sort, descending=descending)
    except (binascii.Error, ValueError, TypeError, OverflowError) as error:
        raise ProblemError(
            ProblemCode.BAD_CURSOR,
            "The cursor is not `next` of a page in this order. Send it as it came, with the same `sort`, or begin "
            "again without it.",
        ) from error


def _to_position(fields: Any, sort: SessionSort, *, descending: bool) -> Position:
    if not isinstance(fields, list) or len(fields) != _CURSOR_FIELDS or fields[:2] != [sort, descending]:
        raise ValueError("a cursor of another list")
    value, uid, total = fields[2:]
    if not isinstance(uid, str) or not isinstance(total, int) or not isinstance(value, str | None):
        raise TypeError("a cursor of other types")
    if "\0" in uid + (value or "") or not 0 <= total < MOST_TOTAL:
        raise ValueError("a cursor of other values")
    if value is None or sort in _TEXTS:
        return Position(value, uid, total)
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError("an instant without a zone")
    return Position(at.astimezone(UTC), uid, total)
