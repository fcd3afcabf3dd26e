"""Following a session's journal, from the first second of its life."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from agentsessions.cli.connection import Connection
from agentsessions.cli.story import Story
from agentsessions.cli.terminal import say
from agentsessions.client.decode import encode
from agentsessions.client.errors import ApiError
from agentsessions.client.values import Event

Tell = Callable[[Event], None]
UNKNOWN_SECONDS: Final = 10.0
"""How long the journal may not know a session that was just created."""
LOOK_SECONDS: Final = 0.2
NOT_FOUND: Final = 404


def teller(*, as_json: bool, is_full: bool = False, with_times: bool = False) -> Tell:
    """Return what prints events: as a story, or each as a line of JSON."""
    if as_json:
        return print_line
    return Story(say, is_full=is_full, with_times=with_times).tell


def print_line(event: Event) -> None:
    """Print an event as a line of JSON."""
    sys.stdout.write(json.dumps(encode(event)) + "\n")
    sys.stdout.flush()


def events_of_new(connection: Connection, uid: str) -> Iterator[Event]:
    """Yield the events of a session that the journal may not know yet."""
    ends_at = time.monotonic() + UNKNOWN_SECONDS
    while True:
        try:
            yield from connection.gateway.stream(uid)
        except ApiError as error:
            if error.status != NOT_FOUND or time.monotonic() > ends_at:
                raise
            time.sleep(LOOK_SECONDS)
        else:
            return


def events_so_far(connection: Connection, session: str, after: int, head: int) -> Iterator[Event]:
    """Yield the events after one entry up to another."""
    if after >= head:
        return
    for event in connection.gateway.stream(session, after=after):
        yield event
        if event.seq is not None and event.seq >= head:
            return
