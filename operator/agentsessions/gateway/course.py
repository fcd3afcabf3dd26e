"""How a session goes on after an answer, from its spec."""

from datetime import timedelta
from typing import Final

from agentsessions.api.v1alpha1 import SessionSpec
from agentsessions.journal.rows import Course, Schedule

DEFAULT_IDLE_SECONDS: Final = 60
DEFAULT_MAX_HISTORY: Final = 50


def course_of(spec: SessionSpec) -> Course:
    """Return what the journal needs to know of a spec to say what comes next."""
    talk, schedule = spec.conversation, spec.schedule
    rounds = None
    if schedule is not None:
        rounds = Schedule(timedelta(seconds=schedule.interval_seconds), timedelta(seconds=schedule.duration_seconds))
    if talk is None:
        return Course(schedule=rounds)
    idle_seconds = DEFAULT_IDLE_SECONDS if talk.idle_seconds is None else talk.idle_seconds
    return Course(
        is_open=bool(talk.open),
        idle=timedelta(seconds=idle_seconds),
        max_history=talk.max_history or DEFAULT_MAX_HISTORY,
        schedule=rounds,
    )
