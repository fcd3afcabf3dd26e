"""`top`."""

import sys
import time
from typing import Annotated

import typer

from agentsessions.api.reasons import Phase
from agentsessions.cli.connection import Connection
from agentsessions.cli.deadlines import to_seconds
from agentsessions.cli.live import Frame, Meter, Row
from agentsessions.cli.options import EverywhereOption, connect
from agentsessions.cli.terminal import age, cut, money, one_line, print_table, say
from agentsessions.client.values import FINAL_PHASES

HEADERS = ("NAME", "PHASE", "TOKENS/S", "TOKENS", "STEPS", "COST", "AGE", "GOAL")
GOAL_CHARS = 40
OPEN_PHASES = [phase for phase in Phase if phase not in FINAL_PHASES]
MOST = 500
"""Sessions of one page."""


def top(
    ctx: typer.Context,
    is_everywhere: EverywhereOption = False,
    interval: Annotated[str, typer.Option("--interval", help="How often to look.")] = "2s",
    is_once: Annotated[bool, typer.Option("--once", help="Print what there is, and end.")] = False,
) -> None:
    """Show sessions, tokens, cost and queue, full screen.

    Sessions that are over are left out. q leaves. Where there is no terminal it prints once.
    """
    connection = connect(ctx)
    namespace = "*" if is_everywhere else connection.namespace
    meter = Meter()
    if is_once or not sys.stdout.isatty():
        print_frame(look(connection, namespace, meter))
        return
    seconds = max(0.5, to_seconds(interval))
    first = look(connection, namespace, meter)  # what stands in the way is told before the screen is taken
    from agentsessions.cli.screen import Top  # noqa: PLC0415  # half a second that a frame alone saves

    Top(lambda: look(connection, namespace, meter), seconds, first).run()


def look(connection: Connection, namespace: str, meter: Meter) -> Frame:
    """Return what is to be seen now."""
    found = connection.gateway.list(namespace=namespace, phase=OPEN_PHASES, sort="-createdAt", limit=MOST)
    return meter.look(found, time.monotonic())


def print_frame(frame: Frame) -> None:
    """Print one look."""
    say(headline(frame), "bold")
    print_table(HEADERS, [cells(row) for row in frame.rows])


def headline(frame: Frame) -> str:
    """Return the totals on one line."""
    return (
        f"{frame.active} active, {frame.queued} queued, {len(frame.rows)} open; "
        f"{frame.tokens_per_second:.1f} tokens/s; cost so far {money(frame.cost_micro_usd) or '$0'}"
    )


def cells(row: Row) -> list[str]:
    """Return a session as a line."""
    one = row.session
    goal = one_line(one.title or one.goal)
    return [
        one.name,
        one.phase,
        f"{row.tokens_per_second:.1f}",
        str(one.total_tokens),
        str(one.steps),
        money(one.cost_micro_usd),
        age(one.created_at),
        cut(goal, GOAL_CHARS),
    ]
