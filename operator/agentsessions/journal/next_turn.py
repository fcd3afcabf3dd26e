"""What an agent plays next once no turn is open. Jobs of the writer.

An agent goes on after tools, for a message, and when a round is due. Otherwise it waits, as long as a message, a
round or the answer to a command of its may come; a wait that has lasted too long, or would, closes the epoch as idle.
Everything is decided in one transaction: an epoch is closed only by one that finds the inbox empty.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from agentsessions.api.wire import Outcome
from agentsessions.journal import fences, handoffs, inbox, parts, replays, rounds
from agentsessions.journal.open_commands import count_open
from agentsessions.journal.refusals import GoalMissing
from agentsessions.journal.rows import Columns, Course, PodIdentity, Schedule
from agentsessions.journal.situations import Situation
from agentsessions.journal.tables import sessions
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.effective import LONGEST_GAP


@dataclass(frozen=True, slots=True)
class Begin:
    """A turn is to be pinned."""

    round: int
    k: int
    replay: replays.Replay | None = None
    """Of which session it is a turn done once more."""


@dataclass(frozen=True, slots=True)
class Gap:
    """There is nothing to play now."""

    round: int
    """Round and number of the turn that comes after the gap."""
    k: int
    left: timedelta
    """How long to wait at most before asking again."""
    closes: bool = False
    """Whether the epoch is not to wait but to end."""


def find_next(work: Work, pod: PodIdentity, found: Situation, course: Course) -> Begin | Gap | None:
    """Return what comes after the newest turn, which is closed; None when nothing ever comes.

    Raises:
        GoalMissing: There is nothing to answer yet.
    """
    newest, replay = found.turn, replays.read(found.origin)
    if replay is not None and course.team is None:
        return _find_in_replay(work, pod, replay, newest)
    if (newest is None or newest["outcome"] == Outcome.HANDOFF) and handoffs.has_been_called(work.conn, pod):
        return Begin(1, 1) if newest is None else Begin(newest["round"], newest["k"] + 1)
    if newest is not None and newest["outcome"] == Outcome.CONTINUE:
        return Begin(newest["round"], newest["k"] + 1)
    queued = count_queued(work, pod, course)
    if newest is None:
        return _find_first(work, pod, found, course, queued)
    return _find_behind(work, pod, newest, course, queued)


def _find_behind(work: Work, pod: PodIdentity, newest: Columns, course: Course, queued: int) -> Begin | Gap | None:
    if course.schedule is not None:
        return _find_in_rounds(work, newest, course.schedule, queued)
    if queued:
        return Begin(newest["round"], newest["k"] + 1)
    waited = work.now - newest["closed_at"]
    goes_on = course.is_open or _awaits_departments(work, pod, course)
    return _wait_for_message(newest["round"], newest["k"] + 1, waited, course) if goes_on else None


def count_queued(work: Work, pod: PodIdentity, course: Course) -> int:
    """Return how many messages wait for the pod's agent to begin a turn."""
    if not parts.listens(work.conn, pod, course.team):
        return 0
    return inbox.count_queued(work, pod.session_uid)


def _find_in_replay(work: Work, pod: PodIdentity, replay: replays.Replay, newest: Columns | None) -> Begin | None:
    if newest is None:
        return Begin(1, 1, replay)
    goes_on = replays.has_next(work.conn, replay, pod, newest, newest["outcome"])
    return Begin(newest["round"], newest["k"] + 1, replay) if goes_on else None


def _find_first(work: Work, pod: PodIdentity, found: Situation, course: Course, queued: int) -> Begin | Gap | None:
    if found.usage["has_goal"]:
        return Begin(1, 1)
    if _has_goal_to_come(work, pod):
        raise GoalMissing(f"the goal message of {pod.namespace}/{pod.name} is not stored yet; set_goal_message first")
    if queued:
        return Begin(1, 1)
    fenced_at = fences.check_current(pod, found.epoch)["fenced_at"]
    return _wait_for_message(1, 1, work.now - fenced_at, course) if course.is_open else None


def _has_goal_to_come(work: Work, pod: PodIdentity) -> bool:
    row = work.conn.execute(select(sessions.c.goal, sessions.c.spec).where(sessions.c.uid == pod.session_uid)).one()
    return bool(row.goal or row.spec.get("context"))


def _wait_for_message(round_: int, k: int, waited: timedelta, course: Course) -> Gap:
    left = course.idle - waited
    return Gap(round_, k, left, closes=left <= timedelta())


def _find_in_rounds(work: Work, newest: Columns, schedule: Schedule, queued: int) -> Begin | Gap | None:
    ahead = rounds.look_ahead(work, newest["session_uid"], schedule)
    going_on = Begin(newest["round"], newest["k"] + 1)
    if queued and not ahead.is_complete:
        return going_on
    if ahead.due_at is not None and ahead.due_at <= work.now:
        return Begin(ahead.number, 1)
    if queued:
        return going_on
    if ahead.due_at is None:
        return None
    left = ahead.due_at - work.now
    return Gap(ahead.number, 1, left, closes=left > LONGEST_GAP)


def has_more(work: Work, pod: PodIdentity, course: Course) -> bool:
    """Return whether a session goes on after a text that it just answered."""
    if count_queued(work, pod, course) or _awaits_departments(work, pod, course):
        return True
    if course.is_open:
        return parts.listens(work.conn, pod, course.team)
    if course.schedule is None:
        return False
    return rounds.look_ahead(work, pod.session_uid, course.schedule).due_at is not None


def _awaits_departments(work: Work, pod: PodIdentity, course: Course) -> bool:
    return course.delegates and count_open(work.conn, pod.session_uid) > 0
