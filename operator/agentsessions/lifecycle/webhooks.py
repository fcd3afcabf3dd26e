"""What a SessionWebhook is told of, in which words, and when it is tried again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from agentsessions.api.names import API_VERSION
from agentsessions.api.reasons import Phase

FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(hours=1)
GIVEN_UP_AFTER: Final = timedelta(hours=24)
"""Since the transition."""
TYPE_PREFIX: Final = "dev.agentsessions.session."


@dataclass(frozen=True, slots=True)
class Transition:
    """A session begins a phase."""

    namespace: str
    name: str
    uid: str
    generation: int
    seq: int
    """Of the entry in the journal that tells of it."""
    head: int
    """Of the journal, once it was written."""
    before: Phase | None
    to: Phase
    at: datetime
    reason: str
    message: str
    usage: Mapping[str, int]

    @property
    def id(self) -> str:
        """Identify the transition: in every request about it, to every receiver."""
        return f"{self.uid}-{self.seq}"


def is_wanted(
    match_labels: Mapping[str, str], phases: Sequence[str] | None, labels: Mapping[str, str], to: Phase
) -> bool:
    """Tell whether a webhook wants to hear of a session's phase.

    Args:
        match_labels: Of its selector.
        phases: Those that it names; None for every one.
        labels: The session's.
        to: The phase that begins.
    """
    if phases is not None and to.value not in phases:
        return False
    return all(labels.get(key) == value for key, value in match_labels.items())


def build_body(transition: Transition) -> dict[str, Any]:
    """Return what is posted: a CloudEvent in JSON. Nothing in it comes from the conversation."""
    session = {
        "namespace": transition.namespace,
        "name": transition.name,
        "uid": transition.uid,
        "generation": transition.generation,
    }
    return {
        "specversion": "1.0",
        "id": transition.id,
        "source": f"/apis/{API_VERSION}/namespaces/{transition.namespace}/agentsessions/{transition.name}",
        "type": TYPE_PREFIX + transition.to.value.lower(),
        "subject": f"{transition.namespace}/{transition.name}",
        "time": transition.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "session": session,
            "from": transition.before.value if transition.before else None,
            "to": transition.to.value,
            "reason": transition.reason,
            "message": transition.message,
            "usage": dict(transition.usage),
            "journal": {"head": transition.head},
        },
    }


def wait_after(failures: int, share: float, asked: timedelta = timedelta()) -> timedelta:
    """Return how long to wait after so many failures of one delivery, at most an hour.

    Args:
        failures: From 1.
        share: From 0 to 1, drawn anew each time, so that receivers are not asked in step.
        asked: What the receiver asked for.
    """
    longest = min(FIRST_WAIT * 2.0 ** min(failures - 1, 16), LONGEST_WAIT)
    return min(max(longest * (1 + share) / 2, asked), LONGEST_WAIT)


def is_given_up(since: datetime, next_at: datetime) -> bool:
    """Tell whether a transition is too old to be tried again at an instant."""
    return next_at - since > GIVEN_UP_AFTER
