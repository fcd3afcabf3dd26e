"""What a decision says: children wanted, the status to write, Events, when to look again."""

from dataclasses import dataclass
from datetime import datetime

from agentsessions.api.v1alpha1.status import SessionStatus


@dataclass(frozen=True, slots=True)
class PodWanted:
    """A pod that must exist before the status is written; its uid then goes into the agent's row."""

    agent: str
    epoch: int


@dataclass(frozen=True, slots=True)
class PodUnwanted:
    """A pod that must go."""

    name: str
    uid: str
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class EventWanted:
    """A Kubernetes Event, sent after the status was written."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Output of `decide`. `status` equal to the session's means that nothing is written."""

    status: SessionStatus
    create: tuple[PodWanted, ...] = ()
    delete: tuple[PodUnwanted, ...] = ()
    events: tuple[EventWanted, ...] = ()
    wake_at: datetime | None = None
    needs_level: bool = False
    """Whether a level read from the store now would settle what is open; decide again with it."""
