"""What a provider's refusal means: pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from agentsessions.api.reasons import ErrorCode
from agentsessions.gateway.proxy.faults import ModelFault

RETRIED: Final = frozenset({408, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed. 529: overloaded, at some vendors."""
SPENT_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes that vendors send with 429 although waiting does not help."""
CONTEXT_STATUSES: Final = frozenset({400, 413, 422, 500})
"""Statuses of a request that is too long. 500: llama.cpp, when it finds out while it answers."""
CONTEXT_CODES: Final = frozenset(
    {"context_length_exceeded", "context_too_long", "request_too_large", "exceed_context_size_error"}
)
CONTEXT_WORDS: Final = (
    "context length",  # vLLM, SGLang, Ollama, Mistral
    "context_length_exceeded",
    "context size",  # llama.cpp
    "context window",  # llama-cpp-python
    "max context",
    "maximum model length",  # vLLM
    "maximum prompt length",  # xAI
    "maximum allowed length",  # SGLang
    "maximum number of tokens allowed",  # Gemini
    "max_seq_len",  # DeepSeek's own server
    "max_tokens must be at least 1, got -",  # older vLLM: what is left of the context is less than nothing
    "`inputs` tokens",  # TGI
    "`inputs` must have less than",  # TGI
    "prompt is too long",  # Anthropic front ends
    "prompt too long",
    "input is too long",  # Bedrock front ends
    "too many tokens",
)
"""How servers say it that send no code, or only the HTTP status as one."""
TOO_LARGE_WORDS: Final = "request too large"
"""What vendors say, with 413 or 429, to one request above what they take in a minute: waiting does not help it."""
MAX_WORDS: Final = 500


def to_fault(status: int, headers: Mapping[str, str], body: bytes, *, secret: str | None) -> ModelFault:
    """Return the fault that a refusal stands for.

    Args:
        status: HTTP status.
        headers: Of the answer; Retry-After is read.
        body: Of the answer, or the beginning of it.
        secret: The API key: it is removed should the provider quote it.
    """
    codes, words = _read(body)
    said = _without(words, secret)[:MAX_WORDS]
    error_code = _classify(status, codes, words.lower())
    message = f"The model provider answered {status}"
    if status in {401, 403}:
        # Vendors quote part of the key here.
        message += ": it does not accept the key of the ModelProvider, or the key may not use this model."
    else:
        message += f": {said}" if said else "."
    return ModelFault(
        error_code,
        message,
        is_retried=status in RETRIED and not codes & SPENT_CODES and error_code is not ErrorCode.CONTEXT_TOO_LONG,
        retry_after_seconds=_retry_after(headers.get("retry-after")),
    )


def _classify(status: int, codes: frozenset[str], words: str) -> ErrorCode:
    if status in CONTEXT_STATUSES and (codes & CONTEXT_CODES or any(said in words for said in CONTEXT_WORDS)):
        return ErrorCode.CONTEXT_TOO_LONG
    if status in {413, 429} and TOO_LARGE_WORDS in words:
        return ErrorCode.CONTEXT_TOO_LONG
    if status == 429:  # noqa: PLR2004 - too many requests
        return ErrorCode.RATE_LIMITED
    if status >= 500:  # noqa: PLR2004 - server errors
        return ErrorCode.OVERLOADED
    return ErrorCode.NETWORK if status == 408 else ErrorCode.MODEL_ERROR  # noqa: PLR2004 - request timeout


def _read(body: bytes) -> tuple[frozenset[str], str]:
    """Return codes and words of an error body, in the forms that servers use.

    Some put the code under `type`, and the HTTP status under `code`.
    """
    text = body.decode("utf-8", "replace")
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return frozenset(), " ".join(text.split())
    if isinstance(found, list) and found:
        found = found[0]  # Gemini's compatible endpoint
    if isinstance(found, dict):
        found = found.get("error", found)
    if not isinstance(found, dict):
        return frozenset(), str(found)
    words = found.get("message") or found.get("detail") or ""
    return frozenset(str(found[name]) for name in ("code", "type") if found.get(name)), str(words)


def _without(text: str, secret: str | None) -> str:
    return text.replace(secret, "[key]") if secret else text


def _retry_after(value: str | None) -> float | None:
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
