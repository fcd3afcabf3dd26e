"""Cancel: one way, bounded in time, and proven. Grace, then force; then the true number of pods that are left.

A director ends after those that name it: they are cancelled with it, each within its own time, and it waits for them.
"""

from datetime import timedelta
from typing import Final

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.lifecycle import epochs, several
from agentsessions.lifecycle.decision import KILL_SECONDS, unwanted
from agentsessions.lifecycle.outcome import Outcome
from agentsessions.lifecycle.phases import can_move
from agentsessions.lifecycle.situation import Situation
from agentsessions.lifecycle.ties import DirectorState

SHOWN_NAMES: Final = 5


def is_cancel_requested(case: Situation) -> Outcome | None:
    """Cancel ends every pod, then proves it. At the deadline it ends with the true number of pods left."""
    if case.mode is not OperatingMode.CANCELLED and case.phase is not Phase.CANCELLING:
        return None
    if case.facts.ties.departments and not _has_waited(case):
        return _await_departments(case)
    if case.remaining_pods:
        return _end_pods(case)
    if case.has_begun and case.is_level_wanted:
        return epochs.stay(case, needs_level=True)
    is_bought = case.level is not None and case.level.open_calls > 0 and case.facts.journal.is_reachable
    if is_bought and case.has_begun and can_move(case.phase, Phase.CANCELLING) and not _is_late(case):
        return _cancelling(case, "cancel was asked for: model answers under way are being broken off")
    return _cancelled(case)


def _await_departments(case: Situation) -> Outcome:
    """End nothing of a director as long as departments of its are left; they are being ended."""
    names = case.facts.ties.departments
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    is_cancelling = can_move(case.phase, Phase.CANCELLING)
    since = case.status.phase_started_at if case.phase is Phase.CANCELLING else case.now
    return Outcome(
        Phase.CANCELLING if is_cancelling else case.phase,
        StopReason.USER_CANCELLED,
        f"cancel was asked for: first {', '.join(names[:SHOWN_NAMES])}{more} must end{_why(case)}"[:1024],
        pods_remaining=len(case.remaining_pods),
        wake_at=(since or case.now) + _patience(case) if is_cancelling else None,
    )


def _patience(case: Situation) -> timedelta:
    """Return how long a director in Cancelling waits for departments; each of them is forced to end before."""
    return case.facts.ties.longest_grace + 2 * case.facts.deadlines.ending


def _has_waited(case: Situation) -> bool:
    return case.phase is Phase.CANCELLING and case.in_phase >= _patience(case)


def _ending(case: Situation) -> timedelta:
    """Return the time since the session's own pods are being ended."""
    since, before = case.facts.ties.departments_ended_at, case.in_phase
    return before if since is None else max(min(before, case.now - since), timedelta(0))


def _is_late(case: Situation) -> bool:
    bound = case.effective.shutdown_grace + case.facts.deadlines.ending
    return case.phase is Phase.CANCELLING and _ending(case) >= bound


def _end_pods(case: Situation) -> Outcome:
    """End the pods: in good time, by force once that is over, and not for ever."""
    pods = case.remaining_pods
    grace = case.effective.shutdown_grace
    if _is_late(case):
        bound = (grace + case.facts.deadlines.ending).total_seconds()
        message = f"{len(pods)} pod(s) did not end within {bound:.0f} s; they are fenced off"
        return Outcome(
            Phase.CANCELLED,
            StopReason.FORCE_TERMINATED,
            message,
            stop_reason=StopReason.FORCE_TERMINATED,
            pods_remaining=len(pods),
            delete=unwanted(pods, grace_seconds=KILL_SECONDS, again=True),
        )
    is_forced = case.phase is Phase.CANCELLING and _ending(case) >= grace
    seconds = KILL_SECONDS if is_forced else int(grace.total_seconds())
    ended_now = pods if is_forced else several.end_first(case, pods)
    return _cancelling(
        case,
        "cancel was asked for: pods are being ended",
        delete=unwanted(ended_now, grace_seconds=seconds, again=is_forced),
    )


def _cancelling(case: Situation, message: str, **more: object) -> Outcome:
    since = case.now - _ending(case) if case.phase is Phase.CANCELLING else case.now
    force_at = since + case.effective.shutdown_grace
    end_at = force_at + case.facts.deadlines.ending
    return Outcome(
        Phase.CANCELLING if can_move(case.phase, Phase.CANCELLING) else case.phase,
        StopReason.USER_CANCELLED,
        message + _why(case),
        pods_remaining=len(case.remaining_pods),
        wake_at=force_at if case.now < force_at else end_at,
        **more,  # type: ignore[arg-type]  # checked by callers' keywords
    )


def _cancelled(case: Situation) -> Outcome:
    is_forced = case.effective.shutdown_grace.total_seconds() == 0 and case.has_begun
    stop_reason = StopReason.FORCE_TERMINATED if is_forced else StopReason.USER_CANCELLED
    return Outcome(
        Phase.CANCELLED,
        stop_reason,
        "cancelled as asked; no pod is left" + _why(case),
        stop_reason=stop_reason,
        pods_remaining=0,
        rows=case.ended_rows,
    )


def _why(case: Situation) -> str:
    spec = case.facts.session.spec
    if spec.operating_mode is not OperatingMode.CANCELLED and case.facts.ties.director is DirectorState.CANCELLED:
        return f" (with its director {spec.director_ref.name})" if spec.director_ref else ""
    return f" ({spec.shutdown.reason})" if spec.shutdown is not None and spec.shutdown.reason else ""
