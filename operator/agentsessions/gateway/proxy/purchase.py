"""One purchase of an answer, and what is wanted of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agentsessions.api.v1alpha1.provider import ProviderModel
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.proxy.answer import Accumulator
from agentsessions.gateway.proxy.checks import ModelRequest
from agentsessions.gateway.proxy.observed import Observed
from agentsessions.gateway.proxy.providers import Provider
from agentsessions.journal.rows import (
    PodIdentity,
)

T = TypeVar("T")
Key = tuple[str, str, str]
"""Session uid, agent, digest. An equal request of another turn differs in its history, and so in its digest."""


class BrokenOff(Exception):  # noqa: N818 - asked for, not a malfunction
    """The purchase was told to stop."""

    def __init__(self, problem: ProblemError) -> None:
        super().__init__(problem.detail)
        self.problem = problem


@dataclass(slots=True, eq=False)
class Purchase:
    """A purchase under way, or just ended."""

    pod: PodIdentity
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    tries: list[Accumulator] = field(default_factory=list)
    """What came of the provider's answers, of each try that it will want to be paid."""
    seen: Observed = field(default_factory=Observed)
    task: "asyncio.Task[dict[str, Any]]" = field(init=False)
    _problem: ProblemError | None = None
    _buying: asyncio.Timeout | None = None

    @property
    def is_ended(self) -> bool:
        """Whether there is an outcome."""
        return self.task.done()

    def break_off(self, problem: ProblemError) -> None:
        """Stop buying; those who wait hear of `problem`. What is already bought is journaled as ever."""
        if self._problem is not None:
            return
        self._problem = problem
        if self._buying is not None:
            self._buying.reschedule(0)

    async def buy(self, buy: Callable[[], Awaitable[T]]) -> T:
        """Return what `buy` brings, unless this is broken off before.

        Raises:
            BrokenOff: It was; nothing of `buy` runs any more.
        """
        if self._problem is not None:
            raise BrokenOff(self._problem)
        try:
            async with asyncio.timeout(None) as self._buying:
                return await buy()
        except TimeoutError:
            if self._problem is None:
                raise
            raise BrokenOff(self._problem) from None
        finally:
            self._buying = None

    async def answer(self) -> dict[str, Any]:
        """Return the journaled answer.

        Raises:
            ProblemError: There is none.
        """
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if not self.task.cancelled():
                raise
            # Told as an error, never as a stream that just ends: clients take that for an answer.
            raise unavailable("The gateway ended before the answer was complete. Try again.") from None

    async def begun_or_ended(self) -> None:
        """Wait for the provider's first byte or the outcome."""
        first_byte = asyncio.ensure_future(self.begun.wait())
        try:
            await asyncio.wait({first_byte, self.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            first_byte.cancel()

    async def ended_within(self, seconds: float) -> bool:
        """Wait for the outcome, at most so long; return whether it is there."""
        done, _ = await asyncio.wait({self.task}, timeout=seconds)
        return bool(done)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pod wants to buy, and where."""

    pod: PodIdentity
    request: ModelRequest
    provider: Provider
    model: ProviderModel
    is_recorded: bool = False
    """Whether the answer is that of the session which this one does again, and nothing is bought."""

    @property
    def key(self) -> Key:
        """What equal requests share."""
        return (self.pod.session_uid, self.pod.agent, self.request.digest)

    @property
    def names(self) -> dict[str, Any]:
        """What tells it from others in the log."""
        pod = self.pod
        return {"namespace": pod.namespace, "session": pod.name, "agent": pod.agent, "epoch": pod.epoch}
