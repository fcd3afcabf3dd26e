"""`export` and `import`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from agentsessions.cli.failures import Failure, UsageFailure
from agentsessions.cli.forms import print_data
from agentsessions.cli.options import DataOption, RecordArgument, connect
from agentsessions.cli.terminal import note, say

STANDARD = "-"
SUFFIX = ".jsonl.zst"


def export_session(
    ctx: typer.Context,
    session: RecordArgument,
    file: Annotated[
        str | None, typer.Option("-f", "--file", help="Where to; - is standard output, NAME.jsonl.zst by default.")
    ] = None,
    is_forced: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a session with its whole journal to a file.

    JSON Lines, compressed with zstd; `zstdcat FILE` shows it.
    """
    connection = connect(ctx)
    name = connection.name_of(session)
    target = Path(file or f"{name}{SUFFIX}")
    if file == STANDARD and sys.stdout.isatty():
        raise UsageFailure("the file is binary, and standard output is a terminal: give -f FILE, or a pipe")
    if file != STANDARD and target.exists() and not is_forced:
        raise Failure(f"{target} is there already: give another name with -f, or --force")
    document = connection.gateway.export(name)
    if file == STANDARD:
        sys.stdout.buffer.write(document)
        return
    try:
        target.write_bytes(document)
    except OSError as error:
        raise Failure(f"{target} cannot be written: {error.strerror}") from error
    say(str(target))
    note(f"{len(document)} bytes; read it anywhere: kubectl agentsession import {target}")


def import_session(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="File of `export`; - is standard input.")],
    output: DataOption = None,
) -> None:
    """Store an exported session in this cluster's journal.

    It is checked first, and can then be read as one whose resource was deleted.
    """
    try:
        document = sys.stdin.buffer.read() if file == STANDARD else Path(file).read_bytes()
    except OSError as error:
        raise UsageFailure(f"{file} cannot be read: {error.strerror}") from error
    found = connect(ctx).gateway.import_(document)
    if print_data(found, output):
        return
    say(f"{found.namespace}/{found.name}: {found.head} entries")
    note(f"see it: kubectl agentsession logs {found.uid} -n {found.namespace}")
