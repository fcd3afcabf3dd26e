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

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import bindparam, select

from agentsessions.api.v1alpha1.approval import ApprovalKind, ApprovalOutcome, ApprovalTerms
from agentsessions.api.v1alpha1.policy import RuleAction
from agentsessions.api.wire import SideEffect, ToolBegin, ToolSettle, ToolVerdict, Verdict
from agentsessions.journal import approvals, fences, prepared, replays, situations, turns
from agentsessions.journal.asked_calls import read_asked
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.refusals import UnknownCall
from agentsessions.journal.rows import Columns, PodIdentity
from agentsessions.journal.situations import Situation
from agentsessions.journal.tables import tool_calls
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.policies import FREE, Ruling

_FIND: Final = Prepared(
    select(tool_calls).where(
        tool_calls.c.session_uid == bindparam("uid"),
        tool_calls.c.agent == bindparam("agent"),
        tool_calls.c.call_id == bindparam("call_id"),
    )
)
_KEY: Final = ("session_uid", "agent", "round", "call_id")
_VERDICT_OF: Final = {ApprovalKind.APPROVAL: Verdict.ASK, ApprovalKind.DOUBT: Verdict.IN_DOUBT}


@dataclass(frozen=True, slots=True)
class _Case:
    """A call of the open turn."""

    pod: PodIdentity
    found: Situation
    call: Columns
    ledger: Ledger

    @property
    def work(self) -> Work:
        """The job's."""
        return self.ledger.work

    @property
    def place(self) -> Place:
        """Where its entries belong."""
        return Place(self.pod.agent, self.pod.epoch, self.call["round"], self.call["step"])

    def find_question(self) -> Columns | None:
        """Return the newest question about it."""
        return approvals.find(self.work, self.pod, self.call) if self.found.has_questions else None

    def update(self, **values: object) -> None:
        """Change its row."""
        of_call = {name: self.call[name] for name in _KEY}
        prepared.change(self.work, tool_calls, of_call, **values)


def begin(work: Work, pod: PodIdentity, found: Situation, asked: ToolBegin, ruling: Ruling = FREE) -> ToolVerdict:
    """Say whether to run a call. A call with a recorded result is not run again.

    Args:
        work: The transaction.
        pod: Who asks.
        found: How its session stands.
        asked: The call.
        ruling: What the policies say to it.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        UnknownCall: The answer of the open turn has no such call.
    """
    fences.check_open(pod, found.epoch)
    case = _find_case(work, pod, found, asked.call_id)
    call = case.call
    if call["name"] != asked.name:
        raise UnknownCall(f"call {asked.call_id} is for tool {call['name']}, not {asked.name}")
    if call["output"] is not None:
        return ToolVerdict(verdict=Verdict.RECORDED, output=call["output"])
    replay = replays.read(found.origin)
    recorded = None if replay is None else replays.find_result(work.conn, replay, call, asked.side_effect)
    if recorded is not None and recorded.output is not None:
        _record(case, recorded.output, is_error=recorded.is_error)
        return ToolVerdict(verdict=Verdict.RECORDED, output=recorded.output)
    return _judge(case, asked, ruling)


def _judge(case: _Case, asked: ToolBegin, ruling: Ruling) -> ToolVerdict:
    """Say what becomes of a call that has no result."""
    question, epoch, begun = case.find_question(), case.pod.epoch, case.call["begun_epoch"]
    if question is not None and question["outcome"] is None:
        approvals.note_asked_again(case.work, case.pod, question)
        return ToolVerdict(verdict=_VERDICT_OF[ApprovalKind(question["request"]["kind"])])
    if question is not None and question["used_epoch"] in {None, epoch}:
        return _obey(case, asked, question)
    if begun is None:
        return _begin_first(case, asked, ruling)
    if begun != epoch and SideEffect.EXTERNAL in {case.call["side_effect"], asked.side_effect}:
        return _doubt(case, asked, question, by=f"the pod of epoch {begun}")
    return _run(case, asked)


def doubt(work: Work, pod: PodIdentity, asked: ToolBegin) -> ToolVerdict:
    """Ask people about a call of this epoch whose gateway is gone, unless it has its result.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        UnknownCall: The answer of the open turn has no such call.
    """
    found = situations.find(work, pod)
    fences.check_open(pod, found.epoch)
    case = _find_case(work, pod, found, asked.call_id)
    if case.call["output"] is not None:
        return ToolVerdict(verdict=Verdict.RECORDED, output=case.call["output"])
    return _doubt(case, asked, case.find_question(), by="a gateway")


def _begin_first(case: _Case, asked: ToolBegin, ruling: Ruling) -> ToolVerdict:
    """Do what the policies say to a call that no epoch has begun."""
    _journal_findings(case, ruling)
    match ruling.action:
        case RuleAction.ALLOW:
            return _run(case, asked)
        case RuleAction.ASK:
            return _ask(case, asked, ruling)
        case RuleAction.DENY:
            return _deny(case, _words_of(case.call, ruling))


def _run(case: _Case, asked: ToolBegin) -> ToolVerdict:
    epoch = case.pod.epoch
    if (case.call["begun_epoch"], case.call["side_effect"]) != (epoch, asked.side_effect):
        case.update(begun_epoch=epoch, side_effect=SideEffect(asked.side_effect).value)
    return ToolVerdict(verdict=Verdict.RUN)


