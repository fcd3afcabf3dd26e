"""When the gateway could not be reached: active time of sessions stops meanwhile."""

from collections import deque
from datetime import datetime, timedelta
from typing import Final

KEPT: Final = 1000
"""Outages remembered; older ones are longer ago than any session is likely to run."""


class Outages:
    """Spans of time, in order, the last of which may still be open."""

    def __init__(self) -> None:
        self._closed: deque[tuple[datetime, datetime]] = deque(maxlen=KEPT)
        self._open_since: datetime | None = None

    def begin(self, at: datetime) -> None:
        """Note that nothing was heard since `at` (aware UTC)."""
        if self._open_since is None:
            self._open_since = at

    def end(self, at: datetime) -> None:
        """Note that the gateway is heard again."""
        if self._open_since is not None:
            self._closed.append((self._open_since, at))
            self._open_since = None

    def within(self, since: datetime, now: datetime) -> timedelta:
        """Return how much of the time from `since` to `now` falls into outages."""
        spans = [*self._closed, *([(self._open_since, now)] if self._open_since is not None else [])]
        overlaps = (min(end, now) - max(start, since) for start, end in spans)
        return sum((overlap for overlap in overlaps if overlap > timedelta(0)), timedelta(0))
