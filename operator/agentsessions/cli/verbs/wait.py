"""`wait`."""

from typing import Annotated

import typer

from agentsessions.api.reasons import Phase
from agentsessions.cli.deadlines import deadline, to_seconds
from agentsessions.cli.forms import print_object
from agentsessions.cli.options import OutputOption, SessionArgument, TimeoutOption, connect
from agentsessions.cli.outcomes import await_phase
from agentsessions.cli.phases import complete_phase, to_phase
from agentsessions.cli.sessions import phase_of
from agentsessions.cli.terminal import say


def wait(
    ctx: typer.Context,
    session: SessionArgument,
    wanted: Annotated[
        list[str] | None,
        typer.Option(
            "--for", help="Phase to wait for, Completed by default; repeatable.", autocompletion=complete_phase
        ),
    ] = None,
    timeout: TimeoutOption = "5m",
    output: OutputOption = None,
) -> None:
    """Wait until a session is in a phase.

    Exit codes: 0 it is; 1 it ended in another phase, was deleted, or there is none; 2 the command makes no sense; 124
    it did not get there within --timeout.
    """
    phases = frozenset(to_phase(word) for word in wanted or [Phase.COMPLETED])
    seconds = to_seconds(timeout)
    connection = connect(ctx)
    names = " or ".join(sorted(phases))
    remedy = f"`kubectl agentsession get {session} -n {connection.namespace}` says why"
    with deadline(seconds, f"session {session!r} was not {names} within {timeout}: {remedy}"):
        found = await_phase(connection, connection.name_of(session), phases)
    if output is None:
        say(f"agentsession/{found['metadata']['name']} is {phase_of(found)}")
    else:
        print_object(found, output)
