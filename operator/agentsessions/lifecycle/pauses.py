"""Pauses: by people, by a namespace that is held, by a limit. The session keeps everything but its pod.

Who causes the pause decides how long the step under way may take. When the cause is gone, the session goes on.
"""

from dataclasses import dataclass
from datetime import timedelta

from agentsessions.api.reasons import Phase, Reason, StopReason
from agentsessions.api.v1alpha1.approval import OnExpiry
from agentsessions.api.v1alpha1.life import OnLimit
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.lifecycle import epochs
from agentsessions.lifecycle.approvals import is_expired
from agentsessions.lifecycle.decision import unwanted
from agentsessions.lifecycle.limits import find_reached
from agentsessions.lifecycle.outcome import Outcome
from agentsessions.lifecycle.phases import can_move
from agentsessions.lifecycle.situation import INACTIVE, Situation

AT_ONCE = timedelta(0)


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a session is to stand still, and how fast."""

    stop_reason: StopReason
    doing: str
    """Message while the pod ends."""
    done: str
    """Message once it is paused."""
    grace: timedelta
    """Time for the step under way."""


def find_pause(case: Situation) -> Pause | None:
    """Return why the session is to stand still; None when it may run."""
    if case.facts.hold:
        return Pause(StopReason.EMERGENCY, case.facts.hold, case.facts.hold, AT_ONCE)
    if case.mode is OperatingMode.PAUSED:
        grace = AT_ONCE if case.effective.pauses_at_once else case.effective.pause_grace
        return Pause(
            StopReason.USER_PAUSED,
            "pause was asked for: the current turn is being finished",
            _how_to_go_on(case),
            grace,
        )
    late = find_undecided(case)
    if late is not None:
        return late
    reached = find_reached(case) if case.has_begun else None
    stands = case.phase in {Phase.PAUSED, Phase.PAUSING}  # what is paused for whatever reason cannot go beyond a limit
    if reached is None or (reached.action is not OnLimit.PAUSE and not stands):
        return None
    return Pause(reached.stop_reason, f"pausing: {reached.message}", f"paused: {reached.message}", AT_ONCE)


def _how_to_go_on(case: Situation) -> str:
    spec = case.facts.session.spec
    if spec.operating_mode is not OperatingMode.PAUSED and spec.director_ref is not None:
        return f"paused with its director {spec.director_ref.name}, and goes on with it"
    return "paused as asked; set spec.operatingMode to Running to go on"


def find_undecided(case: Situation) -> Pause | None:
    """Return the pause of a session with a call that nobody decided in time, where its rule wants that."""
    pending = case.level.approval_pending if case.level is not None else ()
    late = next((one for one in pending if one.on_expiry is OnExpiry.PAUSE and is_expired(one, case.now)), None)
    if late is None or case.phase is Phase.RUNNING:
        return None  # the other calls of the turn go on
    message = f"paused: nobody decided call {late.call_id} of tool {late.tool} in time; once it is decided, it goes on"
    return Pause(StopReason.APPROVAL_EXPIRED, message, message, AT_ONCE)


def is_pause_requested(case: Situation) -> Outcome | None:
    """Pause lets the turn end, releases the pod, and keeps everything else."""
    pause = find_pause(case)
    if pause is None:
        return _finish_pause(case)
    if pause.stop_reason is StopReason.EMERGENCY and case.phase in INACTIVE - {Phase.PAUSED}:
        is_new = case.phase is Phase.PENDING and case.facts.acceptance.is_accepted
        return Outcome(Phase.QUEUED if is_new else case.phase, Reason.NAMESPACE_HELD, pause.done)
    return _end_pods(case, pause) if case.remaining_pods else _stand_still(case, pause)


def _finish_pause(case: Situation) -> Outcome | None:
    """A pause that nobody wants any more is finished first: its pod is on its way out."""
    epochs_of = {row.name: row.epoch for row in case.status.agents or ()}
    if case.phase is not Phase.PAUSING or not any(p.epoch <= epochs_of.get(p.agent, 0) for p in case.remaining_pods):
        return None
    grace = AT_ONCE if case.effective.pauses_at_once else case.effective.pause_grace
    return _end_pods(case, Pause(StopReason.USER_PAUSED, epochs.message_now(case), "", grace))


def _end_pods(case: Situation, pause: Pause) -> Outcome:
    is_pausing = case.phase is Phase.PAUSING
    since = case.status.phase_started_at if is_pausing else None
    ends_at = (since or case.now) + pause.grace
    has_turn = is_pausing or can_move(case.phase, Phase.PAUSING)
    is_late = case.now >= ends_at or not has_turn  # a pod made just before the pause has no turn to finish
    return Outcome(
        Phase.PAUSING if has_turn else case.phase,
        pause.stop_reason,
        pause.doing[:1024],
        delete=unwanted(case.remaining_pods) if is_late else (),
        wake_at=None if is_late else ends_at,
    )


def _stand_still(case: Situation, pause: Pause) -> Outcome:
    if case.has_begun and case.phase is not Phase.PAUSED and case.is_level_wanted:
        return epochs.stay(case, needs_level=True)  # the last turn may have been the final one
    message = pause.done
    if case.facts.session.spec.workspace is None and case.has_begun:
        message += " (without spec.workspace its files are lost)"
    return Outcome(
        Phase.PAUSED,
        pause.stop_reason,
        message[:1024],
        stop_reason=pause.stop_reason,
        rows=case.ended_rows,
        delete=unwanted(case.facts.pods),
    )
