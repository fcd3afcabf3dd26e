"""Queries about purchases that another gateway makes, or made."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from agentsessions.journal.charges import CallState, is_in
from agentsessions.journal.tables import model_calls


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a purchase ended."""

    state: CallState
    epoch: int
    """The one that asked."""
    code: str | None
    message: str | None


def read_end(conn: Connection, call_id: int) -> CallEnd | None:
    """Return how a purchase ended; None while it is under way."""
    columns = (model_calls.c.state, model_calls.c.epoch, model_calls.c.error_code, model_calls.c.error_message)
    row = conn.execute(select(*columns).where(model_calls.c.id == call_id)).one()
    state = CallState(row.state)
    return None if state is CallState.OPEN else CallEnd(state, row.epoch, row.error_code, row.error_message)


def count_open(conn: Connection, session_uid: str) -> int:
    """Return how many purchases are under way for a session."""
    is_open = (model_calls.c.session_uid == session_uid, is_in(CallState.OPEN))
    return conn.scalar(select(func.count()).select_from(model_calls).where(*is_open)) or 0
