"""Who wants to hear of commits. Changes of one session coalesce; none is lost."""

import asyncio
from types import TracebackType
from typing import Self
from weakref import WeakSet


class Changes:
    """A subscription: iterate it for uids of sessions that got a commit since they were last handed out.

    Read the session after its uid came: what was committed before is then visible. Ends when the store closes.
    """

    def __init__(self) -> None:
        self._pending: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._pending:
            if self._is_closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self.take()

    def take(self) -> str:
        """Return the uid that waits longest; there must be one."""
        uid = next(iter(self._pending))
        del self._pending[uid]
        return uid

    def close(self) -> None:
        """Hand out what is pending, then end."""
        self._is_closed = True
        self._wake.set()

    def add(self, uids: set[str]) -> None:
        """Note that these sessions got a commit."""
        if uids and not self._is_closed:
            self._pending.update(dict.fromkeys(uids))
            self._wake.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Bulletin:
    """All subscriptions of the process. One that nobody holds any more is forgotten."""

    def __init__(self) -> None:
        self._readers: WeakSet[Changes] = WeakSet()

    def subscribe(self) -> Changes:
        """Return a new subscription; it hears of every commit from now on."""
        changes = Changes()
        self._readers.add(changes)
        return changes

    def announce(self, uids: set[str]) -> None:
        """Tell all subscriptions of a commit."""
        for reader in list(self._readers):
            reader.add(uids)

    def close(self) -> None:
        """End all subscriptions."""
        for reader in list(self._readers):
            reader.close()
