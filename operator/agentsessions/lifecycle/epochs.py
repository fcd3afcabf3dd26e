"""One epoch after another: which pod is to exist, and what its end means.

The journal's closing record counts, not the exit code. An epoch that committed no turn counts as a retry; one that
did resets the count. The old pod is fenced by the next epoch's row, so it need not be gone first.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from agentsessions.api.reasons import ConditionType, ErrorCode, Phase, Reason
from agentsessions.api.v1alpha1.status import AgentStatus, SessionError
from agentsessions.api.wire import Outcome as TurnOutcome
from agentsessions.lifecycle.decision import PodWanted, unwanted
from agentsessions.lifecycle.effective import LONGEST_GAP
from agentsessions.lifecycle.facts import PodView
from agentsessions.lifecycle.outcome import Outcome, failed
from agentsessions.lifecycle.phases import can_move
from agentsessions.lifecycle.queueing import keep_place
from agentsessions.lifecycle.retry import LOST, Action, next_try_at, rule_of
from agentsessions.lifecycle.sites import Plan, plan_next, site_key
from agentsessions.lifecycle.situation import INACTIVE, EpochState, Situation
from agentsessions.lifecycle.waits import ORDINARY_WAITS, explain_refusal, explain_wait, is_same_wait

OVER = frozenset({EpochState.ENDED.value, EpochState.LOST.value})


def conclude(case: Situation) -> Outcome:
    """Say what the agent's current epoch means for the session."""
    if case.epoch_state is EpochState.FAILED and not _is_idle_over(case):
        return replace(stay(case), delete=unwanted(case.own_pods))  # the journal has not taken note of it yet
    if not case.has_work and can_move(case.phase, Phase.IDLE):
        return _idle(case)
    if case.phase in INACTIVE or case.phase is Phase.PAUSING or _is_idle_over(case):
        return start_next(case)
    match case.epoch_state:
        case EpochState.NONE:
            return start_next(case)
        case EpochState.STARTING | EpochState.RUNNING:
            return _watch(case)
        case EpochState.ENDED | EpochState.LOST:
            return _judge_end(case)
        case _:
            raise AssertionError("a failed agent was judged before")


def _is_idle_over(case: Situation) -> bool:
    """Tell whether the epoch was closed for want of work, and there is some now."""
    return case.closing is not None and case.closing.outcome in {TurnOutcome.IDLE, TurnOutcome.HANDOFF}


def _idle(case: Situation) -> Outcome:
    """Nothing to do: no pod is held. A message or the time of the next round begins the next epoch."""
    due_at = case.next_round_at
    message = "waits for a message" if due_at is None else f"the next round begins at {due_at:%Y-%m-%d %H:%M:%S} UTC"
    return Outcome(
        Phase.IDLE,
        Reason.IDLE,
        message,
        row=case.ended_row,
        retries=0 if case.row else None,
        delete=unwanted(case.own_pods),
        wake_at=due_at,
    )


def _watch(case: Situation) -> Outcome:
    """A live pod: Starting until its container runs, then Running."""
    pod, row = case.pod, case.row
    if pod is None or row is None:
        raise AssertionError("a live epoch has a pod and a row")
    # None is left by a pass that went well; an operator that was late may have made one for an epoch long over.
    older = unwanted(other for other in case.own_pods if other.epoch < row.epoch)
    if case.epoch_state is EpochState.RUNNING:
        row = row.model_copy(update={"state": EpochState.RUNNING.value})
        is_waiting = case.level is not None and case.level.idle_since is not None  # costs no active time
        message = f"agent {row.name} runs in pod {pod.name}, epoch {row.epoch}"
        outcome = Outcome(Phase.RUNNING, Phase.RUNNING, message, row=row, delete=older)
        return _wait(case, pod, outcome) if is_waiting else replace(outcome, wake_at=_time_is_up_at(case))
    reason, message = Reason.AWAITING_POD.value, f"pod {pod.name} starts"
    if is_same_wait(pod, reason_now(case)):
        reason, message = reason_now(case), message_now(case)
    elif pod.waiting_reason not in ORDINARY_WAITS:
        reason, message = pod.waiting_reason, explain_wait(pod, case.agent, case.facts.session.spec)
    wake_at = case.start_began_at + case.facts.deadlines.starting
    return Outcome(Phase.STARTING, reason, message[:1024], delete=older, wake_at=wake_at)


