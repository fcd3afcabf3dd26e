"""`verify`."""

import typer

from agentsessions.cli.failures import QuietExit
from agentsessions.cli.forms import print_data
from agentsessions.cli.options import DataOption, RecordArgument, connect
from agentsessions.cli.terminal import clean, say


def verify(ctx: typer.Context, session: RecordArgument, output: DataOption = None) -> None:
    """Check that a session's journal is whole and unchanged.

    Exit code 1 when it is not.
    """
    connection = connect(ctx)
    found = connection.gateway.verify(connection.name_of(session))
    if print_data(found, output):
        pass
    elif found.ok:
        say(f"whole: {found.head} entries, the newest one's hash is {found.digest}")
    else:
        say(f"not whole: {len(found.problems)} problems in {found.head} entries", "bold red")
        for problem in found.problems:
            say(f"  {clean(problem)}")
    if not found.ok:
        raise QuietExit
