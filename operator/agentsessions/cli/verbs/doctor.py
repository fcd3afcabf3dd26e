"""`doctor`: prints each check, and what to do where one fails."""

from typing import Annotated, Any

import typer

from agentsessions.cli.checks import choose_checks
from agentsessions.cli.deadlines import deadline
from agentsessions.cli.failures import Failure, QuietExit
from agentsessions.cli.findings import Finding, Level
from agentsessions.cli.forms import print_data
from agentsessions.cli.options import DataOption, connect
from agentsessions.cli.terminal import clean, say

Json = dict[str, Any]
CHECK_SECONDS = 40.0
PROBE_SECONDS = 150.0
MARKS = {Level.GOOD: ("ok     ", "green"), Level.WARNING: ("look   ", "yellow"), Level.BAD: ("broken ", "bold red")}


ProbeOption = Annotated[
    bool,
    typer.Option("--probe", help="Try whether the namespace's network policy is enforced: two pods, some seconds."),
]


def doctor(ctx: typer.Context, output: DataOption = None, *, probe: ProbeOption = False) -> None:
    """Check cluster, product, rights and the way to the gateway, and say what to do.

    Exit code 1 when something is broken.
    """
    connection = connect(ctx)
    seconds = PROBE_SECONDS if probe else CHECK_SECONDS
    found: list[tuple[str, Finding]] = []
    for title, check in choose_checks(is_probing=probe):
        try:
            with deadline(seconds, f"no answer within {seconds:g} s"):
                finding = check(connection)
        except Failure as failure:
            finding = Finding(Level.BAD, str(failure))
        except Exception as error:  # noqa: BLE001  # of the client: one check's trouble is no other's
            finding = Finding(Level.BAD, str(error))
        found.append((title, finding))
        if output is None:
            _print(title, finding)
        if finding.is_end:
            break
    if output is not None:
        rows = [{"check": title, "level": one.level.value, "text": one.text, "todo": one.todo} for title, one in found]
        print_data(rows, output)
    if any(one.level is Level.BAD for _, one in found):
        raise QuietExit


def _print(title: str, finding: Finding) -> None:
    mark, style = MARKS[finding.level]
    say(mark, style, end="")
    say(f"{title}: {clean(finding.text)}")
    for line in finding.todo:
        say(f"         do: {line}")
