"""What became of the processes that a test started."""

import os
import select
from pathlib import Path

PATIENCE_MILLISECONDS = 10_000


def has_ended(pid_file: Path) -> bool:
    """Whether the process with the id in the file has ended, or does so at once: a kill takes effect a moment later."""
    try:
        process = os.pidfd_open(int(pid_file.read_text()))
    except ProcessLookupError:
        return True
    try:
        ending = select.poll()
        ending.register(process, select.POLLIN)
        return bool(ending.poll(PATIENCE_MILLISECONDS))
    finally:
        os.close(process)
