"""From a provider's deltas to one complete answer: pure.

Providers differ in what they leave out: ids, indexes, `arguments` in the first delta, `content: null`, usage in a
chunk of its own or in the last one. All of them end a choice with `finish_reason`; an answer without one was cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final

from agentsessions.api.reasons import ErrorCode
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.written import to_readable

MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
"""Text, names and arguments of one answer; no model writes that much, a broken server may."""
MAX_CALLS: Final = 1000
"""Tool calls of one answer; likewise."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the provider reported."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete answer of a model."""

    text: str
    calls: tuple[dict[str, Any], ...]
    """Tool calls in the wire's form, with the provider's ids."""
    finish_reason: str
    usage: Usage | None
    created: int

    @property
    def size_bytes(self) -> int:
        """Text, names and arguments together."""
        parts = [call["function"] for call in self.calls]
        said = self.text + "".join(part["name"] + part["arguments"] for part in parts)
        return len(said.encode())

    def to_completion(self, answer_id: str, model: str) -> dict[str, Any]:
        """Return the `chat.completion` that is journaled and relayed; `model` is the name that sessions use."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.calls:
            message["tool_calls"] = [dict(call) for call in self.calls]
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason, "logprobs": None}
        completion: dict[str, Any] = {
            "id": answer_id,
            "object": "chat.completion",
            "created": self.created,
            "model": model,
            "choices": [choice],
        }
        return completion


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: StringIO = field(default_factory=StringIO)


class Accumulator:
    """Collects the chunks of a stream."""

    def __init__(self, on_text: Callable[[str], None] | None = None) -> None:
        """Collect nothing yet; `on_text` hears of each piece of text as it comes."""
        self._on_text = on_text
        # Not a list: a hostile server may send its text character by character, and each would cost fifty bytes.
        self._text = StringIO()
        self._calls: dict[int, _Call] = {}
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._created = 0
        self._size_bytes = 0

    @property
    def is_begun(self) -> bool:
        """Whether the model has said anything."""
        return bool(self._text.tell() or self._calls or self._finish_reason)

    @property
    def usage(self) -> Usage | None:
        """What the provider has reported until now."""
        return self._usage

    @property
    def received_bytes(self) -> int:
        """Text, names and arguments that came until now."""
        parts = [self._text.getvalue(), *(call.name + call.arguments.getvalue() for call in self._calls.values())]
        return sum(len(part.encode("utf-8", "surrogatepass")) for part in parts)

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take one chunk, or a whole `chat.completion` from a provider that does not stream.

        Raises:
            ModelFault: The chunk is not in the form of Chat Completions, or says more than one answer.
        """
        try:
            self._add(chunk)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise malformed(f"a chunk of its answer has an unknown form ({error!r})") from error

    def _add(self, chunk: Mapping[str, Any]) -> None:
        self._usage = _to_usage(chunk.get("usage")) or self._usage
        self._created = int(chunk.get("created") or self._created)
        for choice in chunk.get("choices") or ():
            if choice.get("index") or len(chunk["choices"]) > 1:
                raise malformed("it sent more than one choice, and one was asked for")
            self._add_delta(choice.get("delta") or choice.get("message") or {})
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
        if self._size_bytes > MAX_ANSWER_BYTES:
            raise malformed(f"its answer is larger than {MAX_ANSWER_BYTES} bytes")

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        # A refusal is an answer in words; the agent and the reader shall see it as one.
        for piece in (delta.get("content"), delta.get("refusal")):
            if piece:
                self._size_bytes += self._text.write(_string(piece))
                if self._on_text is not None:
                    self._on_text(piece)
        for position, part in enumerate(delta.get("tool_calls") or ()):
            self._add_call(position, part)

    def _add_call(self, position: int, part: Mapping[str, Any]) -> None:
        index = part.get("index")
        call = self._calls.setdefault(position if index is None else int(index), _Call())
        if len(self._calls) > MAX_CALLS:
            raise malformed(f"its answer asks for more than {MAX_CALLS} tool calls")
        function = part.get("function") or {}
        call.id = call.id or _mended(_string(part.get("id") or ""))
        call.name = call.name or _mended(_string(function.get("name") or ""))
        self._size_bytes += len(call.id) + len(call.name)
        self._size_bytes += call.arguments.write(_string(function.get("arguments") or ""))

    def finish(self) -> Answer:
        """Return the answer.

        Raises:
            ModelFault: The stream ended before the model said why it stopped.
        """
        if self._finish_reason is None:
            raise cut("the stream ended without finish_reason", is_charged=self.is_begun)
        calls = tuple(
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": to_readable(_mended(call.arguments.getvalue()))},
            }
            for _, call in sorted(self._calls.items())
        )
        return Answer(_mended(self._text.getvalue()), calls, self._finish_reason, self._usage, self._created)


def cut(detail: str, *, is_charged: bool) -> ModelFault:
    """Return the fault of a connection that failed or broke off."""
    message = f"The connection to the model provider failed: {detail}."
    return ModelFault(ErrorCode.NETWORK, message, is_retried=True, is_charged=is_charged)


def malformed(detail: str) -> ModelFault:
    """Return the fault of a provider that does not speak Chat Completions."""
    message = f"The model provider does not answer as Chat Completions say: {detail}. Check the ModelProvider's url."
    return ModelFault(ErrorCode.MODEL_ERROR, message, is_charged=True)


def _mended(text: str) -> str:
    # A character outside the basic plane may come as two escapes in two chunks: joined here, or replaced when half.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, found {type(value).__name__}")
    return value


def _to_usage(value: Any) -> Usage | None:
    if not isinstance(value, dict) or value.get("prompt_tokens") is None:
        return None
    return Usage(max(0, int(value["prompt_tokens"])), max(0, int(value.get("completion_tokens") or 0)))
