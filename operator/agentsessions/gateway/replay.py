"""A session told again: its entries with the pauses between them, divided by a speed."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentsessions.gateway import events
from agentsessions.gateway.frames import GREETING, PING_FRAME, of_data, of_entry, to_sse, with_gaps
from agentsessions.gateway.streams import Changes, Listener
from agentsessions.gateway.tails import READ_AT_ONCE
from agentsessions.journal.entries import EntryRow
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.store import Store

LONGEST_PAUSE_SECONDS: Final = 5.0
"""Nobody watches a session sleep, whatever the speed."""
END: Final = "end"
"""Last event of a replay; it has no number."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which entries are told."""

    after: int
    """Number of the entry before the first one."""
    until: int
    """Number of the last one."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What is told again, and how."""

    store: Store
    changes: Changes
    row: SessionRow
    part: Part
    speed: float
    """1 is as it was, 10 ten times as fast, 0 without pauses."""
    is_allowed: Callable[[], Awaitable[bool]]

    async def sse(self) -> AsyncGenerator[bytes]:
        """Yield entries as server-sent events, then `end`."""
        with self.changes.listen(self.row.uid) as listener:
            yield to_sse([GREETING])
            after, before, checked_at = self.part.after, None, time.monotonic()
            while page := await self._read(after):
                for entry in page:
                    if self.speed:
                        async for ping in self._pause(listener, before, entry.at):
                            yield ping
                    if self.changes.is_stopping:
                        return
                    if time.monotonic() - checked_at >= events.CHECK_SECONDS:
                        if not await self.is_allowed():
                            return
                        checked_at = time.monotonic()
                    yield to_sse(with_gaps([of_entry(entry)], after))
                    after, before = entry.seq, entry.at
            yield to_sse([of_data(END, {"seq": after})])

    async def _read(self, after: int) -> list[EntryRow]:
        page = await self.store.entries(self.row.uid, after, READ_AT_ONCE)
        return [entry for entry in page if entry.seq <= self.part.until]

    async def _pause(self, listener: Listener, before: datetime | None, at: datetime) -> AsyncGenerator[bytes]:
        """Wait as long as it took then; ends early when the gateway stops."""
        if before is None:
            return
        seconds = min((at - before).total_seconds() / self.speed, LONGEST_PAUSE_SECONDS)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self.changes.is_stopping:
            await listener.wait(left)
        if seconds >= LONGEST_PAUSE_SECONDS:
            yield to_sse([PING_FRAME])
