"""Calls of tools: what the model wrote, what they came to, and which process runs those that the gateway runs."""

from dataclasses import dataclass
from enum import Enum, auto

from sqlalchemy import ColumnElement, Connection, select, update

from agentsessions.journal.audit_tables import instances
from agentsessions.journal.entries import EntryType
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.tables import entries, tool_calls
from agentsessions.journal.writer import Work


@dataclass(frozen=True, slots=True)
class Process:
    """One run of a gateway."""

    id: str
    """Another one each time that the gateway starts."""
    instance: str
    """The gateway's name in the journal."""

    def __str__(self) -> str:
        return f"{self.id}@{self.instance}"


class Maker(Enum):
    """Whose a call is that has an effect outside of the session."""

    ME = auto()
    ANOTHER = auto()
    """Of a gateway that lives, as far as the journal knows."""
    GONE = auto()
    """Of a process that is no more: whether it made the call, nobody knows."""


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


def claim(work: Work, pod: PodIdentity, call_id: str, me: Process) -> Maker:
    """Note that a process makes a call, unless one did before; return whose it is."""
    call = _call(pod.session_uid, pod.agent, call_id)
    by: str | None = work.conn.scalar(select(tool_calls.c.run_by).where(*call))
    if by is None:
        work.conn.execute(update(tool_calls).where(*call).values(run_by=str(me)))
    if by in {None, str(me)}:  # what this very process began before, it did not get to make
        return Maker.ME
    instance = by.partition("@")[2]
    lives = work.conn.scalar(select(instances.c.id).where(instances.c.id == instance)) is not None
    return Maker.ANOTHER if lives and instance != me.instance else Maker.GONE


def _call(session_uid: str, agent: str, call_id: str) -> tuple[ColumnElement[bool], ...]:
    return tool_calls.c.session_uid == session_uid, tool_calls.c.agent == agent, tool_calls.c.call_id == call_id
