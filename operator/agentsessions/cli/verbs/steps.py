"""`steps`."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from agentsessions.cli.forms import print_data
from agentsessions.cli.options import Output, OutputOption, RecordArgument, connect
from agentsessions.cli.terminal import cut, money, note, one_line, print_table
from agentsessions.client.values import Step

HEADERS = ("STEP", "AGENT", "WHAT", "TIME", "TOKENS", "TEXT")
TEXT_CHARS = 80


class StepType(StrEnum):
    """What a step is."""

    THINKING = "thinking"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    OUTPUT = "output"
    ERROR = "error"


STYLES: dict[str, str] = {
    StepType.ERROR: "red",
    StepType.TOOL_CALL: "yellow",
    StepType.OUTPUT: "bold",
    StepType.THINKING: "dim",
}


def steps(
    ctx: typer.Context,
    session: RecordArgument,
    type_: Annotated[list[StepType] | None, typer.Option("--type", help="Only of this type; repeatable.")] = None,
    output: OutputOption = None,
) -> None:
    """List a session's steps with durations and tokens."""
    connection = connect(ctx)
    found = connection.gateway.steps(connection.name_of(session))
    chosen = [step for step in found if not type_ or step.type in type_]
    if print_data(chosen, output):
        return
    if chosen:
        is_wide = output is Output.WIDE
        print_table(HEADERS, [to_row(step, is_wide=is_wide) for step in chosen], is_wide=is_wide)
    else:
        note("no steps yet")


def to_row(step: Step, *, is_wide: bool) -> list[str | Text]:
    """Return a step as a line."""
    tokens = (step.input_tokens or 0) + (step.output_tokens or 0)
    cost = money(step.cost_micro_usd)
    text = one_line(step.output or _call(step))
    number = f"{step.round}.{step.number}" if step.round > 1 else str(step.number or "")
    return [
        number,
        step.agent or "",
        Text(one_line(step.type), style="red" if step.is_error else STYLES.get(step.type, "")),
        f"{step.duration_milliseconds} ms" if step.duration_milliseconds is not None else "",
        f"{tokens}{f' ({cost})' if cost else ''}" if tokens else "",
        text if is_wide else cut(text, TEXT_CHARS),
    ]


def _call(step: Step) -> str:
    if not step.input:
        return ""
    return f"{step.input.get('name', '')} {step.input.get('arguments', '')}"
