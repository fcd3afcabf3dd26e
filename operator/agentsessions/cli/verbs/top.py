"""`top`."""

import sys
import time
from typing import Annotated

import typer

from agentsessions.cli.connection import Connection
from agentsessions.cli.deadlines import to_seconds
from agentsessions.cli.live import Frame, Meter, Row
from agentsessions.cli.options import EverywhereOption, connect
from agentsessions.cli.terminal import age, money, one_line, print_table, say

HEADERS = ("NAME", "PHASE", "TOKENS/S", "TOKENS", "STEPS", "COST", "AGE", "GOAL")
GOAL_CHARS = 40
MOST = 200
"""Sessions on the screen: who has more looks for some with `list`."""


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
    from agentsessions.cli.screen import Top  # noqa: PLC0415  # half a second that a frame alone saves

    Top(lambda: look(connection, namespace, meter), max(0.5, to_seconds(interval))).run()


def look(connection: Connection, namespace: str, meter: Meter) -> Frame:
    """Return what is to be seen now."""
    found = connection.gateway.list(namespace=namespace, limit=MOST, sort="-createdAt")
    return meter.look([one for one in found if not one.is_final], time.monotonic())


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
        goal if len(goal) <= GOAL_CHARS else f"{goal[: GOAL_CHARS - 1]}…",
    ]
