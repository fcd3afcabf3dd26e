"""`verify`."""

import typer

from agentsessions.cli.failures import QuietExit
from agentsessions.cli.options import DataOption, DataOutput, RecordArgument, connect
from agentsessions.cli.terminal import clean, print_json, print_yaml, say
from agentsessions.client.decode import encode


def verify(ctx: typer.Context, session: RecordArgument, output: DataOption = None) -> None:
    """Check that a session's journal is whole and unchanged.

    Exit code 1 when it is not.
    """
    connection = connect(ctx)
    found = connection.gateway.verify(connection.name_of(session))
    match output:
        case DataOutput.JSON:
            print_json(encode(found))
        case DataOutput.YAML:
            print_yaml(encode(found))
        case _ if found.ok:
            say(f"whole: {found.head} entries, the newest one's hash is {found.digest}")
        case _:
            say(f"not whole: {len(found.problems)} problems in {found.head} entries", "bold red")
            for problem in found.problems:
                say(f"  {clean(problem)}")
    if not found.ok:
        raise QuietExit
