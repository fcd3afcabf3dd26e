"""The live journal of one session: each entry once, in order, from where a client stands.

A client that comes back with the last number it saw gets each later entry once. The stream ends after `done`; a client
that has seen `done` is told so at once, which keeps browsers from asking again.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentsessions.gateway.frames import GREETING, PING_FRAME, Frame, of_entry, to_sse, with_gaps
from agentsessions.gateway.streams import Changes
from agentsessions.gateway.tails import READ_AT_ONCE, Tail, Tails
from agentsessions.journal.entries import EntryType
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.store import Store

MEDIA_TYPE: Final = "text/event-stream"
PING_SECONDS: Final = 15.0
CHECK_SECONDS: Final = 60.0
"""How often a stream asks whether its reader still may."""


class End(StrEnum):
    """Why a stream ended."""

    LEFT = "left"
    """It did not: its reader went."""
    DONE = "done"
    """There is nothing more: the session is done, or was deleted."""
    STOPPING = "stopping"
    """The gateway is about to end; another one goes on."""
    REFUSED = "refused"
    """The reader lost the right."""
    BROKEN = "broken"
    """The journal could not be read."""


async def is_over(store: Store, row: SessionRow, after: int) -> bool:
    """Return whether a client that saw entry `after` has seen all there will be."""
    if row.deleted_at is not None:
        return not await store.entries(row.uid, after, 1)
    seen = await store.entries(row.uid, after - 1, 1) if after > 0 else []
    return bool(seen) and seen[0].seq == after and seen[0].type is EntryType.DONE


@dataclass(slots=True)
class Following:
    """One reader of one session."""

    store: Store
    changes: Changes
    tails: Tails
    row: SessionRow
    after: int
    """Number of the last entry that the reader saw; 0 for none."""
    is_allowed: Callable[[], Awaitable[bool]]
    """Asked from time to time whether the reader may go on."""
    ping_seconds: float = PING_SECONDS
    """Longest silence."""
    end: End = End.LEFT

    async def frames(self) -> AsyncGenerator[list[Frame]]:
        """Yield what happened, then what happens, until there is nothing more."""
        async with self.tails.join(self.row.uid) as (tail, viewer):
            yield [GREETING]
            checked_at = time.monotonic()
            while not self._is_ended(tail):
                if time.monotonic() - checked_at >= CHECK_SECONDS:
                    if not await self.is_allowed():
                        self.end = End.REFUSED
                        return
                    checked_at = time.monotonic()
                if found := await self._next(tail):
                    viewer.take_deltas()  # what waits is part of what is written
                    yield with_gaps(found, self.after)
                    self.after = found[-1].seq or 0
                    if found[-1].is_last:
                        self.end = End.DONE
                        return
                    continue
                if tail.is_gone:
                    self.end = End.DONE
                    return
                if not await viewer.wait(self.ping_seconds):
                    yield [PING_FRAME]
                # What is written is worth more than what is under way: deltas wait for nothing, and may be lost.
                if (deltas := viewer.take_deltas()) and not tail.after(self.after):
                    yield deltas

    async def sse(self) -> AsyncGenerator[bytes]:
        """Yield the same as server-sent events."""
        async with aclosing(self.frames()) as following:
            async for frames in following:
                yield to_sse(frames)

    async def _next(self, tail: Tail) -> list[Frame]:
        kept = tail.after(self.after)
        if kept is None:
            kept = [of_entry(entry) for entry in await self.store.entries(self.row.uid, self.after, READ_AT_ONCE)]
        last = next((place for place, frame in enumerate(kept) if frame.is_last), None)
        return kept if last is None else kept[: last + 1]

    def _is_ended(self, tail: Tail) -> bool:
        if self.changes.is_stopping:
            self.end = End.STOPPING
        elif tail.is_broken:
            self.end = End.BROKEN
        return self.end is not End.LEFT
