"""Messages to sessions: stored by those who speak, taken by turns. Jobs of the writer, and queries.

- A message is stored once for each idempotency key, and taken by exactly one turn, in order.
- What a user says begins a turn. What is said with another role begins none: it waits for the next thing that a user
  says, and stands in front of it.
- Commands of other sessions are taken one by one, each by the first turn of an answer (`mail_order`).
- The turn that takes messages holds each as an entry in front of it, written in the transaction that pins the turn.
- What state a message is in is not stored but follows from the turns.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, func, insert, select, update

from agentsessions.api.wire import Outcome
from agentsessions.journal import sessions
from agentsessions.journal.entries import EntryType, digest_of
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.mail_order import choose
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.refusals import InboxFull, KeyReused, SessionFinished, UnknownSession
from agentsessions.journal.rows import Mail, MessageRole, MessageRow, MessageState, NewMessage, PodIdentity, SessionRow
from agentsessions.journal.tables import epochs, inbox, turns
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.phases import TERMINAL

TEXT_OUTCOMES: Final = frozenset({Outcome.FINAL.value, Outcome.IDLE.value})
"""Outcomes of turns that ended with a text."""
MOST_QUEUED: Final = 1000
"""Messages of a session that may wait; the turn that takes them shows them all to the model."""
QUEUED: Final = (inbox.c.entry_seq.is_(None), inbox.c.deleted_at.is_(None))
"""Messages that no turn has taken."""
WAKING: Final = (*QUEUED, inbox.c.role == MessageRole.USER.value, inbox.c.is_held.is_not(True))
"""Those of them that begin a turn."""

_COUNT: Final = select(func.count()).where(inbox.c.session_uid == bindparam("uid"))
_QUEUED_COUNT: Final = Prepared(_COUNT.where(*QUEUED))
_WAKING_COUNT: Final = Prepared(_COUNT.where(*WAKING))
_FIELDS: Final = tuple(name for name in MessageRow.__slots__ if name != "state")


def put(work: Work, session_uid: str, message: NewMessage, *, is_awaited: bool = False) -> MessageRow:
    """Store a message; the same again returns what is stored. For one that the session waits for there is always room.

    Raises:
        UnknownSession: There is no such session.
        KeyReused: Its key belongs to a message with another content.
        SessionFinished: Nobody will answer any more.
        InboxFull: Too many wait already.
    """
    sent_digest = digest_of(
        [message.role, message.content, message.tool_call_id, message.tool_name, message.extra_data]
    )
    known = _find_by_key(work.conn, session_uid, message.idempotency_key)
    if known is not None:
        if known.sent_digest != sent_digest:
            raise KeyReused(
                f"idempotency key {message.idempotency_key!r} came with another content before (message {known.id}); "
                "a new message needs a new key"
            )
        return _to_row(known)
    _require_unfinished(work, session_uid, is_awaited=is_awaited)
    if not is_awaited:
        _require_room(work, session_uid, message.role)
    newest: int | None = work.conn.scalar(select(func.max(inbox.c.ordinal)).where(inbox.c.session_uid == session_uid))
    row = MessageRow(
        id=message.id,
        ordinal=(newest or 0) + 1,
        role=message.role,
        content=message.content,
        tool_call_id=message.tool_call_id,
        tool_name=message.tool_name,
        extra_data=message.extra_data,
        actor=message.actor,
        created_at=work.now,
        state=MessageState.QUEUED,
        **_mail_of(message),
    )
    columns = {**{name: getattr(row, name) for name in _FIELDS}, "role": row.role.value}
    work.conn.execute(
        insert(inbox).values(
            session_uid=session_uid, idempotency_key=message.idempotency_key, sent_digest=sent_digest, **columns
        )
    )
    work.touched.add(session_uid)
    return row


def _mail_of(message: NewMessage) -> dict[str, Any]:
    mail = message.mail
    if mail is None:
        return {}
    given = {name: getattr(mail, name) for name in Mail.__slots__}
    return {**given, "kind": mail.kind.value, "priority": mail.priority.value}


def _require_unfinished(work: Work, session_uid: str, *, is_awaited: bool) -> None:
    row = sessions.find_by_uid(work.conn, session_uid)
    if row is None:
        raise UnknownSession(f"session {session_uid} is not in the journal yet; put_session comes first")
    if row.deleted_at is not None:
        raise SessionFinished(f"session {row.namespace}/{row.name} was deleted: create a new session")
    if row.spec.get("replay"):
        raise SessionFinished(
            f"session {row.namespace}/{row.name} is a replay: what was said to the other session is said again, and "
            "nothing else; talk to a clone of that session"
        )
    is_over = row.phase in TERMINAL
    if is_over or _is_done(work, row, is_awaited=is_awaited):
        how = row.phase if is_over else "done"
        raise SessionFinished(f"session {row.namespace}/{row.name} is {how}, which is final: create a new session")


def _require_room(work: Work, session_uid: str, role: MessageRole) -> None:
    # What a user says is let in beside others' messages that fill the inbox: only it begins the turn that takes them.
    waiting = _WAKING_COUNT if role is MessageRole.USER else _QUEUED_COUNT
    if waiting.value(work, uid=session_uid) >= MOST_QUEUED:
        raise InboxFull(
            f"{MOST_QUEUED} messages to session {session_uid} wait, and no more may: send again once a turn took them"
        )


def _is_done(work: Work, row: SessionRow, *, is_awaited: bool) -> bool:
    """Return whether nobody would take a message any more, although the phase does not say so yet."""
    outcomes = work.conn.scalars(
        select(epochs.c.outcome).where(epochs.c.session_uid == row.uid).order_by(epochs.c.fenced_at, epochs.c.epoch)
    ).all()
    if Outcome.FINAL.value in outcomes:
        return True
    talk = row.spec.get("conversation")
    if is_awaited or talk is None or talk.get("open") or count_queued(work, row.uid):
        return False
    # A person closed the conversation while nothing was to be done: the operator is about to complete it.
    return outcomes[-1] == Outcome.IDLE if outcomes else not row.goal


def count_queued(work: Work, session_uid: str) -> int:
    """Return how many messages wait that begin a turn."""
    waiting: int = _WAKING_COUNT.value(work, uid=session_uid)
    return waiting


def take(work: Work, ledger: Ledger, pod: PodIdentity, round_: int, k: int) -> None:
    """Journal the queued messages that the turn which is to be pinned takes, in order."""
    if not count_queued(work, pod.session_uid):
        return
    of_session = inbox.c.session_uid == pod.session_uid
    queued = work.conn.execute(select(inbox).where(of_session, *QUEUED).order_by(inbox.c.ordinal)).all()
    for row in choose(queued, may_begin=_begins_answer(work, ledger)):
        seq = ledger.append(EntryType.MESSAGE, body_of(row), Place(pod.agent, pod.epoch, round_))
        work.conn.execute(
            update(inbox)
            .where(of_session, inbox.c.ordinal == row.ordinal)
            .values(agent=pod.agent, epoch=pod.epoch, round=round_, k=k, entry_seq=seq)
        )


def _begins_answer(work: Work, ledger: Ledger) -> bool:
    """Return whether the turn that comes next goes on with nothing: neither with tools, nor with the goal."""
    newest = select(turns.c.outcome).where(turns.c.session_uid == ledger.session_uid)
    found = work.conn.execute(newest.order_by(turns.c.history_seq.desc(), turns.c.k.desc()).limit(1)).one_or_none()
    return not ledger.has_goal if found is None else found.outcome in TEXT_OUTCOMES


def body_of(row: Any) -> dict[str, Any]:
    """Return the body of a message's entry."""
    optional = {"toolCallId": row.tool_call_id, "toolName": row.tool_name, "extraData": row.extra_data}
    optional |= {"kind": row.kind, "priority": row.priority, "sender": row.sender, "correlationId": row.correlation_id}
    given = {name: value for name, value in optional.items() if value is not None}
    return {"role": row.role, "content": row.content, "id": row.id, "actor": row.actor, **given}


