"""Counts and traces model calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from agentsessions.gateway import genai, metrics
from agentsessions.gateway.metrics import CallOutcome, Direction
from agentsessions.gateway.tracing import NO_SPAN, Span, tracing
from agentsessions.journal.limits import cost_of
from agentsessions.journal.rows import TokenUsage

if TYPE_CHECKING:
    from agentsessions.gateway.proxy.purchase import Wanted

MICRO: Final = 1_000_000


@dataclass(slots=True)
class Observed:
    """One model call, as far as it is known."""

    span: Span = NO_SPAN
    outcome: CallOutcome = CallOutcome.FAILED
    code: str = "internal"
    """Class of the error, until there is an answer."""

    @contextmanager
    def at_provider(self) -> Iterator[None]:
        """Time what happens at the provider."""
        with metrics.MODEL_CALLS_UNDER_WAY.track_inprogress(), metrics.MODEL_CALL_SECONDS.time():
            yield

    def replayed(self) -> None:
        """Note that the journal had the answer."""
        self.outcome = CallOutcome.REPLAYED

    def refused(self, code: str) -> None:
        """Note that nothing may be bought."""
        self.outcome, self.code = CallOutcome.REFUSED, code

    def broken_off(self, code: str) -> None:
        """Note that the session was over."""
        self.outcome, self.code = CallOutcome.BROKEN_OFF, code

    def failed(self, code: str) -> None:
        """Note that no answer came."""
        self.outcome, self.code = CallOutcome.FAILED, code
        metrics.MODEL_CALL_FAILURES.labels(code).inc()

    def bought(self, wanted: "Wanted", usage: TokenUsage, completion: dict[str, Any]) -> None:
        """Note the answer."""
        self.outcome = CallOutcome.BOUGHT
        metrics.MODEL_TOKENS.labels(Direction.INPUT).inc(usage.input_tokens)
        metrics.MODEL_TOKENS.labels(Direction.OUTPUT).inc(usage.output_tokens)
        if wanted.model.prices is not None:
            cost = cost_of(wanted.model.prices, usage.input_tokens, usage.output_tokens)
            metrics.MODEL_COST_USD.inc(cost / MICRO)
        self.span.note({genai.INPUT_TOKENS: usage.input_tokens, genai.OUTPUT_TOKENS: usage.output_tokens})
        self.span.note({genai.FINISH_REASONS: [choice["finish_reason"] for choice in completion["choices"]]})
        if tracing().captures_content:
            said = [choice["message"] for choice in completion["choices"]]
            self.span.note({genai.OUTPUT_MESSAGES: orjson.dumps(said).decode()})


@contextmanager
def observe_call(wanted: "Wanted") -> Iterator[Observed]:
    """Count and trace one model call; the block says what became of it."""
    request = wanted.request
    attributes: dict[str, str | int] = {
        genai.OPERATION: genai.CHAT,
        genai.PROVIDER: genai.OPENAI,
        genai.REQUEST_MODEL: request.model,
        genai.CONVERSATION: wanted.pod.session_uid,
        genai.AGENT: wanted.pod.agent,
    }
    if request.asked_output_tokens is not None:
        attributes[genai.REQUEST_MAX_TOKENS] = request.asked_output_tokens
    if tracing().captures_content:
        attributes[genai.INPUT_MESSAGES] = orjson.dumps(request.messages).decode()
    with tracing().span(f"{genai.CHAT} {request.model}", attributes) as span:
        seen = Observed(span)
        try:
            yield seen
        finally:
            metrics.MODEL_CALLS.labels(seen.outcome).inc()
            span.note({genai.OUTCOME: seen.outcome.value})
            if seen.outcome not in {CallOutcome.BOUGHT, CallOutcome.REPLAYED}:
                span.note({genai.ERROR: seen.code})