def _time_is_up_at(case: Situation) -> datetime | None:
    """Return when active time is used up, if the agent works on."""
    timeout = case.effective.limits.timeout_seconds
    if timeout is None:
        return None
    return case.now + max(timedelta(seconds=timeout) - case.active, timedelta(seconds=1))


def _wait(case: Situation, pod: PodView, running: Outcome) -> Outcome:
    """The agent has nothing to do now. A runner that hangs never lets the gateway end that, so it is told here."""
    since = (case.level.idle_since if case.level else None) or case.now
    late_at = since + max(case.effective.idle, LONGEST_GAP) + case.facts.deadlines.awaiting_journal
    if case.now < late_at:
        return replace(running, wake_at=late_at)
    message = (
        f"agent {pod.agent} waits, and pod {pod.name} does not end though it should: delete the pod to go on in another"
    )
    return replace(running, message=message, is_stalled=True)


def _judge_end(case: Situation) -> Outcome:
    """The pod is gone or over without a final answer: wait for the journal, try again, or fail."""
    if case.next_retry_at is not None:
        if case.now < case.next_retry_at:
            return _wait_for_retry(case)
        return start_next(case)
    if case.is_level_wanted:
        return stay(case, needs_level=True)
    if case.epoch_state is EpochState.ENDED and not case.facts.journal.is_reachable:
        return _await_journal(case)
    return _retry_or_fail(case)


def _await_journal(case: Situation) -> Outcome:
    """Only the journal knows how the pod ended; say so, and say when that takes too long."""
    pod = case.pod
    ended_at = (pod.finished_at if pod else None) or case.now
    late_at = ended_at + case.facts.deadlines.awaiting_journal
    return Outcome(
        case.phase,
        Reason.AWAITING_JOURNAL,
        "the pod has ended; the gateway, which knows how, cannot be reached",
        is_settling=True,
        is_stalled=case.now >= late_at,
        wake_at=None if case.now >= late_at else late_at,
    )


def _retry_or_fail(case: Situation) -> Outcome:
    """Count the failure by what the epoch achieved, and by the class of its error."""
    error = _error_of(case)
    rule = rule_of(error.code)
    if rule.action is not Action.RETRY:
        return failed(rule.stop_reason, error.message, error=error)
    is_known = case.facts.journal.is_fresh and case.level is not None
    has_progress = is_known and case.epoch_turns > 0
    retries = 0 if has_progress else case.retries + (1 if is_known else 0)
    if retries > case.effective.max_retries:
        message = f"{retries} epochs in a row failed without a committed turn; the last: {error.message}"
        return failed(rule.stop_reason, message[:1024], error=error, retries=retries)
    if has_progress and error.code in LOST:
        return start_next(case, retries=retries, error=error)
    state = case.epoch_state.value
    row = case.row and case.row.model_copy(update={"state": state})
    asked = case.closing.retry_at if case.closing else None
    due = next_try_at(case.effective, retries, case.facts.jitter, now=case.now, not_before=asked)
    message = f"epoch {row.epoch if row else 0} ended: {error.message}; trying again"
    return Outcome(
        Phase.STARTING,
        Reason.RETRYING,
        message[:1024],
        row=row,
        error=error,
        retries=retries,
        next_retry_at=due,
        wake_at=due,
    )


def _error_of(case: Situation) -> SessionError:
    """Return what ended the epoch: the journal's word, else what the pod shows."""
    closing, pod = case.closing, case.pod
    if closing is not None and closing.code is not None:
        return SessionError(code=closing.code, message=(closing.message or closing.code)[:1024])
    if pod is not None and pod.is_node_lost:
        why = f"pod {pod.name} was lost with its node ({pod.message})"
        return SessionError(code=ErrorCode.NODE_LOST, message=why[:1024])
    if case.epoch_state is EpochState.ENDED and pod is not None and pod.exit_code is None and pod.waiting_reason:
        why = f"pod {pod.name} could not start: {pod.waiting_reason} {pod.message}".rstrip()
        return SessionError(code=ErrorCode.RUNNER_ERROR, message=why[:1024])
    if case.epoch_state is EpochState.ENDED and pod is not None:
        why = f"pod {pod.name} ended with exit code {pod.exit_code} and without closing its epoch"
        if pod.message:
            why += f" ({pod.message})"
        return SessionError(code=ErrorCode.RUNNER_ERROR, message=why[:1024])
    name = case.row.pod_name if case.row else "?"
    return SessionError(code=ErrorCode.POD_LOST, message=f"pod {name} was lost before its epoch was closed")


