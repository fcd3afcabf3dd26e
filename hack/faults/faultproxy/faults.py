"""How a call goes wrong: one class each, as a frame around the forwarding of the call.

To add one: a frozen dataclass whose fields are what its rule says, a method `play` that returns the answer, and its
name in `FAULTS`.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from .calls import Call


class When(StrEnum):
    """Whether the API server hears of a disturbed call."""

    BEFORE = "before"
    """It does not."""
    AFTER = "after"
    """It does, and acts; the caller does not learn that."""


class Exchange(Protocol):
    """What a fault may do with one call."""

    @property
    def call(self) -> Call:
        """What it is about."""

    async def forward(self) -> Any:
        """Let the API server act; return its answer, which has not gone to the caller yet (a watch's has)."""

    def refuse(self, status: int, reason: str, retry_after: int | None) -> Any:
        """Return an answer as the API server would word it."""

    def cut(self) -> Any:
        """Break the caller's connection; return what to return."""

    def kill(self) -> Awaitable[None]:
        """End the caller's process, now, and wait until it is gone."""

    def expire(self) -> Any:
        """Return the answer to a watch from a version that is too old: well begun, and its one event is an error."""

    def repeat_lists(self) -> None:
        """Answer the next list of each kind as the last one was answered."""


class Fault(Protocol):
    """A way to go wrong."""

    async def play(self, exchange: Exchange) -> Any:
        """Treat the call, and return the answer to the caller."""


@dataclass(frozen=True, slots=True)
class Kill:
    """The caller dies (SIGKILL)."""

    when: When = When.BEFORE

    async def play(self, exchange: Exchange) -> Any:
        """End the process before or after the API server acts; the answer never reaches it."""
        if self.when is When.AFTER:
            await exchange.forward()
        await exchange.kill()
        return exchange.cut()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer is a refusal. With `when: after` a lie: the API server has acted."""

    status: int
    reason: str = ""
    """Of the Status object; empty: what the API server says most often with that status to that verb."""
    retry_after: int | None = None
    """Whole seconds."""
    when: When = When.BEFORE

    async def play(self, exchange: Exchange) -> Any:
        """Refuse."""
        if self.when is When.AFTER:
            await exchange.forward()
        reason = self.reason or default_reason(self.status, exchange.call.verb)
        return exchange.refuse(self.status, reason, self.retry_after)


@dataclass(frozen=True, slots=True)
class Delay:
    """The call takes long."""

    seconds: float

    async def play(self, exchange: Exchange) -> Any:
        """Wait, then forward."""
        await asyncio.sleep(self.seconds)
        return await exchange.forward()


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks."""

    when: When = When.BEFORE

    async def play(self, exchange: Exchange) -> Any:
        """Break it before or after the API server acts."""
        if self.when is When.AFTER:
            await exchange.forward()
        return exchange.cut()


@dataclass(frozen=True, slots=True)
class OldLists:
    """The caller dies after the API server acted; what it lists when it is back is what it listed at its last start."""

    async def play(self, exchange: Exchange) -> Any:
        """Forward, and end the process."""
        await exchange.forward()
        exchange.repeat_lists()
        await exchange.kill()
        return exchange.cut()


@dataclass(frozen=True, slots=True)
class Lose:
    """A watch breaks before an event (verb `event`), and cannot go on from there: the caller has to list anew."""

    async def play(self, exchange: Exchange) -> Any:
        """Tell the watch that would go on that its version is too old."""
        return exchange.expire()


FAULTS: Final[Mapping[str, type[Any]]] = {
    "kill": Kill,
    "answer": Answer,
    "delay": Delay,
    "cut": Cut,
    "old-lists": OldLists,
    "lose": Lose,
}
"""By `fault.kind` of a rule."""

REASONS: Final = {
    403: "Forbidden",
    404: "NotFound",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def default_reason(status: int, verb: str) -> str:
    """Return the reason that the API server most often gives with a status."""
    if status == 409:  # noqa: PLR2004  # two meanings, by verb
        return "AlreadyExists" if verb == "create" else "Conflict"
    return REASONS.get(status, "Unknown")
