"""The checks of a session, in order: the first that concludes decides. Order is the meaning.

Each takes a `Situation` and returns an `Outcome`, or None when it has nothing to say. A check never moves a session
where the table does not allow it.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from agentsessions.api.reasons import LimitName, Phase, Reason, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.api.wire import Outcome as TurnOutcome
from agentsessions.lifecycle import epochs
from agentsessions.lifecycle.decision import unwanted
from agentsessions.lifecycle.outcome import Outcome, failed
from agentsessions.lifecycle.phases import TERMINAL, can_move
from agentsessions.lifecycle.situation import EpochState, Situation

LINGER: Final = timedelta(seconds=30)
"""Time that a pod may take to end by itself after its session is final."""
ARRIVAL_RECHECK: Final = timedelta(seconds=1)
MAY_ARRIVE: Final = frozenset({Reason.PROVIDER_NOT_FOUND, Reason.CONFIG_MAP_NOT_FOUND, Reason.PROVIDER_INVALID})
"""Problems that end by themselves when the rest of the same apply arrives."""

STOP_REASON_OF_LIMIT: Final = {
    LimitName.STEPS: StopReason.STEP_LIMIT,
    LimitName.TOKENS: StopReason.TOKEN_LIMIT,
    LimitName.TOOL_CALLS: StopReason.TOOL_CALL_LIMIT,
    LimitName.COST: StopReason.COST_LIMIT,
}


def is_final(case: Situation) -> Outcome | None:
    """A final session stays as it is; what still runs of it is ended."""
    if case.phase not in TERMINAL:
        return None
    pods = case.remaining_pods
    ends_at = (case.status.finished_at or case.now) + LINGER
    is_over = case.now >= ends_at or case.phase is not Phase.COMPLETED
    return Outcome(
        case.phase,
        epochs.reason_now(case),
        epochs.message_now(case),
        stop_reason=case.status.stop_reason,
        error=case.status.error,
        pods_remaining=None if case.status.pods_remaining is None else len(pods),
        delete=unwanted(pods) if is_over else (),
        wake_at=ends_at if pods and not is_over else None,
    )


def is_not_accepted(case: Situation) -> Outcome | None:
    """A session whose references are wrong waits, and is looked at again until they are right."""
    acceptance = case.facts.acceptance
    if acceptance.is_accepted or case.phase is not Phase.PENDING or case.mode is OperatingMode.CANCELLED:
        return None
    is_missing = acceptance.reason in MAY_ARRIVE and case.status.phase is None
    if is_missing and case.now - case.facts.session.created_at < case.facts.deadlines.arrival:
        soon = case.now + ARRIVAL_RECHECK
        return Outcome(Phase.PENDING, acceptance.reason, acceptance.message, wake_at=soon, is_quiet=True)
    wake_at = case.now + case.facts.deadlines.recheck
    return Outcome(Phase.PENDING, acceptance.reason, acceptance.message, wake_at=wake_at)


def is_cancel_requested(case: Situation) -> Outcome | None:
    """Cancel ends every pod, then proves it. At the deadline it ends with the true number of pods left."""
    if case.mode is not OperatingMode.CANCELLED and case.phase is not Phase.CANCELLING:
        return None
    pods, deadline = case.remaining_pods, case.facts.deadlines.cancelling
    if pods and case.phase is Phase.CANCELLING and case.in_phase >= deadline:
        message = f"{len(pods)} pod(s) did not end within {deadline.total_seconds():.0f} s; they are fenced off"
        return Outcome(
            Phase.CANCELLED,
            StopReason.FORCE_TERMINATED,
            message,
            stop_reason=StopReason.FORCE_TERMINATED,
            pods_remaining=len(pods),
            delete=unwanted(pods, grace_seconds=0, again=True),
        )
    if pods:
        since = case.status.phase_started_at if case.phase is Phase.CANCELLING else None
        return Outcome(
            Phase.CANCELLING if can_move(case.phase, Phase.CANCELLING) else case.phase,
            StopReason.USER_CANCELLED,
            "cancel was asked for: pods are being ended",
            pods_remaining=len(pods),
            delete=unwanted(pods),
            wake_at=(since or case.now) + deadline,
        )
    return Outcome(
        Phase.CANCELLED,
        StopReason.USER_CANCELLED,
        "cancelled as asked; no pod is left",
        stop_reason=StopReason.USER_CANCELLED,
        pods_remaining=0,
        row=case.row and case.row.model_copy(update={"state": EpochState.ENDED.value}),
        needs_level=case.is_level_wanted and case.row is not None,
    )


def is_goal_reached(case: Situation) -> Outcome | None:
    """The journal holds a final answer, or a foreign image ended well after at least one accounted call."""
    if not can_move(case.phase, Phase.COMPLETED) or case.row is None:
        return None
    closing, pod, level = case.closing, case.pod, case.level
    is_closed = closing is not None and closing.outcome is TurnOutcome.FINAL
    is_foreign_done = (
        case.agent.image is not None
        and case.epoch_state is EpochState.ENDED
        and pod is not None
        and pod.exit_code == 0
        and level is not None
        and level.turns > 0  # replayed answers do not count for the epoch
    )
    if not (is_closed or is_foreign_done):
        return None
    row = case.row.model_copy(update={"state": EpochState.ENDED.value})
    return Outcome(
        Phase.COMPLETED,
        StopReason.GOAL_REACHED,
        "the agent gave its final answer",
        stop_reason=StopReason.GOAL_REACHED,
        row=row,
        needs_level=not is_closed and case.is_level_wanted,
    )


def is_over_limit(case: Situation) -> Outcome | None:
    """The gateway refused a model call because a limit was reached."""
    level = case.level
    if level is None or level.limit_reached is None or not can_move(case.phase, Phase.FAILED):
        return None
    message = level.limit_message or f"limit {level.limit_reached} is reached"
    return failed(STOP_REASON_OF_LIMIT[level.limit_reached], message, delete=unwanted(case.remaining_pods))


def is_over_timeout(case: Situation) -> Outcome | None:
    """Active time is used up; or a pod has run far beyond it, whatever the gateway says."""
    timeout = case.effective.limits.timeout_seconds
    if timeout is None or case.phase is not Phase.RUNNING:
        return None
    pod, bound = case.pod, timedelta(seconds=timeout) + case.facts.deadlines.outer_bound
    is_beyond = pod is not None and pod.started_at is not None and case.now - pod.started_at >= bound
    if case.active < timedelta(seconds=timeout) and not is_beyond:
        return None
    message = f"{timeout} s of active time are used up; raise spec.limits.timeoutSeconds in a new session"
    return failed(StopReason.TIMEOUT, message, delete=unwanted(case.remaining_pods))


def is_pause_requested(case: Situation) -> Outcome | None:
    """Pause lets the turn end, releases the pod, and keeps everything else."""
    epoch = case.row.epoch if case.row else 0
    is_pausing = case.phase is Phase.PAUSING and any(pod.epoch <= epoch for pod in case.remaining_pods)
    if case.mode is not OperatingMode.PAUSED and not is_pausing:
        return None
    if not case.remaining_pods:
        if case.row is not None and case.phase is not Phase.PAUSED and case.is_level_wanted:
            return epochs.stay(case, needs_level=True)  # the last turn may have been the final one
        row = case.row and case.row.model_copy(update={"state": EpochState.ENDED.value})
        message = "paused as asked; set spec.operatingMode to Running to go on"
        if case.facts.session.spec.workspace is None and case.row is not None:
            message += " (without spec.workspace its files are lost)"
        return Outcome(Phase.PAUSED, StopReason.USER_PAUSED, message, stop_reason=StopReason.USER_PAUSED, row=row)
    since = case.status.phase_started_at if case.phase is Phase.PAUSING else None
    deadline = (since or case.now) + case.facts.deadlines.pausing
    has_turn = case.phase is Phase.PAUSING or can_move(case.phase, Phase.PAUSING)
    is_late = case.now >= deadline or not has_turn  # a pod made just before the pause has no turn to finish
    return Outcome(
        Phase.PAUSING if has_turn else case.phase,
        StopReason.USER_PAUSED,
        "pause was asked for: the current turn is being finished",
        delete=unwanted(case.remaining_pods) if is_late else (),
        wake_at=None if is_late else deadline,
    )


def is_stuck_starting(case: Situation) -> Outcome | None:
    """A session does not start for ever."""
    deadline = case.facts.deadlines.starting
    is_late = case.phase is Phase.STARTING and case.now - case.start_began_at >= deadline
    if not is_late or case.epoch_state is EpochState.RUNNING:
        return None
    is_refused = epochs.reason_now(case) == Reason.POD_REFUSED
    if case.epoch_state is EpochState.ENDED and not is_refused:
        return None  # judged by how it ended
    pod = case.pod
    why = f": {pod.waiting_reason} {pod.message}".rstrip() if pod and pod.waiting_reason else ""
    if is_refused:
        why = f": {epochs.message_now(case)}"
    message = f"no pod ran within {deadline.total_seconds():.0f} s{why}"
    return failed(StopReason.START_FAILED, message[:1024], delete=unwanted(case.remaining_pods))


def is_anything_else(case: Situation) -> Outcome:
    """An epoch runs, starts, ended or is to begin."""
    return epochs.conclude(case)


CHECKS: Final[tuple[Callable[[Situation], Outcome | None], ...]] = (
    is_final,
    is_not_accepted,
    is_cancel_requested,
    is_goal_reached,
    is_over_limit,
    is_over_timeout,
    is_pause_requested,
    is_stuck_starting,
    is_anything_else,
)
