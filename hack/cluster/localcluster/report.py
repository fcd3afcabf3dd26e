"""Tell a waiting person, on standard error, what is happening, and how long it took so far."""

import sys
import time

_STARTED_AT = time.monotonic()


class ClusterError(Exception):
    """Say what failed, on what, and what to do: shown without a traceback."""


def say(text: str) -> None:
    """Print one progress line with the seconds since the start of this command."""
    print(f"[{time.monotonic() - _STARTED_AT:6.1f}s] {text}", file=sys.stderr, flush=True)
