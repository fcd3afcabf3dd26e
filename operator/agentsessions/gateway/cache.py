"""Answers remembered for seconds, so that a burst of requests asks the API server once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ExpiringCache(Generic[K, V]):
    """Values that are loaded on demand and forgotten after a while.

    Callers that want the same key at the same time share one load. Failed loads are not remembered.
    """

    def __init__(
        self,
        lifetime_seconds: Callable[[V], float],
        *,
        max_entries: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        on_remembered: Callable[[], None] = lambda: None,
    ) -> None:
        """Create an empty cache.

        Args:
            lifetime_seconds: How long a value holds, counted from the moment it was asked for.
            max_entries: The entry that was loaded first goes when there are more.
            clock: Monotonic seconds.
            on_remembered: Called for each value that was not loaded.
        """
        self._lifetime_seconds = lifetime_seconds
        self._max_entries = max_entries
        self._clock = clock
        self._on_remembered = on_remembered
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._loads: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """Return the remembered value of `key`, or load and remember it."""
        known = self._values.get(key)
        if known is not None and self._clock() < known[0]:
            self._on_remembered()
            return known[1]
        task = self._loads.get(key)
        if task is None:
            task = self._loads[key] = asyncio.create_task(self._load(key, load))
            task.add_done_callback(_note_result)
        # Shielded: a caller that goes away must not fail the others that wait for the same answer.
        return await asyncio.shield(task)

    async def _load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        asked_at = self._clock()
        try:
            value = await load()
        finally:
            del self._loads[key]
        self._values.pop(key, None)
        self._values[key] = (asked_at + self._lifetime_seconds(value), value)
        while len(self._values) > self._max_entries:
            self._values.popitem(last=False)
        return value


def _note_result(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # every caller may have gone; asyncio would then report it as never seen
