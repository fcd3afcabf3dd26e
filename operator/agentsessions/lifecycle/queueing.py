"""Who waits for a place in a namespace, and in which order.

The order: higher priority first; then the session whose owner would have the fewest places if everybody before it had
got theirs; then the older one; then by name. A session without owner counts for one owner, the same for all of them.

That is what comes of giving one place after the other to the owner who then has the fewest. Within one owner sessions
wait by priority, age and name, and the n-th of them is served when its owner has n - 1 places more than now. So the
whole order is one sort by (priority, places that the owner then has, age, name), and the place of one session is
counted by bisection, without looking at all that wait.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.lifecycle.facts import SessionView

HOLDING: Final = frozenset({Phase.STARTING, Phase.RUNNING, Phase.PAUSING, Phase.CANCELLING})
"""Phases in which a session holds a place. One with a pod that may still run does so in every phase."""

_PLACE: Final = "place "
_Key = tuple[int, datetime, str]


@dataclass(frozen=True, slots=True)
class Waiter:
    """A session that waits for a place."""

    uid: str
    name: str
    owner: str
    """Empty for none."""
    priority: int
    created_at: datetime
    is_first_start: bool
    """Whether it never started before: only such starts are counted per minute."""

    @property
    def key(self) -> _Key:
        """Its place among those of its owner."""
        return (-self.priority, self.created_at, self.name)


@dataclass(frozen=True, slots=True)
class Ahead:
    """How many wait before a session."""

    total: int
    first_starts: int
    """Of them, those that never started before."""


class Line:
    """The sessions of one namespace that wait."""

    def __init__(self) -> None:
        self._waiters: dict[str, Waiter] = {}
        self._owners: dict[str, list[tuple[_Key, str]]] = {}  # sorted; keys differ, as names do
        self._returning = 0

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def has_returning(self) -> bool:
        """Whether anybody waits who has started before."""
        return self._returning > 0

    def get(self, uid: str) -> Waiter | None:
        """Return the session with `uid`, if it waits."""
        return self._waiters.get(uid)

    def put(self, waiter: Waiter) -> bool:
        """Let a session wait as it now is; tell whether that changes anything."""
        known = self._waiters.get(waiter.uid)
        if known == waiter:
            return False
        if known is not None:
            self.remove(waiter.uid)
        self._waiters[waiter.uid] = waiter
        insort(self._owners.setdefault(waiter.owner, []), (waiter.key, waiter.uid))
        self._returning += not waiter.is_first_start
        return True

    def remove(self, uid: str) -> bool:
        """Let a session wait no more; tell whether it did."""
        waiter = self._waiters.pop(uid, None)
        if waiter is None:
            return False
        queue = self._owners[waiter.owner]
        del queue[bisect_left(queue, (waiter.key, uid))]
        if not queue:
            del self._owners[waiter.owner]
        self._returning -= not waiter.is_first_start
        return True

    def ahead_of(self, uid: str, active: Mapping[str, int]) -> Ahead:
        """Count who is served before a session that waits.

        Args:
            uid: The session's.
            active: Places that each owner has now.
        """
        waiter = self._waiters[uid]
        own = bisect_left(self._owners[waiter.owner], (waiter.key, uid))
        served_at = active.get(waiter.owner, 0) + own
        counts = {
            owner: own if owner == waiter.owner else _count_before(queue, waiter.key, served_at - active.get(owner, 0))
            for owner, queue in self._owners.items()
        }
        total = sum(counts.values())
        if not self._returning:
            return Ahead(total, total)
        before = (uid for owner, count in counts.items() for _, uid in islice(self._owners[owner], count))
        return Ahead(total, sum(self._waiters[uid].is_first_start for uid in before))

    def in_order(self, active: Mapping[str, int]) -> Iterator[Waiter]:
        """Iterate over who waits, first served first; lazily, so that the first few cost little."""
        queues = (_ranked(queue, active.get(owner, 0)) for owner, queue in self._owners.items())
        return (self._waiters[uid] for *_, uid in heapq.merge(*queues))


def _count_before(queue: list[tuple[_Key, str]], key: _Key, level: int) -> int:
    """Count who of another owner is served before a session with `key`.

    Args:
        queue: Who waits of that owner, sorted.
        key: The session's.
        level: How many of them are served before its owner has the fewest places.
    """
    priority = key[0]
    first = bisect_left(queue, priority, key=lambda entry: entry[0][0])  # all before it have a higher priority
    end = bisect_left(queue, priority + 1, key=lambda entry: entry[0][0])
    count = min(max(level, first), end)
    is_level_with = count == level and count < end
    return count + 1 if is_level_with and queue[count][0] < key else count


def _ranked(queue: list[tuple[_Key, str]], places: int) -> Iterator[tuple[int, int, datetime, str, str]]:
    for index, ((priority, created_at, name), uid) in enumerate(queue):
        yield priority, places + index, created_at, name, uid


def to_waiter(session: SessionView) -> Waiter:
    """Return the session as one that waits."""
    spec, status = session.spec, session.status
    return Waiter(
        uid=session.uid,
        name=session.name,
        owner=spec.owner or "",
        priority=spec.priority or 0,
        created_at=session.created_at,
        is_first_start=not status.agents and status.started_at is None,
    )


def is_waiting(session: SessionView) -> bool:
    """Tell whether a session waits for a place by what its status says: queued, or stopped by a hold."""
    status = session.status
    is_stopped = status.phase is Phase.PAUSED and status.stop_reason is StopReason.EMERGENCY
    is_wanted = session.spec.operating_mode is OperatingMode.RUNNING and not session.is_deleting
    return is_wanted and (status.phase is Phase.QUEUED or is_stopped)


def tell_place(position: int, why: str) -> str:
    """Return what a session at `position` (from 1) says of itself."""
    return f"{_PLACE}{position} in the queue: {why}"


def keep_place(before: str, now: str) -> str:
    """Return what to write of a session that says `before`: its place alone is not worth a write."""
    is_same = before.startswith(_PLACE) and before.partition(": ")[2] == now.partition(": ")[2]
    return before if is_same else now
