"""Where spans go: nowhere, unless the process was told to trace (`otel`). Code that is traced knows this module alone.

OpenTelemetry is imported only when it is on: a gateway that does not trace starts as fast, and takes no more memory.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

from agentsessions.journal.rows import PodIdentity

Value = str | int | float | bool | list[str]
Attributes = Mapping[str, Value]
TRACEPARENT: Final = "traceparent"


class Span(Protocol):
    """A span under way."""

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""

    def rename(self, name: str) -> None:
        """Give another name, once it is known."""


class Tracing(Protocol):
    """Makes spans."""

    captures_content: bool
    """Whether messages go into spans."""

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Return a span within what runs now."""

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """Return the span of a request, within the trace that its headers name."""

    def begin_turn(self, pod: PodIdentity, round_: int, k: int) -> str | None:
        """Begin the span of a turn, or find it; return the `traceparent` by which the pod's requests join it."""

    def end_turn(self, pod: PodIdentity, attributes: Attributes) -> None:
        """End the span of the pod's turn."""


class _NoSpan:
    def note(self, attributes: Attributes) -> None:
        """Take nothing."""

    def rename(self, name: str) -> None:
        """Take nothing."""


NO_SPAN: Final = _NoSpan()


class NoTracing:
    """Traces nothing."""

    captures_content = False

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Return no span."""
        del name, attributes
        return nullcontext(NO_SPAN)

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """Return no span."""
        del headers
        return nullcontext(NO_SPAN)

    def begin_turn(self, pod: PodIdentity, round_: int, k: int) -> str | None:
        """Begin nothing."""
        del pod, round_, k
        return None

    def end_turn(self, pod: PodIdentity, attributes: Attributes) -> None:
        """End nothing."""


class _Chosen:
    def __init__(self) -> None:
        self.tracing: Tracing = NoTracing()


_chosen: Final = _Chosen()


def use(tracing: Tracing) -> None:
    """Have all spans go to `tracing` from now on."""
    _chosen.tracing = tracing


def tracing() -> Tracing:
    """Return where spans go now."""
    return _chosen.tracing
