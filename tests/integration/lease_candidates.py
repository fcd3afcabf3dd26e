"""Candidates for a Lease whose clocks a test moves, and a view of the Lease as the API server has it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agentsessions.engine.client import Client, resource_path
from agentsessions.engine.lease import TIMING, Lease
from agentsessions.engine.resources import LEASE

PATIENCE_SECONDS = 10.0
NAME = "candidates"
LOOKS = 2
"""Of a candidate that begins to stand by: at once, and when its watch has listed."""


class HandClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._slept = asyncio.Event()
        self.sleeps = 0
        """How often it was asked to sleep."""

    @property
    def left(self) -> float:
        """Seconds until the first sleeper wakes."""
        return min(self._sleepers.values()) - self._now

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[sleeper] = self._now + seconds
        self._wake()
        self.sleeps += 1
        self._slept.set()
        try:
            await sleeper
        finally:
            self._sleepers.pop(sleeper, None)

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._wake()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return as soon as the candidate sleeps and `holds`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (self._sleepers and holds()):
                self._slept.clear()
                await self._slept.wait()

    async def until_asleep(self) -> None:
        await self.until(lambda: True)

    def _wake(self) -> None:
        for sleeper, due in list(self._sleepers.items()):
            if due <= self._now and not sleeper.done():
                sleeper.set_result(None)
                del self._sleepers[sleeper]


@dataclass
class Candidate:
    """One candidate, and what it does now."""

    lease: Lease
    clock: HandClock
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def do(self, what: Callable[[], Any]) -> asyncio.Task[None]:
        """Begin to acquire or to keep."""
        task = asyncio.ensure_future(what())
        self._tasks.append(task)
        return task

    async def stand_by(self) -> asyncio.Task[None]:
        """Begin to wait for a Lease that another one holds, and go on once nothing but time can end that."""
        acquiring = self.do(self.lease.acquire)
        await self.clock.until(lambda: self.clock.sleeps == LOOKS)
        return acquiring

    async def until_renewed(self) -> None:
        """Return when it holds the Lease as of now, and waits for the next renewal."""
        await self.clock.until(lambda: self.lease.age_seconds == 0 and self.clock.left == TIMING.retry_seconds)

    async def stop(self) -> None:
        """Stop whatever it does, as a process that ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass
class Election:
    """A namespace's Lease and the candidates for it."""

    client: Client
    namespace: str
    candidates: list[Candidate] = field(default_factory=list)

    def candidate(
        self, identity: str, *, client: Client | None = None, wall_is_off_by: timedelta = timedelta(0)
    ) -> Candidate:
        """Make a candidate, with a client of its own or that of all."""
        clock = HandClock()
        lease = Lease(
            client or self.client,
            namespace=self.namespace,
            name=NAME,
            identity=identity,
            clock=clock,
            wall=lambda: datetime.now(UTC) + wall_is_off_by,
        )
        self.candidates.append(Candidate(lease, clock))
        return self.candidates[-1]

    async def read(self) -> dict[str, Any]:
        """Return the Lease."""
        return await self.client.get(resource_path(LEASE, self.namespace, NAME))

    async def holder(self) -> str | None:
        """Return who holds it."""
        return (await self.read())["spec"].get("holderIdentity")

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the Lease's first state that is waited for."""
        listing = await self.client.list_all(LEASE, lambda raw: raw, self.namespace)
        for raw in listing.items:
            if holds(raw):
                return raw
        stream = self.client.watch(LEASE, resource_version=listing.resource_version, namespace=self.namespace)
        async with asyncio.timeout(PATIENCE_SECONDS), aclosing(stream) as events:
            async for event in events:
                if event.type in {"ADDED", "MODIFIED"} and holds(event.object):
                    return event.object
        raise AssertionError("the watch ended")

    async def until_renewed(self, since: dict[str, Any]) -> dict[str, Any]:
        """Return the Lease once it was renewed again."""
        return await self.until(lambda raw: bool(raw["spec"]["renewTime"] != since["spec"]["renewTime"]))


@asynccontextmanager
async def election(client: Client, namespace: str) -> AsyncIterator[Election]:
    """Give an election; its candidates end with the block."""
    opened = Election(client, namespace)
    try:
        yield opened
    finally:
        for candidate in opened.candidates:
            with suppress(asyncio.CancelledError):
                await candidate.stop()
