"""When to ask again, and when to give up. Pure: the time is an argument."""

from dataclasses import dataclass
from typing import Final

PASSING: Final = frozenset({425, 429, 502, 503, 504})
"""Statuses that pass."""
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 3.0


@dataclass(slots=True)
class Patience:
    """One request's tries."""

    seconds: float
    """How long to go on after the first failure in a row."""
    _failing_since: float | None = None
    _pause: float = FIRST_PAUSE_SECONDS

    def note_success(self) -> None:
        """Start from the beginning: it went well."""
        self._failing_since = None
        self._pause = FIRST_PAUSE_SECONDS

    def pause_after_failure(self, now: float, asked: float | None = None) -> float | None:
        """Return how long to wait before the next try; None to give up.

        Args:
            now: Monotonic seconds.
            asked: Pause that the gateway asked for.
        """
        if self._failing_since is None:
            self._failing_since = now
        pause = self._pause if asked is None else asked
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return pause if now + pause - self._failing_since <= self.seconds else None
