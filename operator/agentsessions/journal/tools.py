"""Tool calls of the open turn: begun, then settled once. Jobs of the writer.

What `begin` says, first that holds:
- a recorded result, its own or that of the session that it does once more: RECORDED;
- a question about the call that nobody decided yet: ASK or IN_DOUBT again;
- a decision: RUN, DENY, or the result that a person gave;
- begun by an earlier epoch, with an effect outside of the session: IN_DOUBT, as nobody knows whether it happened
  (likewise, by `doubt`, when the gateway that made it is gone);
- begun before: RUN, whatever policies say now, for it may have run;
- what the policies say: RUN, ASK or DENY.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy import RowMapping, bindparam, select

from agentsessions.api.v1alpha1.approval import ApprovalKind, ApprovalOutcome, ApprovalTerms
from agentsessions.api.v1alpha1.policy import RuleAction
from agentsessions.api.wire import SideEffect, ToolBegin, ToolSettle, ToolVerdict, Verdict
from agentsessions.journal import approvals, fences, prepared, replays, turns
from agentsessions.journal.asked_calls import read_asked
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.refusals import UnknownCall
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.tables import tool_calls
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.policies import FREE, Ruling

_FIND: Final = select(tool_calls).where(
    tool_calls.c.session_uid == bindparam("uid"),
    tool_calls.c.agent == bindparam("agent"),
    tool_calls.c.call_id == bindparam("call_id"),
)

_VERDICT_OF: Final = {ApprovalKind.APPROVAL: Verdict.ASK, ApprovalKind.DOUBT: Verdict.IN_DOUBT}


def begin(work: Work, pod: PodIdentity, asked: ToolBegin, ruling: Ruling = FREE) -> ToolVerdict:
    """Say whether to run a call. A call with a recorded result is not run again.

    Args:
        work: The transaction.
        pod: Who asks.
        asked: The call.
        ruling: What the policies say to it.

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
    recorded = replays.find_result(work.conn, pod, call, asked.side_effect)
    if recorded is not None and recorded.output is not None:
        _record(work, pod, call, recorded.output, is_error=recorded.is_error)
        return ToolVerdict(verdict=Verdict.RECORDED, output=recorded.output)
    return _judge(work, pod, call, asked, ruling)


def _judge(work: Work, pod: PodIdentity, call: RowMapping, asked: ToolBegin, ruling: Ruling) -> ToolVerdict:
    """Say what becomes of a call that has no result."""
    question = approvals.find(work, pod, call)
    if question is not None and question["outcome"] is None:
        approvals.note_asked_again(work, pod, question)
        return ToolVerdict(verdict=_VERDICT_OF[ApprovalKind(question["request"]["kind"])])
    if question is not None and question["used_epoch"] in {None, pod.epoch}:
        return _obey(work, pod, call, asked, question)
    if call["begun_epoch"] is None:
        return _begin_first(work, pod, call, asked, ruling)
    if call["begun_epoch"] != pod.epoch and SideEffect.EXTERNAL in {call["side_effect"], asked.side_effect}:
        return _doubt(work, pod, call, asked, question, by=f"the pod of epoch {call['begun_epoch']}")
    return _run(work, pod, call, asked)


def doubt(work: Work, pod: PodIdentity, asked: ToolBegin) -> ToolVerdict:
    """Ask people about a call of this epoch whose gateway is gone, unless it has its result.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        UnknownCall: The answer of the open turn has no such call.
    """
    fences.require_open(work, pod)
    call = _call_of_turn(work, pod, asked.call_id)
    if call["output"] is not None:
        return ToolVerdict(verdict=Verdict.RECORDED, output=call["output"])
    return _doubt(work, pod, call, asked, approvals.find(work, pod, call), by="a gateway")


def _begin_first(work: Work, pod: PodIdentity, call: RowMapping, asked: ToolBegin, ruling: Ruling) -> ToolVerdict:
    """Do what the policies say to a call that no epoch has begun."""
    _journal_findings(work, pod, call, ruling)
    match ruling.action:
        case RuleAction.ALLOW:
            return _run(work, pod, call, asked)
        case RuleAction.ASK:
            return _ask(work, pod, call, asked, ruling)
        case RuleAction.DENY:
            return _deny(work, pod, call, _words_of(call, ruling))


def _run(work: Work, pod: PodIdentity, call: RowMapping, asked: ToolBegin) -> ToolVerdict:
    if (call["begun_epoch"], call["side_effect"]) != (pod.epoch, asked.side_effect):
        _update(work, pod, call, begun_epoch=pod.epoch, side_effect=SideEffect(asked.side_effect).value)
    return ToolVerdict(verdict=Verdict.RUN)


def _obey(work: Work, pod: PodIdentity, call: RowMapping, asked: ToolBegin, question: RowMapping) -> ToolVerdict:
    """Do what people decided."""
    match ApprovalOutcome(question["outcome"]):
        case ApprovalOutcome.APPROVED | ApprovalOutcome.RUN_AGAIN:
            if question["used_epoch"] is None:
                _update(work, pod, call, run_by=None)  # whoever made it before, it is to be made now
            approvals.note_used(work, pod, question)
            return _run(work, pod, call, asked)
        case ApprovalOutcome.HAPPENED:
            output = question["output"] or ""
            _record(work, pod, call, output, is_error=False)
            return ToolVerdict(verdict=Verdict.RECORDED, output=output)
        case ApprovalOutcome.DENIED | ApprovalOutcome.WITHDRAWN:
            why = f": {question['reason']}" if question["reason"] else ""
            return _deny(work, pod, call, f"{call['name']}: the call was denied, and did not run{why}")


