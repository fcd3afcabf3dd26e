"""`diff`."""

from datetime import timedelta

import typer

from agentsessions.cli.forms import print_data
from agentsessions.cli.options import DataOption, RecordArgument, connect
from agentsessions.cli.terminal import count, one_line, say, short
from agentsessions.client.figures import Compared, Comparison, Place, Side

SAME = "same"


def diff(ctx: typer.Context, left: RecordArgument, right: RecordArgument, output: DataOption = None) -> None:
    """Compare what two sessions did.

    Step by step: what was thought, called, returned and said; not ids, times and counts. One of another namespace is
    NAMESPACE/NAME.
    """
    connection = connect(ctx)
    sides = [one if "/" in one else connection.name_of(one) for one in (left, right)]
    found = connection.gateway.compare(*sides)
    if not print_data(found, output):
        _print(found)


def _print(found: Comparison) -> None:
    say(f"- {_about(found.left)}", "red")
    say(f"+ {_about(found.right)}", "green")
    for place in found.items:
        if place.difference != SAME:
            _print_place(place)
    summary = found.summary
    say(
        "they did the same"
        if found.is_same
        else f"{summary.same} the same, {summary.changed} changed, {summary.only_left} only on the left, "
        f"{summary.only_right} only on the right",
        "bold",
    )


def _about(one: Compared) -> str:
    took = "" if one.duration_milliseconds is None else f", {short(timedelta(milliseconds=one.duration_milliseconds))}"
    spent = f"{count(one.usage.steps, 'step')}, {one.usage.total_tokens} tokens"
    return f"{one.namespace}/{one.name}: {one.phase}, {spent}{took}"


def _print_place(place: Place) -> None:
    turn = f"step {place.step}" if place.round in {None, 1} else f"round {place.round}, step {place.step}"
    fields = f" ({', '.join(place.fields)})" if place.fields else ""
    say(f"@ {turn} · {place.agent}{fields}", "cyan")
    for mark, style, side in (("-", "red", place.left), ("+", "green", place.right)):
        if side is not None:
            say(f"{mark} {_text(side)}", style)


def _text(side: Side) -> str:
    name = f" {side.name}" if side.name else ""
    return one_line(f"{side.type}{name} {side.text if side.text is not None else '(redacted)'}")
