"""The live journal of one session as server-sent events: `id` is the entry's number, `event` its type.

A client that comes back with the last id it saw gets each later entry once, in order. The stream ends after `done`;
a client that has seen `done` is told with 204 that there is nothing more, which keeps browsers from asking again.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

import orjson

from agentsessions.gateway.models import to_entry
from agentsessions.gateway.streams import Changes
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.store import Store

MEDIA_TYPE: Final = "text/event-stream"
PING_SECONDS: Final = 15.0
CHECK_SECONDS: Final = 60.0
"""How often a stream asks whether its reader still may."""
READ_AT_ONCE: Final = 50
"""Entries that wait for a reader in memory at most; one may have 64 KiB and more."""
PING: Final = b": ping\n\n"
GREETING: Final = b"retry: 2000\n\n"
"""Sent at once, so that clients and proxies see the stream open; names the pause before a new try."""


async def is_over(store: Store, row: SessionRow, after: int) -> bool:
    """Return whether a client that saw entry `after` has seen all there will be."""
    if row.deleted_at is not None:
        return not await store.entries(row.uid, after, 1)
    seen = await store.entries(row.uid, after - 1, 1) if after > 0 else []
    return bool(seen) and seen[0].seq == after and seen[0].type is EntryType.DONE


async def stream_events(
    store: Store,
    changes: Changes,
    row: SessionRow,
    after: int,
    is_allowed: Callable[[], Awaitable[bool]],
    *,
    ping_seconds: float = PING_SECONDS,
) -> AsyncGenerator[bytes]:
    """Yield what happened after an entry, then what happens, until the session is done.

    Args:
        store: The journal.
        changes: Wakes the stream.
        row: The session.
        after: Number of the last entry that the client saw; 0 for none.
        is_allowed: Asked from time to time whether the reader may go on.
        ping_seconds: Longest silence.
    """
    with changes.listen(row.uid) as listener:
        yield GREETING
        checked_at = time.monotonic()
        while True:
            entries = await store.entries(row.uid, after, READ_AT_ONCE)
            for entry in entries:
                if entry.seq != after + 1:
                    yield _gap(after, entry.seq)
                yield to_event(entry)
                after = entry.seq
                if entry.type is EntryType.DONE:
                    return
            if entries:
                continue
            if changes.is_stopping or await _is_gone(store, row):
                return
            if time.monotonic() - checked_at >= CHECK_SECONDS:
                if not await is_allowed():
                    return
                checked_at = time.monotonic()
            if not await listener.wait(ping_seconds):
                yield PING


def to_event(entry: EntryRow) -> bytes:
    """Return an entry in the form of the event stream; JSON holds no line break."""
    data = orjson.dumps(to_entry(entry).to_json())
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.seq, entry.type.encode(), data)


def _gap(after: int, seq: int) -> bytes:
    body: dict[str, Any] = {"after": after, "before": seq}
    return b"event: gap\ndata: %s\n\n" % orjson.dumps(body)


async def _is_gone(store: Store, row: SessionRow) -> bool:
    """Return whether the resource was deleted: nothing more can happen."""
    now = await store.get_session_by_uid(row.uid)
    return now is None or now.deleted_at is not None
