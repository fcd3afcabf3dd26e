"""`replay`."""

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from agentsessions.cli.failures import QuietExit, UsageFailure
from agentsessions.cli.following import events_so_far
from agentsessions.cli.options import RecordArgument, connect
from agentsessions.cli.story import Story
from agentsessions.cli.terminal import note, say
from agentsessions.client.values import Event

LONGEST_PAUSE_SECONDS = 5.0
"""However long nothing happened: a paused session is not a film."""


def replay(  # typer passes them by name
    ctx: typer.Context,
    session: RecordArgument,
    speed: Annotated[float, typer.Option("--speed", help="Times as fast as it happened; 0 is at once.")] = 1.0,
    is_stepped: Annotated[bool, typer.Option("--step", help="Wait for Enter before each step.")] = False,
    until: Annotated[int | None, typer.Option("--until", min=1, help="Stop behind this step.")] = None,
    is_full: Annotated[bool, typer.Option("--full", help="Print long results whole.")] = False,
) -> None:
    """Play a session again as it happened, faster or step by step.

    It shows what is in the journal; no model is asked and no tool runs.
    """
    if speed < 0:
        raise UsageFailure("--speed is 0 or more: 1 as it happened, 10 ten times as fast, 0 at once")
    if is_stepped and not sys.stdin.isatty():
        raise UsageFailure("--step waits for Enter, and standard input is no terminal: leave it out")
    connection = connect(ctx)
    found = connection.gateway.get(connection.name_of(session))
    story = Story(say, is_full=is_full, with_times=True)
    events = list(events_so_far(connection, found.uid, 0, found.head))
    try:
        for event in paced(events, 0.0 if is_stepped else speed):
            if until is not None and (event.step or 0) > until:
                return
            if is_stepped and event.type == "step_start":
                _await_enter(event)
            story.tell(event)
    except KeyboardInterrupt:
        raise QuietExit(130) from None


def paced(events: list[Event], speed: float) -> Iterator[Event]:
    """Yield events with the pauses that were between them, shortened."""
    before = None
    for event in events:
        if before is not None and event.at is not None and speed > 0:
            pause = (event.at - before).total_seconds() / speed
            time.sleep(max(0.0, min(LONGEST_PAUSE_SECONDS, pause)))
        before = event.at or before
        yield event


def _await_enter(event: Event) -> None:
    note(f"step {event.step}: Enter goes on, Ctrl-C ends")
    sys.stdin.readline()
