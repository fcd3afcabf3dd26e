"""`send`."""

import sys
from typing import Annotated

import typer

from agentsessions.cli.deadlines import deadline, to_seconds
from agentsessions.cli.failures import UsageFailure
from agentsessions.cli.forms import print_data
from agentsessions.cli.options import DataOption, SessionArgument, TimeoutOption, connect
from agentsessions.cli.terminal import clean, note, say
from agentsessions.client.values import Message, Reply


def send(  # typer passes them by name
    ctx: typer.Context,
    session: SessionArgument,
    text: Annotated[list[str], typer.Argument(help="What to say; - reads standard input.")],
    is_awaited: Annotated[bool, typer.Option("--wait", help="Wait for the answer and print it.")] = False,
    key: Annotated[str | None, typer.Option("--key", help="Said again with the same key, it is one message.")] = None,
    timeout: TimeoutOption = "2m",
    output: DataOption = None,
) -> None:
    """Say something to a session.

    It is stored for good when the command ends well. Exit code 124 when --wait saw no answer within --timeout.
    """
    said = sys.stdin.read() if text == ["-"] else " ".join(text)
    if not said.strip():
        raise UsageFailure("there is nothing to say: give TEXT, or - and text on standard input")
    connection = connect(ctx)
    with deadline(
        to_seconds(timeout), f"no answer within {timeout}; the message is stored, and its answer will be too"
    ):
        name = connection.name_of(session)
        if is_awaited:
            reply = connection.gateway.conversation(name).send(said, timeout=to_seconds(timeout) or 86_400.0, key=key)
            value: Reply | Message = reply
            shown = clean(reply.output)
        else:
            message = connection.gateway.send(name, said, key=key)
            value = message
            shown = f"message {message.id} is {message.state or 'stored'}"
    if print_data(value, output):
        return
    say(shown)
    if not is_awaited:
        note(f"see the answer: kubectl agentsession logs -f {name} -n {connection.namespace}")