def _obey(case: _Case, asked: ToolBegin, question: Columns) -> ToolVerdict:
    """Do what people decided."""
    match ApprovalOutcome(question["outcome"]):
        case ApprovalOutcome.APPROVED | ApprovalOutcome.RUN_AGAIN:
            if question["used_epoch"] is None:
                case.update(run_by=None)  # whoever made it before, it is to be made now
            approvals.note_used(case.work, case.pod, question)
            return _run(case, asked)
        case ApprovalOutcome.HAPPENED:
            output = question["output"] or ""
            _record(case, output, is_error=False)
            return ToolVerdict(verdict=Verdict.RECORDED, output=output)
        case ApprovalOutcome.DENIED | ApprovalOutcome.WITHDRAWN:
            why = f": {question['reason']}" if question["reason"] else ""
            return _deny(case, f"{case.call['name']}: the call was denied, and did not run{why}")


def _deny(case: _Case, text: str) -> ToolVerdict:
    _record(case, text, is_error=True)
    return ToolVerdict(verdict=Verdict.DENY, output=text)


def _ask(case: _Case, asked: ToolBegin, ruling: Ruling) -> ToolVerdict:
    finding = ruling.decisive
    if finding is None:
        raise AssertionError("a ruling that asks has a rule that does")
    terms = finding.terms or ApprovalTerms()
    lasts, now = terms.expire_after_seconds, case.work.now
    request = approvals.to_request(
        case.call,
        ApprovalKind.APPROVAL,
        _arguments(case, asked),
        1,
        policy=finding.policy,
        rule=finding.rule,
        message=finding.message or f"rule {finding.rule} of AgentPolicy {finding.policy} asks for approval",
        quorum=terms.quorum,
        barred=ruling.barred,
        asked_at=now,
        expires_at=None if lasts is None else now + timedelta(seconds=lasts),
        on_expiry=None if lasts is None else terms.on_expiry,
    )
    approvals.ask(case.ledger, case.pod, case.call, request)
    return ToolVerdict(verdict=Verdict.ASK)


def _doubt(case: _Case, asked: ToolBegin, before: Columns | None, *, by: str) -> ToolVerdict:
    """Ask whether a call happened; `before` is what was asked about it last, `by` who began it."""
    number = 1 if before is None else before["number"] + 1
    message = (
        f"{by} began the call and ended before its result was recorded: nobody knows whether it happened. Look, then "
        "answer Happened with its output, or RunAgain"
    )
    request = approvals.to_request(
        case.call, ApprovalKind.DOUBT, _arguments(case, asked), number, message=message, asked_at=case.work.now
    )
    approvals.ask(case.ledger, case.pod, case.call, request)
    return ToolVerdict(verdict=Verdict.IN_DOUBT)


def _arguments(case: _Case, asked: ToolBegin) -> str:
    """Return the arguments as the model wrote them: people decide about these, not about what the pod says."""
    return read_asked(case.work.conn, case.pod.session_uid, case.pod.agent, asked.call_id) or asked.arguments


def _journal_findings(case: _Case, ruling: Ruling) -> None:
    """Tell what rules said to a call: once, as what follows from it is written in the same transaction."""
    for finding in ruling.findings:
        body = {
            "callId": case.call["call_id"],
            "name": case.call["name"],
            "action": finding.action.value,
            "policy": finding.policy,
            "rule": finding.rule,
            "message": finding.message,
            "dryRun": finding.is_dry_run,
        }
        case.ledger.append(EntryType.POLICY_DECISION, body, case.place)
    case.ledger.save()


def _words_of(call: Columns, ruling: Ruling) -> str:
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
    found = situations.find(work, pod)
    if not is_own:
        fences.check_current(pod, found.epoch)
    call = _find(work, pod, report.call_id)
    if call is not None and call["output"] is not None:
        return
    case = _to_case(work, pod, found, report.call_id, call)
    _record(case, report.output, is_error=report.is_error, milliseconds=report.duration_milliseconds)


def _record(case: _Case, output: str, *, is_error: bool, milliseconds: int = 0) -> None:
    """Journal a result. In a replay the model is shown the recorded one, if this is another."""
    case.update(output=output, is_error=is_error, duration_milliseconds=milliseconds)
    if case.found.has_questions:
        approvals.withdraw(case.work, case.pod, case.call)
    replay = replays.read(case.found.origin)
    shown = {} if replay is None else replays.shown_instead(case.work.conn, replay, case.call, output)
    body = {
        "callId": case.call["call_id"],
        "name": case.call["name"],
        "output": output,
        "isError": is_error,
        "durationMilliseconds": milliseconds,
        **shown,
    }
    case.ledger.append(EntryType.TOOL_RESULT, body, case.place)
    case.ledger.save()


def _find_case(work: Work, pod: PodIdentity, found: Situation, call_id: str) -> _Case:
    return _to_case(work, pod, found, call_id, _find(work, pod, call_id))


def _to_case(work: Work, pod: PodIdentity, found: Situation, call_id: str, call: Columns | None) -> _Case:
    turn = turns.playing(pod, found)
    if call is None or (call["round"], call["k"]) != (turn.round, turn.k):
        raise UnknownCall(
            f"no answer of turn {turn.k} of agent {pod.agent} of {pod.namespace}/{pod.name} asks for call {call_id}"
        )
    return _Case(pod, found, call, found.open_ledger(work))


def _find(work: Work, pod: PodIdentity, call_id: str) -> Columns | None:
    return _FIND.row(work, uid=pod.session_uid, agent=pod.agent, call_id=call_id)
