"""One acts, the others stand by: a Lease (coordination.k8s.io/v1) that at most one candidate holds.

- Each candidate judges by its own monotonic clock alone. Another's Lease has run out when it was *seen* unchanged for
  its duration; the timestamps in it are for people. So no clock that jumps does harm.
- The holder counts from before it asked, and gives up at the renew deadline, well before another one may take over.
- Every change names the resourceVersion it was decided from: of two that take the Lease, one gets a conflict.
- The Lease says who should act. It cannot stop a process that was suspended and believes that it still holds it: what
  two holders write must be harmless by itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn, Protocol

import structlog

from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, ApiError, Conflict, NotFound
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import LEASE, resource_path

log = structlog.get_logger(__name__)

TRIES: Final = 2
"""Of one attempt: the second after a conflict, on what was read then."""
RELEASED_SECONDS: Final = 1
"""Duration of a Lease that nobody holds: who does not see that it was given up waits no longer than this."""
RELEASE_WITHIN_SECONDS: Final = 2.0
"""A stop does not wait longer for an API server that does not answer; the Lease then runs out by itself."""


class LeaseLostError(Exception):
    """The Lease is another one's, or could not be renewed in time: who held it must not act any more."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Spans of a Lease. Source: client-go's defaults for leader election."""

    duration_seconds: int = 15
    """How long a Lease must be seen unchanged before another one takes it."""
    renew_deadline_seconds: float = 10.0
    """How long the holder may go without a renewal."""
    retry_seconds: float = 2.0
    """Between two renewals, and between two looks of who stands by."""


class Clock(Protocol):
    """Time as one process has it."""

    def now(self) -> float:
        """Return seconds that never go back."""

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait."""


class MonotonicClock:
    """The process's own monotonic clock."""

    def now(self) -> float:
        """Return its time."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


TIMING: Final = Timing()
MONOTONIC: Final = MonotonicClock()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A Lease as last read."""

    version: str
    spec: dict[str, Any]

    @property
    def holder(self) -> str:
        """Who holds it; empty when nobody does."""
        return self.spec.get("holderIdentity") or ""