def list_messages(conn: Connection, session_uid: str, after: int, limit: int) -> list[MessageRow]:
    """Return messages in order, from the one behind ordinal `after`; deleted ones too."""
    query = rows_of(session_uid).where(inbox.c.ordinal > after).order_by(inbox.c.ordinal).limit(limit)
    return [_to_row(row) for row in conn.execute(query)]


def find(conn: Connection, session_uid: str, message_id: str) -> MessageRow | None:
    """Return the session's message with this id."""
    row = conn.execute(rows_of(session_uid).where(inbox.c.id == message_id)).one_or_none()
    return None if row is None else _to_row(row)


def is_known(work: Work, session_uid: str, key: str | None) -> bool:
    """Return whether a message came with this idempotency key."""
    return _find_by_key(work.conn, session_uid, key) is not None


def _find_by_key(conn: Connection, session_uid: str, key: str | None) -> Any:
    if key is None:
        return None
    return conn.execute(rows_of(session_uid).where(inbox.c.idempotency_key == key)).one_or_none()


def rows_of(session_uid: str) -> Select[Any]:
    """Return the query of a session's messages; each tells whether it is answered."""
    answered = exists().where(*answering(inbox.c))
    columns = [inbox.c[name] for name in (*_FIELDS, "sent_digest")]
    return select(*columns, answered.label("is_answered")).where(inbox.c.session_uid == session_uid)


def answering(message: Any) -> tuple[ColumnElement[bool], ...]:
    """Return which turns ended with a text and took a message, or came behind the one that did.

    Args:
        message: The message's row, or the columns of the inbox.
    """
    return (
        turns.c.session_uid == message.session_uid,
        turns.c.outcome.in_(TEXT_OUTCOMES),
        turns.c.closed_seq > message.entry_seq,  # by whichever agent has the conversation then
    )


def _to_row(row: Any) -> MessageRow:
    fields = {name: getattr(row, name) for name in _FIELDS}
    return MessageRow(**{**fields, "role": MessageRole(row.role)}, state=state_of(row))


def state_of(row: Any) -> MessageState:
    """Return how far a message came."""
    if row.deleted_at is not None:
        return MessageState.DELETED
    if row.is_answered:
        return MessageState.ANSWERED
    return MessageState.QUEUED if row.entry_seq is None else MessageState.TAKEN