def _wait_for_retry(case: Situation) -> Outcome:
    """Nothing changes until the next try is due."""
    return stay(case, next_retry=True)


def start_next(case: Situation, *, retries: int | None = None, error: SessionError | None = None) -> Outcome:
    """Begin the next epoch: adopt the pod that is there, else ask for one."""
    if not can_move(case.phase, Phase.STARTING):
        return stay(case)
    epoch = case.row.epoch + 1 if case.row else 1
    plan, pod = plan_next(case), case.newer_pod
    if pod is not None and pod.site != site_key(plan.site):
        pod = None  # made for a place that is not wanted any more
    if plan.copy_from is not None and not case.facts.journal.is_fresh:
        return stay(case, needs_level=case.is_level_wanted)  # only the journal knows how many steps were completed
    if pod is None and case.phase in INACTIVE:
        refused = _ask_for_room(case)
        if refused is not None:
            return refused
    if pod is None and case.facts.refusal:
        return _tell_refusal(case, plan, retries=retries, error=error)
    row = _row_of(case.agent.name, pod) if pod else None
    return Outcome(
        Phase.STARTING,
        Reason.AWAITING_POD,
        f"pod {pod.name} starts" if pod else "a pod is being created",
        row=row,
        retries=retries,
        error=error,
        delete=unwanted(other for other in case.own_pods if other is not pod),
        create=() if pod else (PodWanted(case.host, epoch, plan.site, plan.copy_from),),
        plan=plan,
        wake_at=(pod.created_at if pod else case.now) + case.facts.deadlines.starting,
    )


def _ask_for_room(case: Situation) -> Outcome | None:
    """Return what becomes of a session that the namespace's queue was not asked for, or has no room for."""
    admission = case.facts.admission
    if admission is None:
        return stay(case, needs_admission=True)
    if admission.is_admitted:
        return None
    return Outcome(Phase.QUEUED, admission.reason, keep_place(message_now(case), admission.message[:1024]))


def _tell_refusal(case: Situation, plan: Plan, *, retries: int | None, error: SessionError | None) -> Outcome:
    """The API server refuses the next pod: say so, and ask again until it takes it or the deadline of Starting.

    `nextRetryAt` stays at the first refusal: so the end of the last epoch is not judged, and counted, once more, and
    asking again writes nothing. The deadline counts from it.
    """
    row = case.row
    if row is not None and row.state not in OVER:
        row = row.model_copy(update={"state": case.epoch_state.value})
    return Outcome(
        Phase.STARTING,
        Reason.POD_REFUSED,
        explain_refusal(case.agent.name, case.facts.refusal),
        row=row,
        retries=retries,
        error=error,
        next_retry_at=case.next_retry_at or case.now,
        plan=plan,
        wake_at=case.now + case.facts.deadlines.recheck,
    )


def _row_of(agent: str, pod: PodView) -> AgentStatus:
    return AgentStatus(name=agent, epoch=pod.epoch, pod_name=pod.name, pod_uid=pod.uid, state=EpochState.STARTING.value)


def stay(
    case: Situation, *, needs_level: bool = False, needs_admission: bool = False, next_retry: bool = False
) -> Outcome:
    """Return an outcome that changes nothing."""
    due = case.next_retry_at if next_retry else None
    return Outcome(
        case.phase,
        reason_now(case),
        message_now(case),
        stop_reason=case.status.stop_reason,
        error=case.status.error,
        next_retry_at=due,
        wake_at=due,
        needs_level=needs_level,
        needs_admission=needs_admission,
        is_unchanged=True,
    )


def reason_now(case: Situation) -> str:
    """Return the reason that status shows now."""
    return next((c.reason for c in case.status.conditions or [] if c.type == ConditionType.READY), case.phase.value)


def message_now(case: Situation) -> str:
    """Return the message that status shows now."""
    return next((c.message for c in case.status.conditions or [] if c.type == ConditionType.READY), "")
