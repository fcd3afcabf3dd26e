"""Limits that a session reached, and what its spec wants to become of it then."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agentsessions.api.reasons import LimitName, Phase, StopReason
from agentsessions.api.v1alpha1.life import OnLimit
from agentsessions.lifecycle.decision import unwanted
from agentsessions.lifecycle.outcome import Outcome, failed
from agentsessions.lifecycle.phases import can_move
from agentsessions.lifecycle.situation import Situation

TIMEOUT: Final = "timeout"
"""Name of the limit of active time in `onLimit`: the operator measures it, all others the gateway."""
STOP_REASON_OF_LIMIT: Final = {
    LimitName.STEPS: StopReason.STEP_LIMIT,
    LimitName.TOKENS: StopReason.TOKEN_LIMIT,
    LimitName.TOOL_CALLS: StopReason.TOOL_CALL_LIMIT,
    LimitName.COST: StopReason.COST_LIMIT,
}
LIMIT_STOPS: Final = frozenset({*STOP_REASON_OF_LIMIT.values(), StopReason.TIMEOUT})
"""Stop reasons that a raised limit would lift."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A limit that the session reached."""

    stop_reason: StopReason
    message: str
    action: OnLimit


def find_reached(case: Situation) -> Reached | None:
    """Return the limit that stops the session now: one that the gateway found, else its active time."""
    level = case.level
    if level is not None and level.limit_reached is not None:
        message = level.limit_message or f"limit {level.limit_reached} is reached"
        action = case.effective.on_limit.of(level.limit_reached)
        return Reached(STOP_REASON_OF_LIMIT[level.limit_reached], message, action)
    return _find_timeout(case)


def _find_timeout(case: Situation) -> Reached | None:
    seconds = case.effective.limits.timeout_seconds
    if seconds is None or not (case.active >= timedelta(seconds=seconds) or _is_beyond(case, seconds)):
        return None
    message = f"{seconds} s of active time are used up: raise spec.limits.timeoutSeconds for more"
    return Reached(StopReason.TIMEOUT, message, case.effective.on_limit.of(TIMEOUT))


def _is_beyond(case: Situation, seconds: int) -> bool:
    """Tell whether the phase has lasted far beyond the active time, whatever became of the gateway."""
    if case.phase is not Phase.RUNNING:
        return False
    return case.in_phase - case.idle_in_phase >= timedelta(seconds=seconds) + case.facts.deadlines.outer_bound


def is_over_limit(case: Situation) -> Outcome | None:
    """A limit is reached and the session is to fail or to complete; a pause is `pauses.is_pause_requested`'s."""
    if case.phase in {Phase.PAUSED, Phase.PENDING, Phase.QUEUED} or case.row is None:
        return None  # nothing runs that could go further; who raises the limit finds it as it is
    reached = find_reached(case)
    if reached is None or reached.action is OnLimit.PAUSE:
        return None
    pods = unwanted(case.remaining_pods)
    may_complete = not case.effective.rules.is_sealed  # there is no last answer to seal
    if reached.action is OnLimit.COMPLETE and may_complete and can_move(case.phase, Phase.COMPLETED):
        return Outcome(
            Phase.COMPLETED,
            reached.stop_reason,
            f"completed with what there is: {reached.message}"[:1024],
            stop_reason=reached.stop_reason,
            row=case.ended_row,
            delete=pods,
            needs_level=case.is_level_wanted,
        )
    return failed(reached.stop_reason, reached.message, delete=pods) if can_move(case.phase, Phase.FAILED) else None