class Lease:
    """One candidate for a Lease: `acquire`, then `keep` until it is lost, and `release` at the end."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: Timing = TIMING,
        clock: Clock = MONOTONIC,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Ask for nothing yet.

        Args:
            client: Best one of its own: a renewal must not wait behind other requests.
            namespace: Where the Lease is.
            name: Its name.
            identity: Of this candidate, unique among all processes that ever were.
            timing: The same for all candidates.
            clock: What everything is judged by.
            wall: Time of day, for the timestamps that people read.
        """
        self._client = client
        self._namespace = namespace
        self._name = name
        self.identity = identity
        """Of this candidate."""
        self._timing = timing
        self._clock = clock
        self._wall = wall
        self._seen: _Seen | None = None
        self._seen_at = clock.now()
        self._renewed_at = clock.now()
        self._has_asked = False
        self._is_held = False
        self._news = asyncio.Event()
        self.problem = ""
        """Why the Lease could not be read or written when that was last tried; empty when it could."""

    @property
    def holder(self) -> str:
        """Who held it when it was last read; empty when nobody did."""
        return self._seen.holder if self._seen is not None else ""

    @property
    def age_seconds(self) -> float:
        """Seconds since the holder, this one or another, was last seen to renew it."""
        return self._clock.now() - (self._renewed_at if self._is_held else self._seen_at)

    async def acquire(self) -> None:
        """Wait until the Lease is ours. `keep` must follow at once."""
        if not await self._try_quietly():
            async with asyncio.TaskGroup() as tasks:
                # Only to be told early: what counts is read again. Without a watch we look at each retry.
                watch = tasks.create_task(self._informer().run(), name="lease")
                await self._wait_until_ours()
                watch.cancel()
        log.info("lease acquired", lease=self._name, identity=self.identity)

    async def keep(self) -> NoReturn:
        """Renew the Lease for as long as that succeeds.

        Raises:
            LeaseLostError: Another one holds it, or no renewal succeeded for the renew deadline. Requests may still
                be under way: end the process.
        """
        while True:
            await self._clock.sleep(self._timing.retry_seconds)
            left = self._renewed_at + self._timing.renew_deadline_seconds - self._clock.now()
            if left <= 0:  # we were suspended; a renewal now would only keep the others waiting
                raise self._not_renewed()
            renewing = asyncio.ensure_future(self._renew())
            await self._first_of(renewing, self._clock.sleep(left))
            if not renewing.done():
                raise self._not_renewed()
            renewing.result()

    async def release(self) -> None:
        """Give the Lease up, if it is or may be ours, so that another one need not wait until it runs out.

        Call it when nothing acts any more. Without an answer of the API server it gives up, too.
        """
        if not self._has_asked:
            return
        try:
            async with asyncio.timeout(RELEASE_WITHIN_SECONDS):
                await self._give_up()
        except (ApiError, TimeoutError) as error:
            log.warning("lease not released", lease=self._name, error=str(error) or type(error).__name__)

    def __str__(self) -> str:
        return f"lease {self._namespace}/{self._name}"

    async def _wait_until_ours(self) -> None:
        while True:
            await self._first_of(self._news.wait(), self._clock.sleep(self._pause_seconds()))
            if await self._try_quietly():
                return

    async def _renew(self) -> None:
        """Renew once, however often that must be tried."""
        while not await self._try_quietly():
            if self.holder not in {"", self.identity}:
                raise LeaseLostError(f"{self}: {self.holder} holds it now")
            await self._clock.sleep(self._timing.retry_seconds)

    def _not_renewed(self) -> LeaseLostError:
        seconds, problem = self._timing.renew_deadline_seconds, self.problem or "none"
        return LeaseLostError(f"{self}: not renewed for {seconds:.3g} s; last problem: {problem}")

    async def _try_quietly(self) -> bool:
        """Make an attempt; what fails is told once."""
        self._news.clear()
        try:
            is_ours = await self._attempt()
        except ApiError as error:
            if str(error) != self.problem:
                log.warning("lease not reached", lease=self._name, error=str(error))
            self.problem = str(error)
            return False
        self.problem = ""
        return is_ours

    async def _attempt(self) -> bool:
        """Write the Lease as ours, if it is ours, free, or has run out; tell whether it is ours now."""
        if not self._is_held:
            await self._look()
        for _ in range(TRIES):
            if not self._is_to_be_had():
                return False
            asked_at = self._clock.now()
            try:
                self._note(await self._write_ours())
            except (AlreadyExists, Conflict, NotFound):
                await self._look()
            else:
                self._renewed_at, self._is_held = asked_at, True
                return True
        return False

    def _is_to_be_had(self) -> bool:
        if self.holder in {"", self.identity}:
            return True
        return self._seconds_until_it_runs_out() <= 0

    def _seconds_until_it_runs_out(self) -> float:
        """Return how long another's Lease must still be seen unchanged; its holder says for how long in all."""
        told = self._seen.spec.get("leaseDurationSeconds") if self._seen is not None else None
        return self._seen_at + (told or self._timing.duration_seconds) - self._clock.now()

    def _pause_seconds(self) -> float:
        """Return when to look again: at the moment it runs out, if that is before the next retry."""
        left = self._seconds_until_it_runs_out()
        return min(left, self._timing.retry_seconds) if left > 0 else self._timing.retry_seconds

    async def _look(self) -> None:
        try:
            self._note(await self._client.get(resource_path(LEASE, self._namespace, self._name)))
        except NotFound:
            self._seen = None

    def _note(self, found: dict[str, Any]) -> None:
        spec = found.get("spec") or {}
        if self._seen is None or self._seen.spec != spec:
            self._seen_at = self._clock.now()
        self._seen = _Seen(found["metadata"]["resourceVersion"], spec)

    async def _write_ours(self) -> dict[str, Any]:
        self._has_asked = True
        seen, now = self._seen, self._timestamp()
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._timing.duration_seconds,
            "renewTime": now,
        }
        if seen is None or seen.holder != self.identity:
            transitions = seen.spec.get("leaseTransitions", 0) + 1 if seen is not None else 0
            spec |= {"acquireTime": now, "leaseTransitions": transitions}
        if seen is None:
            return await self._client.create(LEASE, self._namespace, {"metadata": {"name": self._name}, "spec": spec})
        return await self._patch(seen, spec)

    async def _give_up(self) -> None:
        for _ in range(TRIES):
            await self._look()
            if self._seen is None or self.holder != self.identity:
                return
            spec = {
                "holderIdentity": None,
                "leaseDurationSeconds": RELEASED_SECONDS,
                "renewTime": self._timestamp(),
            }
            try:
                self._note(await self._patch(self._seen, spec))
            except Conflict:
                continue  # a renewal of ours that was under way
            self._is_held = False
            log.info("lease released", lease=self._name, identity=self.identity)
            return

    async def _patch(self, seen: _Seen, spec: dict[str, Any]) -> dict[str, Any]:
        body = {"metadata": {"resourceVersion": seen.version}, "spec": spec}
        return await self._client.merge_patch(LEASE, self._namespace, self._name, body)

    def _timestamp(self) -> str:
        return self._wall().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _informer(self) -> Informer[str]:
        """Return a watch that notes each change of the Lease."""
        return Informer(
            self._client,
            LEASE,
            convert=lambda raw: raw["metadata"]["resourceVersion"] if raw["metadata"]["name"] == self._name else None,
            key_of=lambda _version: self._name,
            on_change=lambda _old, _new: self._news.set(),
            namespace=self._namespace,
        )

    @staticmethod
    async def _first_of(*waits: Awaitable[Any]) -> None:
        """Return when the first of them is done; the others are cancelled, and not waited for."""
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