def _deny(work: Work, pod: PodIdentity, call: RowMapping, text: str) -> ToolVerdict:
    _record(work, pod, call, text, is_error=True)
    return ToolVerdict(verdict=Verdict.DENY, output=text)


def _ask(work: Work, pod: PodIdentity, call: RowMapping, asked: ToolBegin, ruling: Ruling) -> ToolVerdict:
    finding = ruling.decisive
    if finding is None:
        raise AssertionError("a ruling that asks has a rule that does")
    terms = finding.terms or ApprovalTerms()
    lasts = terms.expire_after_seconds
    request = approvals.to_request(
        call,
        ApprovalKind.APPROVAL,
        _arguments(work, pod, asked),
        1,
        policy=finding.policy,
        rule=finding.rule,
        message=finding.message or f"rule {finding.rule} of AgentPolicy {finding.policy} asks for approval",
        quorum=terms.quorum,
        barred=ruling.barred,
        asked_at=work.now,
        expires_at=None if lasts is None else work.now + timedelta(seconds=lasts),
        on_expiry=None if lasts is None else terms.on_expiry,
    )
    approvals.ask(work, pod, call, request)
    return ToolVerdict(verdict=Verdict.ASK)


def _doubt(
    work: Work, pod: PodIdentity, call: RowMapping, asked: ToolBegin, before: RowMapping | None, *, by: str
) -> ToolVerdict:
    """Ask whether a call happened; `before` is what was asked about it last, `by` who began it."""
    number = 1 if before is None else before["number"] + 1
    message = (
        f"{by} began the call and ended before its result was recorded: nobody knows whether it happened. Look, then "
        "answer Happened with its output, or RunAgain"
    )
    request = approvals.to_request(
        call, ApprovalKind.DOUBT, _arguments(work, pod, asked), number, message=message, asked_at=work.now
    )
    approvals.ask(work, pod, call, request)
    return ToolVerdict(verdict=Verdict.IN_DOUBT)


def _arguments(work: Work, pod: PodIdentity, asked: ToolBegin) -> str:
    """Return the arguments as the model wrote them: people decide about these, not about what the pod says."""
    return read_asked(work.conn, pod.session_uid, pod.agent, asked.call_id) or asked.arguments


def _journal_findings(work: Work, pod: PodIdentity, call: RowMapping, ruling: Ruling) -> None:
    """Tell what rules said to a call: once, as what follows from it is written in the same transaction."""
    if not ruling.findings:
        return
    ledger = Ledger(work, pod.session_uid)
    for finding in ruling.findings:
        body = {
            "callId": call["call_id"],
            "name": call["name"],
            "action": finding.action.value,
            "policy": finding.policy,
            "rule": finding.rule,
            "message": finding.message,
            "dryRun": finding.is_dry_run,
        }
        ledger.append(EntryType.POLICY_DECISION, body, _place(pod, call))
    ledger.save()


def _words_of(call: RowMapping, ruling: Ruling) -> str:
    finding = ruling.decisive
    if finding is None:
        raise AssertionError("a ruling that denies has a rule that does")
    why = f": {finding.message}" if finding.message else ""
    return f"{call['name']}: rule {finding.rule} of AgentPolicy {finding.policy} denies this call; it did not run{why}"


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
    call = _require_of_turn(work, pod, report.call_id, call)
    _record(work, pod, call, report.output, is_error=report.is_error, milliseconds=report.duration_milliseconds)


def _record(
    work: Work, pod: PodIdentity, call: RowMapping, output: str, *, is_error: bool, milliseconds: int = 0
) -> None:
    """Journal a result. In a replay the model is shown the recorded one, if this is another."""
    _update(work, pod, call, output=output, is_error=is_error, duration_milliseconds=milliseconds)
    approvals.withdraw(work, pod, call)
    ledger = Ledger(work, pod.session_uid)
    body = {
        "callId": call["call_id"],
        "name": call["name"],
        "output": output,
        "isError": is_error,
        "durationMilliseconds": milliseconds,
        **replays.shown_instead(work.conn, pod, call, output),
    }
    ledger.append(EntryType.TOOL_RESULT, body, _place(pod, call))
    ledger.save()


def _place(pod: PodIdentity, call: RowMapping) -> Place:
    return Place(pod.agent, pod.epoch, call["round"], call["step"])


def _call_of_turn(work: Work, pod: PodIdentity, call_id: str) -> RowMapping:
    return _require_of_turn(work, pod, call_id, _find(work, pod, call_id))


def _require_of_turn(work: Work, pod: PodIdentity, call_id: str, call: RowMapping | None) -> RowMapping:
    turn = turns.playing(work, pod)
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
    key = {"session_uid": pod.session_uid, "agent": pod.agent, "round": call["round"], "call_id": call["call_id"]}
    prepared.change(work.conn, tool_calls, key, **values)
