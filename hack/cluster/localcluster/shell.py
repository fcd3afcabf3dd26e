"""Run other programs to their end."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .report import ClusterError

_TAIL_LINES = 25


def run(
    argv: Sequence[str | Path],
    *,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Return standard output; a failure carries the last lines of both outputs.

    Raises:
        ClusterError: the program is missing or did not exit with 0.
    """
    try:
        done = subprocess.run(
            [str(part) for part in argv], input=text, capture_output=True, text=True, env=env, cwd=cwd, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{argv[0]} is not installed, or not on PATH") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL_LINES:])
        raise ClusterError(f"`{' '.join(str(part) for part in argv)}` failed with {done.returncode}:\n{tail}")
    return done.stdout


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Return whether the program exists and exits with 0."""
    try:
        return subprocess.run([str(part) for part in argv], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
