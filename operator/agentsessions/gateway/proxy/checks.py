"""What a request and an answer must be: pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.provider import ModelProviderSpec, ProviderModel
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.proxy.answer import Answer, Usage
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.journal.digests import part_digests, prompt_digests, request_digest
from agentsessions.journal.limits import estimate_input
from agentsessions.journal.rows import TokenUsage

PASSED_ON: Final = frozenset(
    {
        "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "temperature", "top_p", "seed",
        "stop", "presence_penalty", "frequency_penalty", "logit_bias", "reasoning_effort", "verbosity", "user",
        "prompt_cache_key", "safety_identifier",
    }
)  # fmt: skip
"""Fields sent to the provider as they stand."""
OURS: Final = frozenset({"model", "max_tokens", "max_completion_tokens", "stream", "stream_options", "n"})
"""Fields that the proxy answers for itself. All others are refused: several choices, predictions, hosted tools,
other service tiers and stored answers would be paid for and not be counted."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request for an answer, checked."""

    body: dict[str, Any]
    """As the pod sent it."""
    model: str
    digest: str
    """What equal requests share."""
    parts: dict[str, str]
    """Digests of its parts."""
    prompt_digest: str
    """Of all its messages."""
    prefix_digests: tuple[str, ...]
    """Of the messages of all requests that it may continue."""
    size_bytes: int
    messages: list[dict[str, Any]]
    is_streamed: bool
    wants_usage: bool
    asked_output_tokens: int | None

    @property
    def names_calls(self) -> bool:
        """Whether its messages name tool calls, of answers before."""
        return any("tool_calls" in message or "tool_call_id" in message for message in self.messages)


def read_request(raw: bytes) -> ModelRequest:
    """Return the request, checked as far as it can be without knowing the session.

    Raises:
        ProblemError: 400 with what is wrong and what is allowed.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ProblemError(
            ProblemCode.NOT_JSON, f"The request's body is not JSON: {error}. Send one JSON object."
        ) from error
    if not isinstance(body, dict):
        raise ProblemError(ProblemCode.NOT_JSON, "The request's body is JSON, but not an object. Send one JSON object.")
    _check_fields(body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ProblemError(
            ProblemCode.NO_MODEL, "The request has no model. GET /openai/v1/models lists the ones to choose from."
        )
    options = body.get("stream_options")
    messages = _messages(body)
    try:
        digest, (*prefixes, whole), parts = request_digest(body), prompt_digests(body), part_digests(body)
    except TypeError as error:  # JSON that orjson reads, and does not write again
        raise ProblemError(
            ProblemCode.NOT_JSON, f"The request's body is not usable: {error}. Nest less deeply."
        ) from error
    return ModelRequest(
        body=body,
        model=model,
        digest=digest,
        parts=parts,
        prompt_digest=whole,
        prefix_digests=tuple(prefixes),
        size_bytes=len(raw),
        messages=messages,
        is_streamed=body.get("stream") is True,
        wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
        asked_output_tokens=_asked_tokens(body),
    )


def find_model(spec: ModelProviderSpec, name: str) -> ProviderModel:
    """Return the model that the request names.

    Raises:
        ProblemError: 404 with the names on offer.
    """
    for model in spec.models:
        if model.name == name:
            return model
    offered = ", ".join(model.name for model in spec.models)
    detail = f"The provider has no model {name!r}; it has {offered}."
    raise ProblemError(ProblemCode.MODEL_NOT_FOUND, detail)


def check_answer(answer: Answer, *, is_capped_by_us: bool, is_text_only: bool = False) -> None:
    """Refuse an answer that must not become a result.

    An answer that our cap cut off is left to the caller: that is a limit, not a fault.

    Raises:
        ModelFault: The answer is empty, cut off by the provider, or withheld; or asks for tools where a text is due.
    """
    if answer.finish_reason == "length" and not is_capped_by_us:
        raise ModelFault(
            ErrorCode.MODEL_ERROR,
            "The model's answer was cut off at the length that the request or the provider allows. Ask for more in "
            "max_tokens, or for less in the instructions.",
            is_charged=True,
        )
    if answer.finish_reason == "content_filter":
        message = "The provider's content filter withheld the answer."
        raise ModelFault(ErrorCode.MODEL_ERROR, message, is_charged=True)
    if is_text_only and answer.calls:
        message = "The model asked for tools where none were offered, and a summary in words was asked for."
        raise ModelFault(ErrorCode.MODEL_ERROR, message, is_charged=True)
    if answer.finish_reason != "length" and not answer.text.strip() and not answer.calls:
        message = f"The model's answer is empty: no text, no tool calls (finish_reason {answer.finish_reason!r})."
        raise ModelFault(ErrorCode.EMPTY_ANSWER, message, is_charged=True)


def _check_fields(body: Mapping[str, Any]) -> None:
    # An explicit null is what clients send for "not given".
    unknown = sorted(key for key, value in body.items() if value is not None and key not in PASSED_ON | OURS)
    if unknown:
        allowed = ", ".join(sorted(PASSED_ON | OURS))
        detail = f"The request has {', '.join(unknown)}, which cannot be accounted for. Allowed are {allowed}."
        raise ProblemError(ProblemCode.UNSUPPORTED_FIELD, detail)
    if body.get("n") not in {None, 1}:
        raise ProblemError(
            ProblemCode.UNSUPPORTED_FIELD, f"The request asks for n={body['n']} answers; only 1 is allowed."
        )
    for tool in body.get("tools") or ():
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise ProblemError(
                ProblemCode.UNSUPPORTED_TOOL, "The request has a tool whose type is not function; others are refused."
            )


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise ProblemError(
            ProblemCode.NO_MESSAGES, "The request has no messages. Send a list of at least one message object."
        )
    return messages


def _asked_tokens(body: Mapping[str, Any]) -> int | None:
    asked = [body[name] for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
    for value in asked:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ProblemError(
                ProblemCode.BAD_MAX_TOKENS, f"The request's cap is {value!r}; it must be a whole number from 1."
            )
    return min(asked, default=None)


def reported(usage: Usage | None) -> TokenUsage | None:
    """Return what the provider said it used, if it did."""
    return None if usage is None else TokenUsage(usage.input_tokens, usage.output_tokens)


def usage_of(request: ModelRequest, answer: Answer) -> TokenUsage:
    """Return what the provider reported, else an estimate that is rather too high."""
    return reported(answer.usage) or TokenUsage(
        estimate_input(request.size_bytes, None), estimate_input(answer.size_bytes, None)
    )
