"""The one function that moves a session.

It decides from scratch on every wake-up: what to create and delete, the status to write, which Event to send, and
when to look again. It keeps nothing between calls, so a crash between any two writes is harmless.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from agentsessions.api.reasons import ConditionType, Phase, Reason
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.lifecycle.checks import CHECKS
from agentsessions.lifecycle.decision import Decision, EventWanted
from agentsessions.lifecycle.facts import Facts
from agentsessions.lifecycle.outcome import Outcome, earliest
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.sites import deadline_of, plan_of
from agentsessions.lifecycle.situation import Situation, read
from agentsessions.lifecycle.sizes import find_growth
from agentsessions.lifecycle.stalls import mark_stalled
from agentsessions.lifecycle.status import build_status

MOVES_TOLD: Final = frozenset({Reason.MIGRATED, Reason.ROLLED_BACK})
WARNINGS: Final = frozenset({Phase.FAILED, Phase.EXPIRED})


def decide(facts: Facts, now: datetime) -> Decision:
    """Return what to do about the session at `now` (aware UTC).

    Raises:
        IllegalMove: A check asked for a move that the table does not have: a bug of ours.
    """
    session = facts.session
    if session.is_deleting:
        return Decision(status=session.status)  # the collector ends its children
    case = read(facts, now)
    growth = find_growth(case)
    if growth is not None:
        return Decision(status=session.status, resize=growth)
    outcome = first_outcome(case)
    if outcome.needs_level or outcome.needs_admission:
        return Decision(status=session.status, needs_level=outcome.needs_level, needs_admission=outcome.needs_admission)
    outcome = _wake_to_move_back(case, _wake_to_expire(case, mark_stalled(case, outcome)))
    if outcome.is_quiet:
        return Decision(status=session.status, wake_at=outcome.wake_at)
    status = build_status(case, outcome)
    return Decision(
        status=status,
        create=outcome.create,
        delete=outcome.delete,
        events=_events(session.status, status, outcome),
        drop=plan_of(case, outcome.phase, outcome.plan).drop,
        wake_at=outcome.wake_at,
        delete_session=outcome.delete_session,
    )


def first_outcome(case: Situation) -> Outcome:
    """Return what the first check that has something to say concludes."""
    for check in CHECKS:
        outcome = check(case)
        if outcome is not None:
            return outcome
    raise AssertionError("the last check always concludes")


def _wake_to_expire(case: Situation, outcome: Outcome) -> Outcome:
    """Return the outcome of a session that stays where it is, with a look at it when it may expire.

    One that is past that and does not expire is kept by something that a change will tell.
    """
    at = case.expires_at
    if at is None or at <= case.now or outcome.phase is not case.phase:
        return outcome
    return replace(outcome, wake_at=earliest(outcome.wake_at, at))


def _wake_to_move_back(case: Situation, outcome: Outcome) -> Outcome:
    """Return the outcome with a look at the session when its move is given up."""
    at = deadline_of(case)
    return outcome if at is None or at <= case.now else replace(outcome, wake_at=earliest(outcome.wake_at, at))


def _events(old: SessionStatus, new: SessionStatus, outcome: Outcome) -> tuple[EventWanted, ...]:
    """Return at most one Event: for a move that is over, a new phase, a new retry, or a new refusal."""
    moved = _reason(new, ConditionType.MIGRATED)
    if new.phase not in TERMINAL and moved in MOVES_TOLD and moved != _reason(old, ConditionType.MIGRATED):
        is_back = moved == Reason.ROLLED_BACK
        return (EventWanted("Warning" if is_back else "Normal", moved, _message(new, ConditionType.MIGRATED)),)
    if new.phase is not old.phase:
        is_problem = outcome.phase in WARNINGS or outcome.next_retry_at is not None or outcome.phase is Phase.PENDING
        word = outcome.reason if is_problem else outcome.phase.value
        return (EventWanted("Warning" if is_problem else "Normal", word, outcome.message),)
    if new.next_retry_at != old.next_retry_at and new.next_retry_at is not None:
        return (EventWanted("Warning", outcome.reason, outcome.message),)
    kind = ConditionType.ACCEPTED if new.phase is Phase.PENDING else ConditionType.READY
    is_told = new.phase is Phase.PENDING or outcome.reason == Reason.POD_REFUSED
    if is_told and _reason(new, kind) != _reason(old, kind):
        return (EventWanted("Warning", outcome.reason, outcome.message),)
    return ()


def _reason(status: SessionStatus, kind: ConditionType) -> str:
    return next((c.reason for c in status.conditions or [] if c.type == kind), "")


def _message(status: SessionStatus, kind: ConditionType) -> str:
    return next((c.message for c in status.conditions or [] if c.type == kind), "")
