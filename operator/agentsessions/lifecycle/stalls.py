"""Deadlines of the phases that others must end: past them the session says by itself that it is stuck, and on what.

Starting and Cancelling end at theirs (`checks`, `cancels`), Running at its active time. Idle, Waiting and Paused
wait for people, and have none but `expireAfterSeconds`.
"""

from dataclasses import replace
from datetime import timedelta

from agentsessions.api.reasons import Phase
from agentsessions.lifecycle.outcome import Outcome, earliest
from agentsessions.lifecycle.situation import Situation


def find_deadline(case: Situation) -> timedelta | None:
    """Return how long the present phase may take until it counts as stuck."""
    deadlines = case.facts.deadlines
    match case.phase:
        case Phase.PENDING:
            return deadlines.pending
        case Phase.QUEUED:
            return deadlines.queued
        case Phase.PAUSING:
            return case.effective.pause_grace + deadlines.ending
        case _:
            return None


def mark_stalled(case: Situation, outcome: Outcome) -> Outcome:
    """Return the outcome of a session that stays where it is, stalled once its phase is past its deadline."""
    deadline = find_deadline(case)
    since = case.status.phase_started_at
    if deadline is None or since is None or outcome.phase is not case.phase:
        return outcome
    late_at = since + deadline
    if case.now >= late_at:
        return replace(outcome, is_stalled=True)
    return replace(outcome, wake_at=earliest(late_at, outcome.wake_at))
