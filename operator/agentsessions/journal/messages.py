"""The conversation of a session as people see it: what was sent to it, and what its agents said and did. Queries.

It is a view over journal entries, as they are now, with the queued messages behind them. What was deleted is not in
it, nor an answer that no turn was closed with because another was bought in its place; both keep their numbers.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, null, select

from agentsessions.journal import inbox as sent
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.revisions import Revision, read_revisions
from agentsessions.journal.rows import MailKind, MessageRole, MessageState
from agentsessions.journal.tables import entries, inbox, model_calls, turns

SHOWN: Final = (
    EntryType.MESSAGE,
    EntryType.THINKING,
    EntryType.OUTPUT,
    EntryType.TOOL_CALL,
    EntryType.TOOL_RESULT,
)
READ_AT_ONCE: Final = 200
_ID: Final = re.compile(r"entry-([1-9][0-9]{0,17})")

Step = tuple[int, str, int]
"""Round, agent, step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message of a conversation."""

    id: str
    """Given by the gateway when somebody sent it; else `entry-` and its seq."""
    number: int
    """Its place in the conversation, from 1; that of a queued message is not final."""
    role: MessageRole
    content: str
    """Text; of a tool call its arguments."""
    tool_call_id: str | None = None
    tool_name: str | None = None
    extra_data: dict[str, Any] | None = None
    kind: MailKind | None = None
    """Of a message between sessions; with what follows."""
    priority: int | None = None
    sender: str | None = None
    correlation_id: str | None = None
    actor: str | None = None
    """Who sent it; None for what agents said, and for the goal."""
    created_at: datetime
    updated_at: datetime | None = None
    state: MessageState | None = None
    """None for what was not sent."""
    agent: str | None = None
    round: int | None = None
    turn: int | None = None
    seq: int | None = None
    """None while it is queued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidQuery:
    """Which messages to list."""

    after: int = 0
    """Number of the last one that was seen; 0 to begin."""
    limit: int = 100
    newest_first: bool = False
    role: MessageRole | None = None


def list_said(conn: Connection, session_uid: str, query: SaidQuery) -> list[Said]:
    """Return one page of the conversation."""
    reader = _Reader(conn, session_uid)
    found: list[Said] = []
    for message in reader.newest_first(query.after) if query.newest_first else reader.oldest_first(query.after):
        if query.role in {None, message.role}:
            found.append(message)
        if len(found) == query.limit:
            break
    return found


def count_said(conn: Connection, session_uid: str) -> int:
    """Return how many messages the conversation has."""
    standing = conn.scalar(select(func.count()).where(*_shown(session_uid), entries.c.body.is_not(null())))
    queued = conn.scalar(select(func.count()).where(inbox.c.session_uid == session_uid, *sent.QUEUED))
    void = sum(_count_in(conn, session_uid, step) for step in _read_void_steps(conn, session_uid))
    return (standing or 0) + len(read_revisions(conn, session_uid)) + (queued or 0) - void


def find_said(conn: Connection, session_uid: str, message_id: str) -> Said | None:
    """Return one message, unless it was deleted."""
    row = conn.execute(
        select(inbox.c.entry_seq, inbox.c.ordinal).where(inbox.c.session_uid == session_uid, inbox.c.id == message_id)
    ).one_or_none()
    reader = _Reader(conn, session_uid)
    if row is not None and row.entry_seq is None:
        return next((message for message in reader.queued() if message.id == message_id), None)
    seq = find_seq(message_id) if row is None else row.entry_seq
    found = None if seq is None else reader.find(seq)
    return found if found is not None and found.id == message_id else None


def find_seq(message_id: str) -> int | None:
    """Return which entry an id of our own making means; None for other ids."""
    matched = _ID.fullmatch(message_id)
    return int(matched.group(1)) if matched else None


