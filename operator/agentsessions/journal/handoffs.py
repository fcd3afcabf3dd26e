"""Work that one agent passes to another by a tool call. Jobs of the writer, and queries.

- `transfer_to_<agent>` is settled at once; the conversation changes hands in the transaction that commits the turn.
- `delegate` is begun by writing the task down, once for each call, and settled in the transaction that commits the
  answer: a crash on either side neither loses nor doubles it.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select, update

from agentsessions.api.names import MAX_TOOL_OUTPUT_BYTES
from agentsessions.api.shortened import shorten
from agentsessions.api.wire import Outcome
from agentsessions.journal import fences, parts
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.tables import handoffs, tool_calls
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.teams import Team

DELEGATE: Final = "delegate"
TRANSFER: Final = "transfer_to_"

_CALL: Final = select(tool_calls).where(
    tool_calls.c.session_uid == bindparam("uid"),
    tool_calls.c.agent == bindparam("agent"),
    tool_calls.c.call_id == bindparam("call_id"),
)

_RECEIVED: Final = (
    select(handoffs.c.number)
    .where(handoffs.c.session_uid == bindparam("uid"), handoffs.c.receiver == bindparam("receiver"))
    .limit(1)
)
_PASSED_ON: Final = (
    select(handoffs.c.number).where(handoffs.c.session_uid == bindparam("uid"), handoffs.c.is_task.is_(False)).limit(1)
)
_OPEN_TASKS: Final = (
    select(handoffs)
    .where(
        handoffs.c.session_uid == bindparam("uid"),
        handoffs.c.receiver == bindparam("receiver"),
        handoffs.c.is_task,
        handoffs.c.answered_at.is_(None),
    )
    .order_by(handoffs.c.number)
)


@dataclass(frozen=True, slots=True)
class Task:
    """What a director asks of another agent."""

    call_id: str
    receiver: str
    text: str


def give_task(work: Work, pod: PodIdentity, team: Team, task: Task) -> str | None:
    """Give a task to an agent, once for each call; return why not, when it cannot have it.

    Raises:
        StaleEpoch: Another pod speaks for the sender now.
    """
    fences.require_open(work, pod)
    uid = pod.session_uid
    if _find(work.conn, uid, pod.agent, task.call_id) is not None:
        return None
    refused = find_limit(work.conn, uid, team)
    if refused is not None:
        return refused
    _add(work, pod, task.call_id, task.receiver, is_task=True)
    ledger = Ledger(work, uid)
    parts.tell(work, ledger, uid, task.receiver, task.text)
    ledger.save()
    parts.settle_due(work, uid, team)
    return None


def find_limit(conn: Connection, session_uid: str, team: Team) -> str | None:
    """Return why no more work may be passed on; None when it may."""
    passed = conn.scalar(select(func.count()).where(handoffs.c.session_uid == session_uid)) or 0
    if passed < team.max_handoffs:
        return None
    return f"maxHandoffs {team.max_handoffs} is used up: finish the work yourself"


def read_result(conn: Connection, session_uid: str, agent: str, call_id: str) -> tuple[str, bool] | None:
    """Return the recorded result of a call, and whether it is an error; None while there is none."""
    row = conn.execute(_CALL, {"uid": session_uid, "agent": agent, "call_id": call_id}).one_or_none()
    return None if row is None or row.output is None else (row.output, bool(row.is_error))


def is_passing_on(tool: str) -> bool:
    """Return whether a tool passes work from one agent to another."""
    return tool == DELEGATE or tool.startswith(TRANSFER)


def has_been_called(conn: Connection, pod: PodIdentity) -> bool:
    """Return whether work was passed to the pod's agent: then it need not wait for anybody to begin."""
    return conn.execute(_RECEIVED, {"uid": pod.session_uid, "receiver": pod.agent}).first() is not None


def has_open_task(conn: Connection, pod: PodIdentity) -> bool:
    """Return whether the pod's agent works on a task that another one gave it."""
    return _open_task(conn, pod.session_uid, pod.agent) is not None


