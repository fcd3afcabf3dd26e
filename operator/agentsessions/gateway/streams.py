"""Answers that go on: who waits for which session, and how bytes reach a reader who may be slow.

Nothing is queued for a reader. A wake-up says only that there is more, and the reader's own task then reads the
journal from where it stands: what waits for a slow reader is one page of entries and the socket's buffer. A reader
who does not take the next bytes within `STALL_SECONDS` is dropped; it may come back with its last id.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentsessions.gateway import metrics
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.journal.store import Store

log = structlog.get_logger(__name__)

STALL_SECONDS: Final = 30.0


class Listener:
    """One reader's view of what changed since it last looked: session uids, each once."""

    def __init__(self) -> None:
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()

    def note(self, uid: str) -> None:
        """Remember that a session changed."""
        self._changed[uid] = None
        self._wake.set()

    def wake(self) -> None:
        """End the wait although nothing changed."""
        self._wake.set()

    async def wait(self, seconds: float) -> tuple[str, ...]:
        """Return what changed since the last look, oldest first; nothing after `seconds` or an empty wake-up."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        changed = tuple(self._changed)
        self._changed.clear()
        self._wake.clear()
        return changed


class Changes:
    """Spreads the journal's changes over those who listen."""

    def __init__(self, store: Store) -> None:
        self._news = store.changes()
        self._of_one: defaultdict[str, set[Listener]] = defaultdict(set)
        self._of_all: set[Listener] = set()
        self.is_stopping = False
        """Whether endless streams are to end: the process was asked to."""

    async def run(self) -> None:
        """Pass changes on, for ever."""
        async for uid in self._news:
            for listener in (*self._of_one.get(uid, ()), *self._of_all):
                listener.note(uid)

    def wake(self, uid: str) -> None:
        """Let those who listen to one session look again, although its journal did not grow."""
        for listener in self._of_one.get(uid, ()):
            listener.note(uid)

    def stop(self) -> None:
        """Ask every stream to end."""
        self.is_stopping = True
        for listeners in (self._of_all, *self._of_one.values()):
            for listener in listeners:
                listener.wake()

    @contextmanager
    def listen(self, uid: str) -> Iterator[Listener]:
        """Listen to one session, from now on."""
        listener = Listener()
        self._of_one[uid].add(listener)
        try:
            yield listener
        finally:
            self._of_one[uid].discard(listener)
            if not self._of_one[uid]:
                del self._of_one[uid]

    @contextmanager
    def listen_to_all(self) -> Iterator[Listener]:
        """Listen to every session, from now on."""
        listener = Listener()
        self._of_all.add(listener)
        try:
            yield listener
        finally:
            self._of_all.discard(listener)


class StreamCount:
    """How many streams each user has open in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def refuse_more(self, user: str) -> None:
        """Refuse a user who has as many as allowed.

        Raises:
            ProblemError: 429.
        """
        if self._open[user] >= self._most:
            raise ProblemError(
                ProblemCode.TOO_MANY_STREAMS,
                f"User {user!r} has {self._most} streams open here, the most allowed. Close one, then try again.",
                headers={"Retry-After": "5"},
            )

    @contextmanager
    def counted(self, user: str) -> Iterator[None]:
        """Count a stream as long as the block runs."""
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]

    async def count(self, user: str, source: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """Yield what a source yields, counted as a stream of the user's."""
        with self.counted(user):
            async with aclosing(source) as pieces:
                async for piece in pieces:
                    yield piece


class LiveResponse(Response):
    """An answer without known end. Ends when its source does, when the client goes, or when the client stalls."""

    def __init__(
        self,
        source: AsyncGenerator[bytes],
        media_type: str,
        *,
        stream: metrics.Stream,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """Send what `source` yields.

        Args:
            source: Async generator; it is closed in any case.
            media_type: Content type.
            stream: Name of the stream in metrics.
            stall_seconds: How long one piece may take to leave.
        """
        self._source = source
        self._stream = stream
        self._stall_seconds = stall_seconds
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run until one of the three ends."""
        del scope
        with metrics.OPEN_STREAMS.labels(self._stream).track_inprogress():
            await send_until_gone(self._send_all(send), _until_gone(receive))

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with aclosing(self._source) as pieces:
                async for piece in pieces:
                    await self._send(send, piece, more=True)
            await self._send(send, b"", more=False)
        except TimeoutError:
            metrics.DROPPED_STREAMS.labels(self._stream).inc()
            log.info("slow reader dropped", stream=self._stream, stall_seconds=self._stall_seconds)

    async def _send(self, send: Send, piece: bytes, *, more: bool) -> None:
        message = {"type": "http.response.body", "body": piece, "more_body": more}
        async with asyncio.timeout(self._stall_seconds):
            await send(message)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_until_gone(sending: Coroutine[Any, Any, None], leaving: Coroutine[Any, Any, None]) -> None:
    """Send to one reader, until all is sent or the reader goes; what fails in sending is raised."""
    tasks = [asyncio.create_task(part) for part in (sending, leaving)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not tasks[0].cancelled():
        tasks[0].result()
