"""Time limits that hold whatever the program is doing: waiting for a program, a socket, a name server."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from agentsessions.cli.failures import TimeoutFailure, UsageFailure

UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
AGAIN_SECONDS: Final = 5.0
"""It rings again: an exception that comes while an object is finalised is lost."""
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


def to_seconds(text: str) -> float:
    """Return the seconds of `90`, `90s`, `5m` or `1h30m`.

    Raises:
        UsageFailure: It is none of these.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageFailure(f"{text!r} is no length of time: write 90s, 5m or 1h30m")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


@contextmanager
def deadline(seconds: float, message: str) -> Iterator[None]:
    """Fail with exit code 124 when the block takes longer; 0 seconds means no limit.

    Raises:
        TimeoutFailure: It did; `message` says what did not come.
    """

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutFailure(message)

    if seconds <= 0:
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
