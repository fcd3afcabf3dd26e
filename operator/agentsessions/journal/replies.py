"""What an agent answered to a message. Queries."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.journal import sessions
from agentsessions.journal.entries import EntryType
from agentsessions.journal.inbox import answering
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.refusals import UnknownMessage
from agentsessions.journal.revisions import revise
from agentsessions.journal.tables import entries, inbox, turns
from agentsessions.lifecycle.phases import TERMINAL


@dataclass(frozen=True, slots=True)
class Reply:
    """How far the answer to a message came."""

    text: str | None
    """The answer; empty when it was deleted; None while there is none."""
    is_over: bool
    """Whether there will be none any more: the session is, or the message was deleted before a turn took it."""
    phase: Phase
    stop_reason: StopReason | None
    message: str
    """Why the session is in its phase."""
    through_seq: int | None
    """Last entry of the turn that answered."""


def find_reply(conn: Connection, session_uid: str, message_id: str) -> Reply:
    """Return what became of a message.

    Raises:
        UnknownMessage: There is no such message.
    """
    session = sessions.find_by_uid(conn, session_uid)
    sent = conn.execute(select(inbox).where(inbox.c.session_uid == session_uid, inbox.c.id == message_id)).one_or_none()
    if session is None or sent is None:
        raise UnknownMessage(f"session {session_uid} got no message {message_id!r}")
    answered = None if sent.entry_seq is None else _find_turn(conn, sent)
    is_withdrawn = sent.deleted_at is not None and sent.entry_seq is None
    return Reply(
        text=None if answered is None else _read_text(conn, answered),
        is_over=is_withdrawn or session.deleted_at is not None or session.phase in TERMINAL,
        phase=session.phase or Phase.PENDING,
        stop_reason=session.stop_reason,
        message=session.message,
        through_seq=None if answered is None else answered.closed_seq,
    )


def _find_turn(conn: Connection, sent: Any) -> Any:
    """Return the first turn with or after the one that took the message which ended with a text."""
    query = select(turns).where(*answering(sent)).order_by(turns.c.closed_seq)
    return conn.execute(query.limit(1)).one_or_none()


def _read_text(conn: Connection, turn: Any) -> str:
    query = select(entries).where(
        entries.c.session_uid == turn.session_uid,
        entries.c.agent == turn.agent,
        entries.c.round == turn.round,
        entries.c.step == turn.answer_step,
        entries.c.type == EntryType.OUTPUT.value,
    )
    said = revise(conn, turn.session_uid, map(to_entry, conn.execute(query).mappings()))
    return "".join(entry.body["text"] for entry in said if entry.body)
