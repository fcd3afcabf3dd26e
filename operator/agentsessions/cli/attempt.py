"""What `doctor --probe` runs in its pods: this text is the program, so it imports nothing but the standard library."""

import json
import socket
import sys
import time
from pathlib import Path

LOG = "/dev/termination-log"
CONNECT_SECONDS = 3
PAUSE_SECONDS = 1


def attempt(gateway: tuple[str, int], other: tuple[str, int], patience: float) -> tuple[bool, bool]:
    """Return whether the gateway was reached, and whether the other address still was in the end.

    The gateway comes first: a pod that reaches nothing yet has no network, and proves nothing.
    """
    ends_at = time.monotonic() + patience
    while not (is_gateway := reaches(gateway)) and time.monotonic() < ends_at:
        time.sleep(PAUSE_SECONDS)
    while (is_other := reaches(other)) and time.monotonic() < ends_at:
        time.sleep(PAUSE_SECONDS)
    return is_gateway, is_other


def reaches(address: tuple[str, int]) -> bool:
    """Return whether somebody takes a connection there."""
    try:
        socket.create_connection(address, CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    first, second, seconds = json.loads(sys.argv[1])
    Path(LOG).write_text(json.dumps(attempt(tuple(first), tuple(second), seconds)), encoding="ascii")
