"""The checks of a session, in order: the first that concludes decides. Order is the meaning.

Each takes a `Situation` and returns an `Outcome`, or None when it has nothing to say. A check never moves a session
where the table does not allow it.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from agentsessions.api.reasons import Phase, Reason, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.lifecycle import epochs, several
from agentsessions.lifecycle.cancels import is_cancel_requested
from agentsessions.lifecycle.decision import unwanted
from agentsessions.lifecycle.limits import is_over_limit
from agentsessions.lifecycle.moves import is_moving
from agentsessions.lifecycle.outcome import Outcome, earliest, failed
from agentsessions.lifecycle.pauses import is_pause_requested
from agentsessions.lifecycle.people import is_waiting_for_person
from agentsessions.lifecycle.phases import TERMINAL, can_move
from agentsessions.lifecycle.seals import is_not_sealed
from agentsessions.lifecycle.sites import deadline_of
from agentsessions.lifecycle.situation import EpochState, Situation
from agentsessions.lifecycle.ties import DirectorState

LINGER: Final = timedelta(seconds=30)
"""Time that a pod may take to end by itself after its session is final."""
ARRIVAL_RECHECK: Final = timedelta(seconds=1)
MAY_ARRIVE: Final = frozenset({
    Reason.PROVIDER_NOT_FOUND, Reason.CONFIG_MAP_NOT_FOUND, Reason.PROVIDER_INVALID, Reason.TEMPLATE_NOT_FOUND,
    Reason.SOURCE_NOT_FOUND, Reason.SOURCE_INVALID, Reason.AWAITING_JOURNAL,
    Reason.DIRECTOR_NOT_FOUND,
})  # fmt: skip
"""Problems that end by themselves when the rest of the same apply arrives."""


def is_final(case: Situation) -> Outcome | None:
    """A final session stays as it is; what still runs of it is ended."""
    if case.phase not in TERMINAL:
        return None
    pods, finished_at = case.remaining_pods, case.status.finished_at or case.now
    ends_at, ttl = finished_at + LINGER, case.facts.session.spec.ttl_seconds_after_finished
    is_over = case.now >= ends_at or case.phase is not Phase.COMPLETED
    deleted_at = None if ttl is None else finished_at + timedelta(seconds=ttl)
    return Outcome(
        case.phase,
        epochs.reason_now(case),
        epochs.message_now(case),
        stop_reason=case.status.stop_reason,
        error=case.status.error,
        pods_remaining=None if case.status.pods_remaining is None else len(pods),
        delete=unwanted(pods) if is_over else (),
        wake_at=earliest(ends_at if pods and not is_over else None, deleted_at),
        delete_session=deleted_at is not None and case.now >= deleted_at,
    )


def is_not_accepted(case: Situation) -> Outcome | None:
    """A session whose references are wrong waits, and is looked at again until they are right."""
    acceptance = case.facts.acceptance
    if acceptance.is_accepted or case.phase is not Phase.PENDING or case.mode is OperatingMode.CANCELLED:
        return None
    if case.expires_at is not None and case.now >= case.expires_at:
        return None
    is_missing = acceptance.reason in MAY_ARRIVE and case.status.phase is None
    if is_missing and case.now - case.facts.session.created_at < case.facts.deadlines.arrival:
        soon = case.now + ARRIVAL_RECHECK
        return Outcome(Phase.PENDING, acceptance.reason, acceptance.message, wake_at=soon, is_quiet=True)
    if case.facts.session.parent_uid and acceptance.reason is not Reason.AWAITING_JOURNAL:
        return failed(StopReason.START_FAILED, acceptance.message)  # its director waits, and can start another one
    wake_at = case.now + case.facts.deadlines.recheck
    return Outcome(Phase.PENDING, acceptance.reason, acceptance.message, wake_at=wake_at)


def is_goal_reached(case: Situation) -> Outcome | None:
    """The journal holds a final answer, or a foreign image ended well after at least one accounted call."""
    if not can_move(case.phase, Phase.COMPLETED) or not case.has_begun:
        return None
    pod, level, is_closed = case.pod, case.level, case.is_done
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
    if (unsealed := is_not_sealed(case)) is not None:
        return unsealed
    return Outcome(
        Phase.COMPLETED,
        StopReason.GOAL_REACHED,
        "the agent gave its final answer",
        stop_reason=StopReason.GOAL_REACHED,
        rows=case.ended_rows,
        needs_level=not is_closed and case.is_level_wanted,
    )


def is_conversation_closed(case: Situation) -> Outcome | None:
    """A person ended the conversation, or its director ended, and every message has its answer."""
    talk, level = case.facts.session.spec.conversation, case.level
    is_left = case.facts.ties.director is DirectorState.ENDED
    if talk is None or (talk.open and not is_left) or case.is_inbox_unknown:
        return None
    if level is not None and level.open_commands > 0:
        return None
    # What nobody will give any more to do need not wait for it.
    is_waiting = is_left and case.phase is Phase.RUNNING and level is not None and level.idle_since is not None
    has_more = case.has_work if case.phase is Phase.IDLE else level is not None and level.inbox_pending > 0
    if not (case.phase is Phase.IDLE or is_waiting) or has_more:
        return None
    return Outcome(
        Phase.COMPLETED,
        StopReason.GOAL_REACHED,
        "its director has ended, and nothing is left to do" if talk.open else "the conversation was closed",
        stop_reason=StopReason.GOAL_REACHED,
        rows=case.ended_rows,
        delete=unwanted(case.facts.pods),
        needs_level=case.is_level_wanted,
    )


def is_expired(case: Situation) -> Outcome | None:
    """Nothing has happened for as long as the session allows."""
    at = case.expires_at
    is_wanted = case.phase is Phase.IDLE and (case.has_work or case.is_inbox_unknown)
    if at is None or case.now < at or is_wanted:
        return None
    message = f"nothing happened for {case.facts.session.spec.expire_after_seconds} s (spec.expireAfterSeconds)"
    return Outcome(
        Phase.EXPIRED,
        StopReason.INACTIVE,
        message,
        stop_reason=StopReason.INACTIVE,
        delete=unwanted(case.facts.pods),
        needs_level=case.is_level_wanted and case.phase is Phase.IDLE,
    )


def is_stuck_starting(case: Situation) -> Outcome | None:
    """A session does not start for ever. How long a move may take is said elsewhere."""
    if deadline_of(case) is not None:
        return None
    if case.team is not None:
        return several.find_stuck(case)
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
    return epochs.conclude(case) if case.team is None else several.conclude(case)


CHECKS: Final[tuple[Callable[[Situation], Outcome | None], ...]] = (
    is_final,
    is_not_accepted,
    is_cancel_requested,
    is_goal_reached,
    is_conversation_closed,
    is_expired,
    is_over_limit,
    is_moving,
    is_pause_requested,
    is_waiting_for_person,
    is_stuck_starting,
    is_anything_else,
)
