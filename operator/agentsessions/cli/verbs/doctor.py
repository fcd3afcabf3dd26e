"""`doctor`: prints each check, and what to do where one fails."""

from typing import Any

import typer

from agentsessions.cli.checks import CHECKS, Finding, Level
from agentsessions.cli.deadlines import deadline
from agentsessions.cli.failures import Failure, QuietExit
from agentsessions.cli.forms import print_data
from agentsessions.cli.options import DataOption, connect
from agentsessions.cli.terminal import clean, say

Json = dict[str, Any]
CHECK_SECONDS = 40.0
MARKS = {Level.GOOD: ("ok     ", "green"), Level.WARNING: ("look   ", "yellow"), Level.BAD: ("broken ", "bold red")}


def doctor(ctx: typer.Context, output: DataOption = None) -> None:
    """Check cluster, product, rights and the way to the gateway, and say what to do.

    Exit code 1 when something is broken.
    """
    connection = connect(ctx)
    found: list[tuple[str, Finding]] = []
    for title, check in CHECKS:
        try:
            with deadline(CHECK_SECONDS, f"no answer within {CHECK_SECONDS:g} s"):
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
