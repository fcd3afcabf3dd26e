"""Sessions that end together: a director and those that name it. What a decision on one of them knows of the others."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.phases import TERMINAL

LONGEST_GRACE: Final = timedelta(hours=1)
"""The most that `shutdown.gracePeriodSeconds` may be."""


class DirectorState(StrEnum):
    """What became of the director that a session names."""

    NONE = "none"
    """It names none, or one that is not there yet."""
    LIVE = "live"
    CANCELLED = "cancelled"
    """It is being cancelled, or was, or is deleted: who names it is cancelled as well, and first where that is left."""
    ENDED = "ended"
    """It ended in another way: who names it finishes what is to be done, and ends."""
    PAUSED = "paused"
    """People paused it, and with it the sessions that it started."""


@dataclass(frozen=True, slots=True)
class Member:
    """Another session that it ends with or before, as it was last seen."""

    name: str
    spec: SessionSpec
    status: SessionStatus
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Ties:
    """What a session's end depends on."""

    director: DirectorState = DirectorState.NONE
    departments: tuple[str, ...] = ()
    """Of a director: names of those that name it and have not ended."""
    departments_ended_at: datetime | None = None
    """When the last of the others ended."""
    longest_grace: timedelta = timedelta(0)
    """The longest time that one of those which have not ended gives its agents to end."""


NO_TIES: Final = Ties()


def judge_director(director: Member | None, phase: Phase | None, parent_uid: str = "") -> DirectorState:
    """Return what became of the director that a session names.

    Args:
        director: As it was last seen; None when it is not there.
        phase: Of the session that names it. It leaves Pending only once the director is there.
        parent_uid: Of a session that a director started: that director. Nobody else waits for it: it ends with it
            however that ends, and stands still with it.
    """
    is_another = director is not None and parent_uid not in {"", director.uid}
    if director is None or is_another:
        return DirectorState.NONE if phase in {None, Phase.PENDING} else DirectorState.CANCELLED
    if director.status.phase in TERMINAL - {Phase.CANCELLED}:
        return DirectorState.CANCELLED if parent_uid else DirectorState.ENDED
    ends = {Phase.CANCELLING, Phase.CANCELLED}
    if director.spec.operating_mode is OperatingMode.CANCELLED or director.status.phase in ends:
        return DirectorState.CANCELLED
    is_paused = parent_uid != "" and director.spec.operating_mode is OperatingMode.PAUSED
    return DirectorState.PAUSED if is_paused else DirectorState.LIVE


def gather_departments(members: Collection[Member]) -> Ties:
    """Return the ties of a director."""
    left = [member for member in members if member.status.phase not in TERMINAL]
    ended = [member.status.finished_at for member in members if member.status.finished_at is not None]
    return Ties(
        departments=tuple(sorted(member.name for member in left)),
        departments_ended_at=max(ended, default=None),
        longest_grace=max((_grace_of(member.spec) for member in left), default=timedelta(0)),
    )


def _grace_of(spec: SessionSpec) -> timedelta:
    """Return the longest time that a session gives its agents; what its template says of it is not seen here."""
    return resolve(spec).shutdown_grace if spec.template_ref is None else LONGEST_GRACE
