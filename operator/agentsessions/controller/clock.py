"""The operator's time: the wall clock as it stood when the process began, moved on by the monotonic clock.

Deadlines compare instants that this process wrote. When somebody sets the machine's clock by an hour, an hour has not
passed: no session times out, expires or is deleted for that.
"""

import time
from datetime import UTC, datetime, timedelta


class SteadyClock:
    """Calls return the present time (aware UTC); it never jumps."""

    def __init__(self, started_at: datetime | None = None) -> None:
        self._started_at = started_at or datetime.now(UTC)
        self._start = time.monotonic()

    def __call__(self) -> datetime:
        """Return the present time."""
        return self._started_at + timedelta(seconds=time.monotonic() - self._start)
