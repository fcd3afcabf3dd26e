"""Shell completion: for kubectl's plugin mechanism (`kubectl_complete-agentsession`), and names of sessions for any.

kubectl runs the program with the words so far, the unfinished one last, and reads one completion per line and, in the
end, `:` with a directive: 4 says that no file names fit.
"""

import os
import shlex
import sys
from contextlib import suppress
from typing import Any, Final

NO_FILES: Final = ":4"
PATIENCE_SECONDS: Final = 2.0
PROGRAM: Final = "agentsession"


def main() -> None:
    """Print what may come next, a line each, with a tab and a description where there is one."""
    words = sys.argv[1:] or [""]
    # The protocol of typer's own completion script for fish, whose lines are what kubectl reads.
    os.environ["_AGENTSESSION_COMPLETE"] = "complete_fish"
    os.environ["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    os.environ["_TYPER_COMPLETE_ARGS"] = f"{PROGRAM} {shlex.join(words[:-1])} {words[-1]}"
    with suppress(SystemExit, Exception):  # a completion that fails says nothing: it must not spoil the prompt
        _complete()
    sys.stdout.write(f"{NO_FILES}\n")


def _complete() -> None:
    from agentsessions.cli.main import program  # noqa: PLC0415  # a failure to load is one to complete

    program().main(args=[], prog_name=PROGRAM)


def session_names(given: dict[str, Any], incomplete: str) -> list[str]:
    """Return names of sessions that begin so; nothing when the cluster does not answer in time."""
    from agentsessions.cli.connection import LATEST, Connection, Given  # noqa: PLC0415  # only when a shell asks
    from agentsessions.cli.deadlines import deadline  # noqa: PLC0415
    from agentsessions.cli.failures import Failure  # noqa: PLC0415
    from agentsessions.cli.kube import SESSIONS  # noqa: PLC0415

    connection = Connection(Given(**given))
    try:
        with deadline(PATIENCE_SECONDS, ""):
            known = [item["name"] for item in connection.kube.list_metadata(SESSIONS, connection.namespace)]
    except Failure:
        known = []
    return [name for name in [LATEST, *sorted(known)] if name.startswith(incomplete)]
