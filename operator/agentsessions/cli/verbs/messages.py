"""`messages`."""

from typing import Annotated

import typer

from agentsessions.cli.forms import print_data
from agentsessions.cli.options import Output, OutputOption, RecordArgument, connect
from agentsessions.cli.terminal import age, cut, note, one_line, print_table
from agentsessions.client.values import Message

HEADERS = ("AGE", "ROLE", "STATE", "WHO", "TEXT")
TEXT_CHARS = 90


def messages(
    ctx: typer.Context,
    session: RecordArgument,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only so many of the newest messages.")] = None,
    output: OutputOption = None,
) -> None:
    """List what was said to a session, and by it.

    STATE: queued (no turn has it yet), taken (a turn shows it to the model), answered.
    """
    connection = connect(ctx)
    found = connection.gateway.messages(connection.name_of(session))
    chosen = found if tail is None else found[max(0, len(found) - tail) :]
    if print_data(chosen, output):
        return
    if output is Output.NAME:
        for message in chosen:
            typer.echo(message.id)
    elif not chosen:
        note("nothing was said yet")
    else:
        is_wide = output is Output.WIDE
        print_table(HEADERS, [to_row(message, is_wide=is_wide) for message in chosen], is_wide=is_wide)


def to_row(message: Message, *, is_wide: bool) -> list[str]:
    """Return a message as a line."""
    text = one_line(f"{message.tool_name or ''} {message.content or ''}")
    return [
        age(message.created_at),
        message.role,
        message.state or "",
        message.actor or message.agent or "",
        text if is_wide else cut(text, TEXT_CHARS),
    ]
