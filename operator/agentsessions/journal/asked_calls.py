"""Calls of tools: what the model wrote, what they came to, and which process runs those that the gateway runs."""

from sqlalchemy import ColumnElement, Connection, select, update

from agentsessions.journal.entries import EntryType
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.tables import entries, tool_calls
from agentsessions.journal.writer import Work


def read_asked(conn: Connection, session_uid: str, agent: str, call_id: str) -> str | None:
    """Return the arguments of a call as they stand in the answer; None when there is no such call, or no longer."""
    asked = select(entries.c.body).where(
        *_call(session_uid, agent, call_id),
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


def read_output(conn: Connection, session_uid: str, agent: str, call_id: str) -> str | None:
    """Return a call's result, once it has one."""
    output: str | None = conn.scalar(select(tool_calls.c.output).where(*_call(session_uid, agent, call_id)))
    return output


def claim(work: Work, pod: PodIdentity, call_id: str, process: str) -> bool:
    """Note that a process makes a call; return False when one did before, which may be gone: nobody makes it twice."""
    call = _call(pod.session_uid, pod.agent, call_id)
    by: str | None = work.conn.scalar(select(tool_calls.c.run_by).where(*call))
    if by is None:
        work.conn.execute(update(tool_calls).where(*call).values(run_by=process))
    return by is None


def _call(session_uid: str, agent: str, call_id: str) -> tuple[ColumnElement[bool], ...]:
    return tool_calls.c.session_uid == session_uid, tool_calls.c.agent == agent, tool_calls.c.call_id == call_id
