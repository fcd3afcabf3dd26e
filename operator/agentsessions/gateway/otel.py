"""Sends spans to an OpenTelemetry collector, over OTLP/HTTP. Imported only by a gateway that is told to trace.

Where to, how often and how much is said by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, ..._HEADERS,
OTEL_TRACES_SAMPLER). Exceptions are named by their class alone: their texts may hold content.

The span of a turn begins when a runner gets the turn and ends with its commit. Its context goes to the runner in the
answer's header `traceparent`, which comes back with each request of that turn: the runner itself sends no span.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agentsessions.gateway import genai, tracing
from agentsessions.gateway.tracing import TRACEPARENT, Attributes, Span
from agentsessions.journal import measures
from agentsessions.journal.rows import PodIdentity

SERVICE: Final = "agentsessions-gateway"
MOST_TURNS: Final = 10_000
_PROPAGATOR: Final = TraceContextTextMapPropagator()


@dataclass(slots=True)
class OtelSpan:
    """A span of OpenTelemetry."""

    span: trace.Span
    is_error: bool = False

    def note(self, attributes: Attributes) -> None:
        """Add attributes; with one that names an error the span is in error."""
        self.span.set_attributes(attributes)
        if genai.ERROR in attributes:
            self.is_error = True
            self.span.set_status(StatusCode.ERROR)

    def rename(self, name: str) -> None:
        """Give another name."""
        self.span.update_name(name)


@dataclass(frozen=True, slots=True)
class _Turn:
    number: tuple[int, int]
    span: OtelSpan


class OtelTracing:
    """Makes spans, and sends them in batches from a thread of its own."""

    def __init__(self, *, captures_content: bool) -> None:
        self.captures_content = captures_content
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: SERVICE}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("agentsessions.gateway")
        self._turns: OrderedDict[tuple[str, str], _Turn] = OrderedDict()

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Return a span within what runs now."""
        kind = SpanKind.CLIENT if attributes.get(genai.OPERATION) == genai.CHAT else SpanKind.INTERNAL
        return self._open(name, kind, attributes)

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """Return the span of a request, within the trace that its headers name."""
        return self._open("request", SpanKind.SERVER, {}, _PROPAGATOR.extract(headers))

    def begin_turn(self, pod: PodIdentity, round_: int, k: int) -> str | None:
        """Begin the span of a turn, or find it: a later epoch goes on with the same one."""
        key = (pod.session_uid, pod.agent)
        turn = self._turns.get(key)
        if turn is None or turn.number != (round_, k):
            self.end_turn(pod, {genai.OUTCOME: "lost"})
            attributes: Attributes = {
                genai.OPERATION: genai.INVOKE_AGENT,
                genai.AGENT: pod.agent,
                genai.CONVERSATION: pod.session_uid,
                genai.ROUND: round_,
                genai.TURN: k,
            }
            # A trace of its own: a session may last for months.
            root = trace.set_span_in_context(trace.INVALID_SPAN)
            span = self._tracer.start_span(f"{genai.INVOKE_AGENT} {pod.agent}", root, attributes=attributes)
            turn = self._turns[key] = _Turn((round_, k), OtelSpan(span))
            while len(self._turns) > MOST_TURNS:
                _, oldest = self._turns.popitem(last=False)
                oldest.span.span.end()
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(turn.span.span))
        return carrier.get(TRACEPARENT)

    def end_turn(self, pod: PodIdentity, attributes: Attributes) -> None:
        """End the span of the pod's turn."""
        turn = self._turns.pop((pod.session_uid, pod.agent), None)
        if turn is not None:
            turn.span.note({**attributes, genai.EPOCH: pod.epoch})
            turn.span.span.end()

    def write(self) -> AbstractContextManager[Span]:
        """Return the span of a write to the journal, within what is traced; others have none."""
        if not trace.get_current_span().is_recording():
            return tracing.NoTracing().span("", {})
        return self._open("journal commit", SpanKind.INTERNAL, {})

    def close(self) -> None:
        """Send what is left. Blocks until it is gone, or for as long as the exporter waits."""
        for turn in self._turns.values():
            turn.span.span.end()
        self._turns.clear()
        self._provider.shutdown()

    @contextmanager
    def _open(self, name: str, kind: SpanKind, attributes: Attributes, parent: Context | None = None) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind,
            dict(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            found = OtelSpan(span)
            try:
                yield found
            except Exception as error:
                if not found.is_error:
                    found.note({genai.ERROR: type(error).__name__})
                raise


def start(*, captures_content: bool) -> OtelTracing:
    """Have everything traced from now on."""
    found = OtelTracing(captures_content=captures_content)
    tracing.use(found)
    measures.SPANS.write = found.write
    return found
