"""A queue of keys that need a look: each key once, never in two workers, now or at a wake-up time.

Rules:

- A key added while it waits stays one; a key added while it is worked on comes back after that.
- Of several wake-up times of a key the earliest holds. A key that is taken loses its wake-up: whoever looks at it
  looks at everything, and says anew when to look again.
- No task per key: one heap of wake-up times, and one timer, which runs only while a worker has nothing to do.
"""

import asyncio
import contextlib
import heapq
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from agentsessions.engine.backoff import Backoff

__all__ = ["Backoff", "KeyedQueue"]

log = structlog.get_logger(__name__)

WORKERS: Final = 32
_SPARE_WAKES: Final = 64


class KeyedQueue:
    """Keys that wait, for workers in one event loop."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_error: Callable[[str, Exception], None] | None = None,
    ) -> None:
        """Make an empty queue.

        Args:
            clock: Seconds that never go back; wake-up times are of this clock.
            on_error: Told of each exception that a handler of `work` let out.
        """
        self._clock = clock
        self._on_error = on_error
        self._made_at = clock()
        self._ready: OrderedDict[str, float] = OrderedDict()  # key -> since when; popped in front in constant time
        self._working: set[str] = set()
        self._again: dict[str, float] = {}  # added while worked on -> since when
        self._wakes: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # what `_wakes` does not confirm is void
        self._idle: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        """Return how many keys wait for a worker now; wake-ups to come are not among them."""
        self._promote()
        return len(self._ready) + len(self._again)

    @property
    def oldest_age(self) -> float:
        """Seconds that the key that waits longest has waited for a worker; 0 when none waits."""
        self._promote()
        since = (*self._ready.values(), *self._again.values())
        return max(self._clock() - min(since), 0.0) if since else 0.0

    def add(self, key: str) -> None:
        """Have `key` looked at as soon as a worker is free."""
        self._make_ready(key, self._clock())

    def add_at(self, key: str, when: float) -> None:
        """Have `key` looked at at the instant `when` of the queue's clock (`time.monotonic()`), or earlier.

        Raises:
            ValueError: The instant is older than the queue: most likely it is a delay, which is for `add_after`.
        """
        if when < self._made_at:
            raise ValueError(
                f"{key!r} was to be woken at {when:.3f}, before the queue was made ({self._made_at:.3f}): add_at takes "
                "an instant of the monotonic clock; for a delay in seconds use add_after"
            )
        if when >= self._wakes.get(key, float("inf")):
            return
        self._wakes[key] = when
        heapq.heappush(self._heap, (when, key))
        self._drop_void_wakes()
        if self._idle:
            self._arm()

    def add_after(self, key: str, seconds: float) -> None:
        """Have `key` looked at in so many seconds, or earlier; at once for 0 and less."""
        self.add_at(key, self._clock() + max(seconds, 0.0))

    async def get(self) -> str:
        """Wait for a key and take it; `done` must follow."""
        while True:
            self._promote()
            if self._ready:
                key, _ = self._ready.popitem(last=False)
                self._working.add(key)
                self._wakes.pop(key, None)
                return key
            await self._wait()

    def done(self, key: str) -> None:
        """Give back a key that was taken."""
        self._working.remove(key)
        since = self._again.pop(key, None)
        if since is not None:
            self._make_ready(key, since)

    async def work(self, handler: Callable[[str], Awaitable[None]], workers: int = WORKERS) -> None:
        """Hand each key to `handler`, for ever, at most `workers` at a time. What it raises is logged and counted."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(workers):
                tasks.create_task(self._work(handler), name=f"queue-worker-{number}")

    async def _work(self, handler: Callable[[str], Awaitable[None]]) -> None:
        while True:
            key = await self.get()
            try:
                await handler(key)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._note_error(key, RuntimeError(f"cancelled inside: {error!r}"))  # we were not asked to end
            except Exception as error:  # noqa: BLE001 - one key's failure must not take a worker from the others
                self._note_error(key, error)
            finally:
                self.done(key)
            await asyncio.sleep(0)  # a handler that never waits must not keep the loop from everybody else

    def _note_error(self, key: str, error: Exception) -> None:
        log.error("queue handler failed", key=key, exc_info=error)
        if self._on_error is not None:
            self._on_error(key, error)

    def _make_ready(self, key: str, since: float) -> None:
        if key in self._working:
            self._again.setdefault(key, since)
        elif key not in self._ready:
            self._ready[key] = since
            self._rouse()

    def _promote(self) -> None:
        """Make ready what is due."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            when, key = heapq.heappop(self._heap)
            if self._wakes.get(key) == when:
                del self._wakes[key]
                self._make_ready(key, when)

    def _drop_void_wakes(self) -> None:
        # Deadlines are hours away and planned anew at each pass: without this the heap would keep them all.
        if len(self._heap) > 2 * len(self._wakes) + _SPARE_WAKES:
            self._heap = [(when, key) for key, when in self._wakes.items()]
            heapq.heapify(self._heap)

    def _rouse(self) -> None:
        while self._idle:
            worker = self._idle.popleft()
            if not worker.done():
                worker.set_result(None)
                return

    async def _wait(self) -> None:
        worker = asyncio.get_running_loop().create_future()
        self._idle.append(worker)
        self._arm()
        try:
            await worker
        except asyncio.CancelledError:
            if worker.done() and not worker.cancelled():
                self._rouse()  # it was told of a key just before: tell another one
            else:
                with contextlib.suppress(ValueError):  # passed over in between
                    self._idle.remove(worker)
            raise

    def _arm(self) -> None:
        """Have the timer go off at the next wake-up."""
        while self._heap and self._wakes.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if not self._heap:
            return
        when = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = asyncio.get_running_loop().call_later(max(when - self._clock(), 0.0), self._go_off)

    def _go_off(self) -> None:
        self._timer = None
        self._promote()
        if self._idle:
            self._arm()
