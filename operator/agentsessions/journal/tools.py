"""Tool calls of the open turn: begun, then settled once. Jobs of the writer."""

from typing import Final

from sqlalchemy import RowMapping, bindparam, select, update

from agentsessions.api.wire import SideEffect, ToolBegin, ToolSettle, ToolVerdict, Verdict
from agentsessions.journal import fences, turns
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.refusals import UnknownCall
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.tables import tool_calls
from agentsessions.journal.writer import Work

_FIND: Final = select(tool_calls).where(
    tool_calls.c.session_uid == bindparam("uid"),
    tool_calls.c.agent == bindparam("agent"),
    tool_calls.c.call_id == bindparam("call_id"),
)


def begin(work: Work, pod: PodIdentity, asked: ToolBegin) -> ToolVerdict:
    """Say whether to run a call. A call with a recorded result is not run again.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        UnknownCall: The answer of the open turn has no such call.
    """
    fences.require_open(work, pod)
    call = _call_of_turn(work, pod, asked.call_id)
    if call["name"] != asked.name:
        raise UnknownCall(f"call {asked.call_id} is for tool {call['name']}, not {asked.name}")
    if call["output"] is not None:
        return ToolVerdict(verdict=Verdict.RECORDED, output=call["output"])
    if (call["begun_epoch"], call["side_effect"]) != (pod.epoch, asked.side_effect):
        _update(work, pod, call, begun_epoch=pod.epoch, side_effect=SideEffect(asked.side_effect).value)
    return ToolVerdict(verdict=Verdict.RUN)


def settle(work: Work, pod: PodIdentity, report: ToolSettle, *, is_own: bool = False) -> None:
    """Record a call's result. The first report stands, later ones change nothing.

    With `is_own` the gateway ran it: what was done is kept, though the pod that asked need not be current any more.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        UnknownCall: The agent was never asked for such a call, or its turn is closed without a result.
    """
    if not is_own:
        fences.require_current(work, pod)
    call = _find(work, pod, report.call_id)
    if call is not None and call["output"] is not None:
        return
    call = _call_of_turn(work, pod, report.call_id)
    _update(
        work,
        pod,
        call,
        output=report.output,
        is_error=report.is_error,
        duration_milliseconds=report.duration_milliseconds,
    )
    ledger = Ledger(work, pod.session_uid)
    ledger.append(
        EntryType.TOOL_RESULT,
        {
            "callId": report.call_id,
            "name": call["name"],
            "output": report.output,
            "isError": report.is_error,
            "durationMilliseconds": report.duration_milliseconds,
        },
        Place(pod.agent, pod.epoch, call["round"], call["step"]),
    )
    ledger.save()


def _call_of_turn(work: Work, pod: PodIdentity, call_id: str) -> RowMapping:
    turn = turns.playing(work, pod)
    call = _find(work, pod, call_id)
    if call is None or (call["round"], call["k"]) != (turn.round, turn.k):
        raise UnknownCall(
            f"no answer of turn {turn.k} of agent {pod.agent} of {pod.namespace}/{pod.name} asks for call {call_id}"
        )
    return call


def _find(work: Work, pod: PodIdentity, call_id: str) -> RowMapping | None:
    return (
        work.conn.execute(_FIND, {"uid": pod.session_uid, "agent": pod.agent, "call_id": call_id})
        .mappings()
        .one_or_none()
    )


def _update(work: Work, pod: PodIdentity, call: RowMapping, **values: object) -> None:
    work.conn.execute(
        update(tool_calls)
        .where(
            tool_calls.c.session_uid == pod.session_uid,
            tool_calls.c.agent == pod.agent,
            tool_calls.c.round == call["round"],
            tool_calls.c.call_id == call["call_id"],
        )
        .values(**values)
    )