class _Reader:
    """Reads the conversation of one session, page by page."""

    def __init__(self, conn: Connection, session_uid: str) -> None:
        self._conn = conn
        self._uid = session_uid
        self._known: dict[int, Revision] | None = None
        self._void: set[Step] | None = None

    def oldest_first(self, after: int) -> Iterator[Said]:
        """Yield what comes behind a number."""
        query, number = _numbered(self._uid)
        read_to = after
        while rows := self._page(query.where(number > read_to).order_by(number)):
            read_to = rows[-1]["number"]
            yield from self._to_said(rows)
        yield from (message for message in self.queued() if message.number > after)

    def newest_first(self, before: int) -> Iterator[Said]:
        """Yield what comes before a number, backwards; 0 means the end."""
        yield from (message for message in reversed(self.queued()) if not before or message.number < before)
        query, number = _numbered(self._uid)
        while rows := self._page((query.where(number < before) if before else query).order_by(number.desc())):
            before = rows[-1]["number"]
            yield from self._to_said(rows)

    def find(self, seq: int) -> Said | None:
        """Return the message of an entry."""
        query, _ = _numbered(self._uid)
        return next(self._to_said(self._page(query.where(entries.c.seq == seq))), None)

    def queued(self) -> list[Said]:
        """Return the messages that no turn has taken, in order."""
        total = self._conn.scalar(select(func.count()).where(*_shown(self._uid))) or 0
        rows = self._conn.execute(sent.rows_of(self._uid).where(*sent.QUEUED).order_by(inbox.c.ordinal)).all()
        return [_queued(row, total + place) for place, row in enumerate(rows, 1)]

    def _page(self, query: Select[Any]) -> Sequence[RowMapping]:
        return self._conn.execute(query.limit(READ_AT_ONCE)).mappings().all()

    def _to_said(self, rows: Sequence[RowMapping]) -> Iterator[Said]:
        played = self._turns({row["step"] for row in rows} - {0})
        senders = self._senders([row["seq"] for row in rows if row["type"] == EntryType.MESSAGE])
        for row in rows:
            entry = to_entry({name: row[name] for name in EntryRow.__slots__})
            revision = self._revision(entry.seq) if entry.body is None else None
            body = revision.body if revision else entry.body
            if body is None or self._is_void((entry.round, entry.agent, entry.step)):
                continue
            yield Said(
                number=row["number"],
                updated_at=revision.at if revision else None,
                extra_data=body.get("extraData"),
                kind=body.get("kind"),
                priority=body.get("priority"),
                sender=body.get("sender"),
                correlation_id=body.get("correlationId"),
                agent=entry.agent or None,
                round=entry.round,
                seq=entry.seq,
                **_words(entry.type, body),
                **_circumstances(entry, body, played, senders.get(entry.seq)),
            )

    def _is_void(self, step: Step) -> bool:
        if self._void is None:
            self._void = _read_void_steps(self._conn, self._uid)
        return step in self._void

    def _revision(self, seq: int) -> Revision | None:
        if self._known is None:
            self._known = read_revisions(self._conn, self._uid)
        return self._known.get(seq)

    def _turns(self, steps: set[int]) -> dict[Step, int]:
        if not steps:
            return {}
        query = select(model_calls.c.round, model_calls.c.agent, model_calls.c.step, model_calls.c.k).where(
            model_calls.c.session_uid == self._uid, model_calls.c.step.between(min(steps), max(steps))
        )
        return {(row.round, row.agent, row.step): row.k for row in self._conn.execute(query)}

    def _senders(self, seqs: list[int]) -> dict[int, Any]:
        if not seqs:
            return {}
        query = sent.rows_of(self._uid).where(inbox.c.entry_seq.between(min(seqs), max(seqs)))
        return {row.entry_seq: row for row in self._conn.execute(query)}


def _shown(session_uid: str) -> tuple[ColumnElement[bool], ...]:
    return entries.c.session_uid == session_uid, entries.c.type.in_(SHOWN)


def _read_void_steps(conn: Connection, session_uid: str) -> set[Step]:
    """Return the steps whose answers no turn was closed with, although their turns are closed."""
    query = (
        select(model_calls.c.round, model_calls.c.agent, model_calls.c.step)
        .join(
            turns,
            and_(
                turns.c.session_uid == model_calls.c.session_uid,
                turns.c.agent == model_calls.c.agent,
                turns.c.round == model_calls.c.round,
                turns.c.k == model_calls.c.k,
            ),
        )
        .where(model_calls.c.session_uid == session_uid, turns.c.answer_step != model_calls.c.step)
    )
    return {(row.round, row.agent, row.step) for row in conn.execute(query)}


def _count_in(conn: Connection, session_uid: str, step: Step) -> int:
    round_, agent, number = step
    place = (entries.c.round == round_, entries.c.agent == agent, entries.c.step == number)
    query = select(func.count()).where(*_shown(session_uid), *place, entries.c.body.is_not(null()))
    return conn.scalar(query) or 0


def _numbered(session_uid: str) -> tuple[Select[Any], ColumnElement[int]]:
    """Return the query of all entries that are messages, and the column with their numbers."""
    place = func.row_number().over(order_by=entries.c.seq).label("number")
    numbers = select(entries.c.seq, place).where(*_shown(session_uid)).subquery()
    query = select(entries, numbers.c.number).join(numbers, numbers.c.seq == entries.c.seq)
    return query.where(entries.c.session_uid == session_uid), numbers.c.number


def _words(type_: EntryType, body: dict[str, Any]) -> dict[str, Any]:
    """Return what an entry says, and as whom."""
    match type_:
        case EntryType.MESSAGE:
            call_id, tool = body.get("toolCallId"), body.get("toolName")
            role = MessageRole(body["role"])
            return {"role": role, "content": body["content"], "tool_call_id": call_id, "tool_name": tool}
        case EntryType.TOOL_CALL | EntryType.TOOL_RESULT:
            is_call = type_ is EntryType.TOOL_CALL
            role, content = (MessageRole.ASSISTANT, "arguments") if is_call else (MessageRole.TOOL, "output")
            call_id, tool = body["callId"], body["name"]
            return {"role": role, "content": body[content], "tool_call_id": call_id, "tool_name": tool}
        case _:
            return {"role": MessageRole.ASSISTANT, "content": body["text"]}


def _circumstances(entry: EntryRow, body: dict[str, Any], played: dict[Step, int], sender: Any) -> dict[str, Any]:
    """Return who said it, when, and what became of it."""
    of_agent = {
        "id": f"entry-{entry.seq}",
        "created_at": entry.at,
        "turn": played.get((entry.round, entry.agent, entry.step)) or None,
    }
    if "id" not in body:  # an agent's, the goal, or of the session that this one was forked from
        return {**of_agent, "actor": body.get("actor")}
    known = {"id": body["id"], "actor": body.get("actor")}
    if sender is None:  # of a journal that came without its inbox
        return {**of_agent, **known}
    return {**known, "created_at": sender.created_at, "turn": sender.k, "state": sent.state_of(sender)}


def _queued(row: Any, number: int) -> Said:
    fields = ("id", "content", "tool_call_id", "tool_name", "extra_data", "actor", "created_at", "updated_at")
    mail = ("kind", "priority", "sender", "correlation_id")
    given = {name: getattr(row, name) for name in (*fields, *mail)}
    return Said(number=number, role=MessageRole(row.role), state=MessageState.QUEUED, **given)
