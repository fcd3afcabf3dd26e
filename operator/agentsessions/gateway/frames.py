"""What viewers get, encoded once for all of them: as server-sent events, or as messages of a WebSocket. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from agentsessions.gateway.models import to_entry
from agentsessions.journal.entries import EntryRow, EntryType

PING: Final = "ping"
GAP: Final = "gap"
DELTA: Final = "delta"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. Only entries of the journal have a number, by which a client goes on."""

    event: str
    data: bytes = b"{}"
    """JSON."""
    seq: int | None = None
    sse: bytes = b""
    """The event in the form of server-sent events."""

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.seq is not None and self.event == EntryType.DONE


PING_FRAME: Final = Frame(PING, sse=b": ping\n\n")
GREETING: Final = Frame(PING, sse=b"retry: 2000\n\n")
"""Sent at once, so that clients and proxies see the stream open; names the pause before a new try."""


def of_entry(entry: EntryRow) -> Frame:
    """Return the event of an entry; JSON holds no line break."""
    data = orjson.dumps(to_entry(entry).to_json())
    return Frame(
        entry.type, data, entry.seq, b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.seq, entry.type.encode(), data)
    )


def of_data(event: str, body: dict[str, Any]) -> Frame:
    """Return an event without a number."""
    data = orjson.dumps(body)
    return Frame(event, data, None, b"event: %s\ndata: %s\n\n" % (event.encode(), data))


def with_gaps(frames: Iterable[Frame], after: int) -> list[Frame]:
    """Return entries with a `gap` in front of each that does not follow the one before it."""
    told: list[Frame] = []
    for frame in frames:
        seq = frame.seq or 0
        if seq != after + 1:
            told.append(of_data(GAP, {"after": after, "before": seq}))
        told.append(frame)
        after = seq
    return told


def to_sse(frames: Iterable[Frame]) -> bytes:
    """Return events as one piece of a stream."""
    return b"".join(frame.sse for frame in frames)


def to_message(frame: Frame) -> str:
    """Return an event as a message of a WebSocket."""
    number = b'"id":%d,' % frame.seq if frame.seq is not None else b""
    return (b'{%s"event":"%s","data":%s}' % (number, frame.event.encode(), frame.data)).decode()
