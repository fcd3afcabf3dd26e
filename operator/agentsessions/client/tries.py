"""One request or one stream from its first try to its last: what to send, when to ask again, when to give up.

Both clients drive these; they add only how to send and how to wait.
"""

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import httpx2

from agentsessions.client import calls
from agentsessions.client.calls import Call
from agentsessions.client.errors import AgentSessionsError, ApiError, TimedOut, Unreachable
from agentsessions.client.events import EventDecoder
from agentsessions.client.patience import PASSING, Patience
from agentsessions.client.settings import Settings, may_send_again, unreachable
from agentsessions.client.values import Event

T = TypeVar("T")
NO_CONTENT = 204
UNAUTHENTICATED = 401
STREAM_RETRY_SECONDS = 60.0


class Request(Generic[T]):
    """One request."""

    def __init__(self, settings: Settings, call: Call[T]) -> None:
        self._settings = settings
        self._call = call
        self._patience = Patience(settings.retry_seconds)
        self._token = settings.bearer()

    def to_send(self) -> dict[str, Any]:
        """Return the arguments of the next try."""
        return self._settings.request(self._call, self._token)

    def pause_after(self, error: httpx2.TransportError) -> float:
        """Return how long to wait before the next try.

        Raises:
            Unreachable: There is none.
        """
        pause = self._patience.pause_after_failure(time.monotonic()) if may_send_again(self._call, error) else None
        if pause is None:
            raise Unreachable(unreachable(self._settings.url, error)) from error
        return pause

    def pause_after_refusal(self, answer: httpx2.Response) -> float:
        """Return how long to wait before the next try.

        Raises:
            ApiError: There is none.
        """
        refusal = to_refusal(answer)
        if refusal.status == UNAUTHENTICATED:
            old, self._token = self._token, self._settings.bearer()
            if self._token != old:
                return 0.0
        is_passing = self._call.is_repeatable and refusal.status in PASSING
        pause = self._patience.pause_after_failure(time.monotonic(), refusal.retry_after) if is_passing else None
        if pause is None:
            raise refusal
        return pause

    def read(self, answer: httpx2.Response) -> T:
        """Return the value of a 2xx answer."""
        return calls.read_answer(self._call, answer.content)


class Stream:
    """One stream of events, over as many connections as it takes."""

    def __init__(
        self, settings: Settings, make: Callable[[int], Call[None]], after: int, timeout: float | None
    ) -> None:
        """Begin behind entry `after`; `make` returns the request for what comes behind an entry."""
        self._settings = settings
        self._make = make
        self._timeout = timeout
        self._ends_at = None if timeout is None else time.monotonic() + timeout
        self._decoder = EventDecoder(last_seq=after)
        self._patience = Patience(STREAM_RETRY_SECONDS)

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self._decoder.is_done

    def to_send(self) -> dict[str, Any]:
        """Return the arguments of the next connection.

        Raises:
            TimedOut: The time is over.
        """
        self._decoder.begin()
        sent = self._settings.request(self._make(self._decoder.last_seq), self._settings.bearer())
        return {**sent, "timeout": self._settings.stream_timeout(self._left())}

    def note_open(self, answer: httpx2.Response) -> None:
        """Take the beginning of an answer whose body was read if it is a refusal.

        Raises:
            ApiError: The gateway refused.
        """
        if not answer.is_success:
            raise to_refusal(answer)
        self._decoder.is_done = answer.status_code == NO_CONTENT

    def take(self, line: str) -> Event | None:
        """Take a line; return the event that it completes."""
        event = self._decoder.feed(line)
        if event is not None:
            self._patience.note_success()
        return event

    def must_reconnect(self, line: str) -> bool:
        """Return whether to leave this connection: its silence may last longer than the time that is left.

        Raises:
            TimedOut: The time is over.
        """
        left = self._left()
        return left is not None and line.startswith(":") and left < self._settings.silence_seconds

    def pause_after_end(self) -> float:
        """Return how long to wait before the next connection, after one that ended in good order."""
        return 0.0 if self.is_over else self._pause(Unreachable(f"the stream of {self._settings.url} ends too often"))

    def pause_after(self, error: Exception) -> float:
        """Return how long to wait before the next connection.

        Raises:
            AgentSessionsError: There is none.
        """
        if isinstance(error, ApiError):
            if error.status not in PASSING:
                raise error
            return self._pause(error, error.retry_after)
        return self._pause(Unreachable(unreachable(self._settings.url, error)))

    def _pause(self, problem: AgentSessionsError, asked: float | None = None) -> float:
        pause, left = self._patience.pause_after_failure(time.monotonic(), asked), self._left()
        if pause is None:
            raise problem
        return pause if left is None else min(pause, left)

    def _left(self) -> float | None:
        if self._ends_at is None:
            return None
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimedOut(f"the session goes on after {self._timeout:g} s")
        return left


def to_refusal(answer: httpx2.Response) -> ApiError:
    """Return what a refusal says; its body was read."""
    return calls.to_error(answer.status_code, answer.content, answer.headers.get("Retry-After"))
