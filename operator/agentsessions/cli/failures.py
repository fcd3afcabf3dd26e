"""How a command ends badly: one sentence that says what failed and what to do next, and an exit code."""

from typing import Final

FAILED: Final = 1
USAGE: Final = 2
TIMED_OUT: Final = 124
INTERRUPTED: Final = 130


class Failure(Exception):  # noqa: N818  # what a command reports, not an error of the program
    """A command that cannot do what it was asked for."""

    exit_code = FAILED


class UsageFailure(Failure):
    """A command that was asked for something that makes no sense."""

    exit_code = USAGE


class TimeoutFailure(Failure):
    """A command whose time was over."""

    exit_code = TIMED_OUT


class QuietExit(Failure):
    """An end that has been told already."""

    def __init__(self, exit_code: int = FAILED) -> None:
        super().__init__("")
        self.exit_code = exit_code