def is_shared(conn: Connection, session_uid: str) -> bool:
    """Return whether the conversation has changed hands, and so belongs to all agents."""
    return conn.execute(_PASSED_ON, {"uid": session_uid}).first() is not None


def answer_task(work: Work, ledger: Ledger, agent: str, team: Team, text: str, *, is_error: bool = False) -> None:
    """Settle the call by which the agent's open task was given, with its answer."""
    uid = ledger.session_uid
    task = _open_task(work.conn, uid, agent)
    if task is None:
        return
    work.conn.execute(
        update(handoffs)
        .where(handoffs.c.session_uid == uid, handoffs.c.number == task["number"])
        .values(answered_at=work.now)
    )
    asked = {"uid": uid, "agent": task["sender"], "call_id": task["call_id"]}
    call = work.conn.execute(_CALL, asked).mappings().one()
    if call["output"] is None:
        _settle(work, ledger, call, shorten(text, MAX_TOOL_OUTPUT_BYTES), is_error=is_error)
    parts.settle_due(work, uid, team)


def _settle(work: Work, ledger: Ledger, call: RowMapping, output: str, *, is_error: bool) -> None:
    uid, sender = ledger.session_uid, call["agent"]
    work.conn.execute(
        update(tool_calls)
        .where(tool_calls.c.session_uid == uid, tool_calls.c.agent == sender, tool_calls.c.call_id == call["call_id"])
        .values(output=output, is_error=is_error, duration_milliseconds=0)
    )
    body = {"callId": call["call_id"], "name": call["name"], "output": output, "isError": is_error}
    place = Place(sender, parts.newest_epoch(work.conn, uid, sender), call["round"], call["step"])
    ledger.append(EntryType.TOOL_RESULT, {**body, "durationMilliseconds": 0}, place)


def pass_on(work: Work, pod: PodIdentity, team: Team, step: int) -> bool:
    """Give the conversation to whom a call of the step names, if one does; the first call counts.

    Who shares the pod with the giver goes on in it; else its epoch is over.
    """
    query = (
        select(tool_calls.c.call_id, tool_calls.c.name)
        .where(
            tool_calls.c.session_uid == pod.session_uid,
            tool_calls.c.agent == pod.agent,
            tool_calls.c.step == step,
            tool_calls.c.name.startswith(TRANSFER, autoescape=True),
            tool_calls.c.is_error.is_(False),
        )
        .order_by(tool_calls.c.position)
    )
    call = work.conn.execute(query).first()
    if call is None:
        return False
    receiver = call.name.removeprefix(TRANSFER)
    # Asked again: the call was settled by a pod's own word, if its runner is not ours.
    is_member = any(member.name == receiver for member in team.members)
    if not is_member or find_limit(work.conn, pod.session_uid, team) is not None:
        return False
    _add(work, pod, call.call_id, receiver, is_task=False)
    for member in team.members:
        parts.change(work, pod.session_uid, member.name, has_floor=member.name == receiver)
    parts.settle_due(work, pod.session_uid, team)
    if team.host_of(receiver) != pod.host:
        fences.close_epoch(work, pod, fences.Closing(Outcome.HANDOFF))
    return True


def _add(work: Work, pod: PodIdentity, call_id: str, receiver: str, *, is_task: bool) -> None:
    newest = work.conn.scalar(select(func.max(handoffs.c.number)).where(handoffs.c.session_uid == pod.session_uid))
    work.conn.execute(
        insert(handoffs).values(
            session_uid=pod.session_uid,
            number=(newest or 0) + 1,
            sender=pod.agent,
            call_id=call_id,
            receiver=receiver,
            is_task=is_task,
        )
    )


def _find(conn: Connection, session_uid: str, sender: str, call_id: str) -> RowMapping | None:
    query = select(handoffs).where(
        handoffs.c.session_uid == session_uid, handoffs.c.sender == sender, handoffs.c.call_id == call_id
    )
    return conn.execute(query).mappings().one_or_none()


def _open_task(conn: Connection, session_uid: str, receiver: str) -> RowMapping | None:
    return conn.execute(_OPEN_TASKS, {"uid": session_uid, "receiver": receiver}).mappings().first()
