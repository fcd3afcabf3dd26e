"""What surrounds a pass: when it is tried again after it failed, and that no failure reaches another object."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from agentsessions.controller.metrics import Metrics
from agentsessions.controller.store import Key
from agentsessions.engine.errors import ApiError, Conflict, NotFound
from agentsessions.engine.queue import Backoff, KeyedQueue

log = structlog.get_logger(__name__)


class Passes:
    """Runs passes over the keys of a queue."""

    def __init__(
        self,
        queue: KeyedQueue,
        reconcile: Callable[[Key], Awaitable[datetime | None]],
        refresh: Callable[[Key], Awaitable[bool]],
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._refresh = refresh
        self._metrics = metrics
        self._clock = clock
        self._backoff = Backoff()
        self._bugs: dict[Key, str] = {}

    def forget(self, key: Key) -> None:
        """Drop what is remembered of an object that is gone."""
        self._backoff.reset(key)
        self._bugs.pop(key, None)

    async def run(self, key: Key) -> None:
        """Make one pass, and arrange for the next one. Never raises but to be cancelled."""
        started = time.perf_counter()
        try:
            wake_at = await self._reconcile(key)
        except (Conflict, NotFound):  # changed or gone since: a stream may be late, a list at the start old
            await self._retry_fresh(key)
            result = "conflict"
        except ApiError as error:
            self._queue.add_after(key, max(self._backoff.next(key), error.retry_after or 0))
            log.warning("pass failed", key=key, error=str(error))
            result = "passing" if error.is_passing else "refused"
        except Exception as error:  # noqa: BLE001  # a bug with one object must not stop the others
            self._note_bug(key, error)
            self._queue.add_after(key, self._backoff.next(key))
            result = "bug"
        else:
            self.forget(key)
            if wake_at is not None:
                self._queue.add_after(key, max((wake_at - self._clock()).total_seconds(), 0))
            result = "done"
        self._metrics.passes.labels(result).inc()
        self._metrics.pass_seconds.observe(time.perf_counter() - started)

    async def _retry_fresh(self, key: Key) -> None:
        """The object has changed since it was seen: read it, and look again.

        If it has not, the refusal has another cause, such as a quota being counted: no tight loop over that.
        """
        try:
            is_news = await self._refresh(key)
        except ApiError as error:
            log.warning("object not read again", key=key, error=str(error))
            self._queue.add_after(key, self._backoff.next(key))
        else:
            self._queue.add_after(key, 0.0 if is_news else self._backoff.next(key))

    def _note_bug(self, key: Key, error: Exception) -> None:
        """Log a bug of ours once with its traceback, and count it each time."""
        self._metrics.bugs.inc()
        identity = repr(error)
        if self._bugs.get(key) != identity:
            self._bugs[key] = identity
            log.error("pass broke", key=key, error=identity, exc_info=error)
