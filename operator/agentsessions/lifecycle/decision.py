"""What a decision says: children wanted, the status to write, Events, when to look again."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.lifecycle.facts import PodView

GRACE_SECONDS: Final = 30
"""Time that a pod gets between SIGTERM and SIGKILL."""
KILL_SECONDS: Final = 1
"""The shortest. With 0 the pod's object goes at once, while the kubelet gives its containers all of `GRACE_SECONDS`,
and on a node that is cut off they run on: with 1 an object that is gone proves that they are."""


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
    delete: tuple[PodUnwanted, ...] = ()
    """Applied before `create`, so that an agent never has two pods."""
    create: tuple[PodWanted, ...] = ()
    events: tuple[EventWanted, ...] = ()
    wake_at: datetime | None = None
    needs_level: bool = False
    """Whether a level read from the store now would settle what is open; decide again with it."""
    needs_admission: bool = False
    """Whether the session wants a pod and the namespace's queue must be asked; decide again with its answer."""
    delete_session: bool = False
    """Whether the resource itself is to be deleted: its time after the end is over."""


def unwanted(
    pods: Iterable[PodView], *, grace_seconds: int = GRACE_SECONDS, again: bool = False
) -> tuple[PodUnwanted, ...]:
    """Return orders to delete `pods`; those already being deleted only `again`, to shorten their grace."""
    seconds = max(grace_seconds, KILL_SECONDS)
    return tuple(PodUnwanted(pod.name, pod.uid, seconds) for pod in pods if again or not pod.is_deleting)
