"""The command line."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .programs import ProgramsMissing, ensure_programs
from .server import Server, create_folder


def main(words: Sequence[str]) -> int:
    """Run one verb and return the exit status."""
    options = parser().parse_args(words)
    try:
        programs = ensure_programs()
    except ProgramsMissing as error:
        print(error, file=sys.stderr)
        return 1
    return serve(programs, options.folder) if options.verb == "run" else 0


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    found = argparse.ArgumentParser(prog="python3 hack/postgres", description="A PostgreSQL server for development.")
    verbs = found.add_subparsers(dest="verb", required=True)
    verbs.add_parser("install", help="install the Debian package where it is missing")
    text = "run a server in a temporary folder, print the URL of an empty database, remove all at the end"
    verb = verbs.add_parser("run", help=text, description=text)
    verb.add_argument("--folder", type=Path, default=tempfile.gettempdir(), help="where the temporary folder goes")
    return found


def serve(programs: Path, parent: Path) -> int:
    """Run a server that keeps what it acknowledged, until it is told to stop."""
    with create_folder(parent) as folder, Server(programs, folder, is_durable=True) as server:
        server.create_database("journal")
        print(server.url("journal"), flush=True)
        ends = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # only now: the server would inherit it
        signal.sigwait(ends)
    return 0
