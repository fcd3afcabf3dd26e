"""Messages to sessions: stored by those who speak, taken by turns. Jobs of the writer, and queries.

- A message is stored once for each idempotency key, and taken by exactly one turn, in order.
- The turn that takes messages holds each as an entry in front of it, written in the transaction that pins the turn.
- What state a message is in is not stored but follows from the turns.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, insert, or_, select, update

from agentsessions.api.wire import Outcome
from agentsessions.journal import sessions
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.refusals import InboxFull, KeyReused, SessionFinished, UnknownSession
from agentsessions.journal.rows import MessageRow, MessageState, NewMessage, PodIdentity, SessionRow
from agentsessions.journal.tables import epochs, inbox, turns
from agentsessions.journal.writer import Work

USER: Final = "user"
TEXT_OUTCOMES: Final = frozenset({Outcome.FINAL.value, Outcome.IDLE.value})
"""Outcomes of turns that ended with a text."""
MOST_QUEUED: Final = 1000
"""Messages of a session that may wait; the turn that takes them shows them all to the model."""

_FIELDS: Final = tuple(name for name in MessageRow.__slots__ if name != "state")


def put(work: Work, session_uid: str, message: NewMessage) -> MessageRow:
    """Store a message; the same again returns what is stored.

    Raises:
        UnknownSession: There is no such session.
        KeyReused: Its key belongs to a message with another content.
        SessionFinished: Nobody will answer any more.
        InboxFull: Too many wait already.
    """
    known = _find_by_key(work.conn, session_uid, message.idempotency_key)
    if known is not None:
        if known.content != message.content:
            raise KeyReused(
                f"idempotency key {message.idempotency_key!r} came with another content before (message {known.id}); "
                "a new message needs a new key"
            )
        return known
    _require_unfinished(work, session_uid)
    if count_queued(work.conn, session_uid) >= MOST_QUEUED:
        raise InboxFull(
            f"{MOST_QUEUED} messages to session {session_uid} wait, and no more may: send again once a turn took them"
        )
    newest: int | None = work.conn.scalar(select(func.max(inbox.c.ordinal)).where(inbox.c.session_uid == session_uid))
    row = MessageRow(
        id=message.id,
        ordinal=(newest or 0) + 1,
        role=USER,
        content=message.content,
        actor=message.actor,
        created_at=work.now,
        state=MessageState.QUEUED,
    )
    columns = {name: getattr(row, name) for name in _FIELDS}
    work.conn.execute(insert(inbox).values(session_uid=session_uid, idempotency_key=message.idempotency_key, **columns))
    work.touched.add(session_uid)
    return row


def _require_unfinished(work: Work, session_uid: str) -> None:
    row = sessions.find_by_uid(work.conn, session_uid)
    if row is None:
        raise UnknownSession(f"session {session_uid} is not in the journal yet; put_session comes first")
    if row.deleted_at is not None:
        raise SessionFinished(f"session {row.namespace}/{row.name} was deleted: create a new session")
    is_over = row.phase in sessions.FINAL_PHASES
    if is_over or _is_done(work, row):
        how = row.phase if is_over else "done"
        raise SessionFinished(f"session {row.namespace}/{row.name} is {how}, which is final: create a new session")


def _is_done(work: Work, row: SessionRow) -> bool:
    """Return whether nobody would take a message any more, although the phase does not say so yet."""
    outcomes = work.conn.scalars(
        select(epochs.c.outcome).where(epochs.c.session_uid == row.uid).order_by(epochs.c.epoch)
    ).all()
    if Outcome.FINAL.value in outcomes:
        return True
    talk = row.spec.get("conversation")
    if talk is None or talk.get("open") or count_queued(work.conn, row.uid):
        return False
    # A person closed the conversation while nothing was to be done: the operator is about to complete it.
    return outcomes[-1] == Outcome.IDLE if outcomes else not row.goal


def count_queued(conn: Connection, session_uid: str) -> int:
    """Return how many messages no turn has taken."""
    return conn.scalar(select(func.count()).where(*_queued(session_uid))) or 0


def take(work: Work, ledger: Ledger, pod: PodIdentity, round_: int, k: int) -> None:
    """Journal all queued messages, in order, for the turn that is about to be pinned."""
    query = select(inbox.c.ordinal, inbox.c.id, inbox.c.role, inbox.c.content, inbox.c.actor)
    for row in work.conn.execute(query.where(*_queued(pod.session_uid)).order_by(inbox.c.ordinal)).all():
        body = {"role": row.role, "content": row.content, "id": row.id, "actor": row.actor}
        seq = ledger.append(EntryType.MESSAGE, body, Place(pod.agent, pod.epoch, round_))
        work.conn.execute(
            update(inbox)
            .where(inbox.c.session_uid == pod.session_uid, inbox.c.ordinal == row.ordinal)
            .values(agent=pod.agent, epoch=pod.epoch, round=round_, k=k, entry_seq=seq)
        )


def _queued(session_uid: str) -> tuple[ColumnElement[bool], ...]:
    return inbox.c.session_uid == session_uid, inbox.c.entry_seq.is_(None)


def list_messages(conn: Connection, session_uid: str, after: int, limit: int) -> list[MessageRow]:
    """Return messages in order, from the one behind ordinal `after`."""
    query = _messages(session_uid).where(inbox.c.ordinal > after).order_by(inbox.c.ordinal).limit(limit)
    return [_to_row(row) for row in conn.execute(query).mappings()]


def find(conn: Connection, session_uid: str, message_id: str) -> MessageRow | None:
    """Return the session's message with this id."""
    row = conn.execute(_messages(session_uid).where(inbox.c.id == message_id)).mappings().one_or_none()
    return None if row is None else _to_row(row)


def _find_by_key(conn: Connection, session_uid: str, key: str | None) -> MessageRow | None:
    if key is None:
        return None
    row = conn.execute(_messages(session_uid).where(inbox.c.idempotency_key == key)).mappings().one_or_none()
    return None if row is None else _to_row(row)


def _messages(session_uid: str) -> Select[Any]:
    answered = exists().where(
        turns.c.session_uid == inbox.c.session_uid,
        turns.c.agent == inbox.c.agent,
        turns.c.outcome.in_(TEXT_OUTCOMES),
        or_(turns.c.round > inbox.c.round, and_(turns.c.round == inbox.c.round, turns.c.k >= inbox.c.k)),
    )
    columns = [inbox.c[name] for name in _FIELDS]
    return select(*columns, answered.label("is_answered")).where(inbox.c.session_uid == session_uid)


def _to_row(row: Any) -> MessageRow:
    fields = {name: row[name] for name in _FIELDS}
    if row["is_answered"]:
        state = MessageState.ANSWERED
    else:
        state = MessageState.QUEUED if row["entry_seq"] is None else MessageState.TAKEN
    return MessageRow(**fields, state=state)
