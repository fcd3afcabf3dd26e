"""The newest entries of sessions that somebody watches: read once, encoded once, for all who watch.

Each watched session has one task that reads the journal after a commit and keeps the newest entries as frames. A
viewer takes from there what comes after its own place; one that is further behind reads the journal itself, so what
waits for a slow one is bounded. Deltas, the text of answers under way, are handed to who is waiting at that moment and
kept for nobody else: they come again, whole, as entries.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from sqlalchemy import Connection, select

from agentsessions.gateway.frames import Frame, of_entry
from agentsessions.gateway.streams import Changes
from agentsessions.journal.store import Store
from agentsessions.journal.tables import sessions, usage

log = structlog.get_logger(__name__)

READ_AT_ONCE: Final = 50
"""Entries in memory at most while they are encoded; one may have 64 KiB and more."""
KEPT_FRAMES: Final = 256
KEPT_BYTES: Final = 2 * 1024 * 1024
KEPT_DELTAS: Final = 64
LOOK_SECONDS: Final = 60.0
"""How often the journal is read although nobody told of a commit."""


class Viewer:
    """One who watches a session."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._deltas: deque[Frame] = deque(maxlen=KEPT_DELTAS)

    def wake(self) -> None:
        """Tell that there is something new."""
        self._wake.set()

    def add_delta(self, frame: Frame) -> None:
        """Hand over a delta; the oldest one goes when too many wait."""
        self._deltas.append(frame)
        self._wake.set()

    def take_deltas(self) -> list[Frame]:
        """Return the deltas that wait, and forget them."""
        found = list(self._deltas)
        self._deltas.clear()
        return found

    async def wait(self, seconds: float) -> bool:
        """Wait for something new; return whether it came in time."""
        is_woken = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                is_woken = await self._wake.wait()
        self._wake.clear()
        return is_woken


class Tail:
    """The newest entries of one session."""

    def __init__(self, uid: str, store: Store, changes: Changes) -> None:
        self._uid = uid
        self._store = store
        self._changes = changes
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._end = 0
        self.is_gone = False
        """Whether nothing more can happen: the resource was deleted."""
        self.is_broken = False
        """Whether the journal could not be read."""
        self.viewers: set[Viewer] = set()
        self.is_open = asyncio.Event()
        """Set once the newest entry is known."""

    async def run(self) -> None:
        """Read on after each commit."""
        try:
            with self._changes.listen(self._uid) as listener:
                self._end, self.is_gone = await self._store.read(_read_end, self._uid)
                self.is_open.set()
                while not self._changes.is_stopping:
                    await listener.wait(LOOK_SECONDS)
                    await self._read_on()
        except Exception:
            log.exception("stream broken", session=self._uid)
            self.is_broken = True
        finally:
            self.is_open.set()
            self._wake_all()

    def after(self, seq: int) -> list[Frame] | None:
        """Return the entries after a number; None when the first of them is not kept any more."""
        if seq >= self._end:
            return []
        if not self._frames or (self._frames[0].seq or 0) > seq + 1:
            return None
        return [frame for frame in self._frames if (frame.seq or 0) > seq]

    def add_delta(self, frame: Frame) -> None:
        """Hand a delta to all viewers."""
        for viewer in self.viewers:
            viewer.add_delta(frame)

    async def _read_on(self) -> None:
        found = await self._store.entries(self._uid, self._end, READ_AT_ONCE)
        while found:
            for entry in found:
                self._keep(of_entry(entry))
            self._wake_all()
            found = await self._store.entries(self._uid, self._end, READ_AT_ONCE) if len(found) == READ_AT_ONCE else []
        _, self.is_gone = await self._store.read(_read_end, self._uid)
        if self.is_gone:
            self._wake_all()

    def _keep(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._bytes += len(frame.data)
        self._end = frame.seq or 0
        while len(self._frames) > KEPT_FRAMES or (self._bytes > KEPT_BYTES and len(self._frames) > 1):
            self._bytes -= len(self._frames.popleft().data)

    def _wake_all(self) -> None:
        for viewer in self.viewers:
            viewer.wake()


class Tails:
    """The tails of all sessions that are watched here."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes
        self._of: dict[str, tuple[Tail, asyncio.Task[None]]] = {}

    @asynccontextmanager
    async def join(self, uid: str) -> AsyncIterator[tuple[Tail, Viewer]]:
        """Watch a session; the first one who does opens its tail, the last one who leaves closes it."""
        if uid not in self._of:
            opened = Tail(uid, self._store, self._changes)
            self._of[uid] = opened, asyncio.create_task(opened.run(), name="tail")
        tail, task = self._of[uid]
        viewer = Viewer()
        tail.viewers.add(viewer)
        try:
            await tail.is_open.wait()
            yield tail, viewer
        finally:
            tail.viewers.discard(viewer)
            if not tail.viewers:
                self._of.pop(uid, None)
                task.cancel()

    def is_watched(self, uid: str) -> bool:
        """Return whether somebody here would see a delta of this session."""
        return uid in self._of

    def add_delta(self, uid: str, frame: Frame) -> None:
        """Hand a delta to all who watch the session here."""
        if uid in self._of:
            self._of[uid][0].add_delta(frame)


def _read_end(conn: Connection, uid: str) -> tuple[int, bool]:
    """Return the number of the newest entry, and whether the resource is gone."""
    query = select(usage.c.head, sessions.c.deleted_at).join(usage, usage.c.session_uid == sessions.c.uid)
    row = conn.execute(query.where(sessions.c.uid == uid)).one_or_none()
    return (0, True) if row is None else (row.head, row.deleted_at is not None)
