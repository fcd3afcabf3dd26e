"""`logs`."""

from typing import Annotated

import typer

from agentsessions.cli.deadlines import deadline, to_seconds
from agentsessions.cli.failures import QuietExit
from agentsessions.cli.following import events_so_far, teller
from agentsessions.cli.options import DataOption, DataOutput, RecordArgument, TimeoutOption, connect
from agentsessions.cli.terminal import note


def logs(  # noqa: PLR0913, PLR0917  # typer passes them by name
    ctx: typer.Context,
    session: RecordArgument,
    is_followed: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the session is over.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only so many of the newest entries.")] = None,
    is_full: Annotated[bool, typer.Option("--full", help="Print long results whole.")] = False,
    with_times: Annotated[bool, typer.Option("--timestamps", help="Print when things happened.")] = False,
    timeout: TimeoutOption = "0",
    output: DataOption = None,
) -> None:
    """Print what a session did; with -f follow it.

    It comes from the journal, and is there when the pods, and the session itself, are not any more. `-o json` prints
    each entry as a line. Exit code 124 when --timeout is over first.
    """
    connection = connect(ctx)
    seconds = to_seconds(timeout)
    tell = teller(as_json=output is DataOutput.JSON, is_full=is_full, with_times=with_times)
    try:
        with deadline(seconds, f"the session was not over within {timeout}; it goes on"):
            found = connection.gateway.get(connection.name_of(session))
            after = 0 if tail is None else max(0, found.head - tail)
            events = (
                connection.gateway.stream(found.uid, after=after)
                if is_followed
                else events_so_far(connection, found.uid, after, found.head)
            )
            for event in events:
                tell(event)
    except KeyboardInterrupt:
        raise QuietExit(130) from None
    if found.deleted_at is not None:
        note(f"the session was deleted at {found.deleted_at:%Y-%m-%d %H:%M:%S}Z; this is its journal")
