"""What the model wrote when it asked for a tool. A query."""

from sqlalchemy import Connection, select

from agentsessions.journal.entries import EntryType
from agentsessions.journal.tables import entries, tool_calls


def read_asked(conn: Connection, session_uid: str, agent: str, call_id: str) -> str | None:
    """Return the arguments of a call as they stand in the answer; None when there is no such call, or no longer."""
    asked = select(entries.c.body).where(
        tool_calls.c.session_uid == session_uid,
        tool_calls.c.agent == agent,
        tool_calls.c.call_id == call_id,
        entries.c.session_uid == tool_calls.c.session_uid,
        entries.c.agent == tool_calls.c.agent,
        entries.c.round == tool_calls.c.round,
        entries.c.step == tool_calls.c.step,
        entries.c.type == EntryType.TOOL_CALL.value,
    )
    for body in conn.execute(asked).scalars():
        if body is not None and body["callId"] == call_id:
            return str(body["arguments"])
    return None
