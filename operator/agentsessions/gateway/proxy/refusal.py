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
CONTEXT_CODES: Final = frozenset({"context_length_exceeded", "context_too_long", "request_too_large"})
CONTEXT_WORDS: Final = (
    "maximum context length",
    "context_length_exceeded",
    "context length exceeded",
    "context window",
    "prompt is too long",
    "input is too long",
    "too many tokens",
)
"""How servers without codes say it (vLLM, llama.cpp, TGI, Bedrock and Anthropic front ends)."""
MAX_WORDS: Final = 500


def to_fault(status: int, headers: Mapping[str, str], body: bytes, *, secret: str | None) -> ModelFault:
    """Return the fault that a refusal stands for.

    Args:
        status: HTTP status.
        headers: Of the answer; Retry-After is read.
        body: Of the answer, or the beginning of it.
        secret: The API key: it is removed should the provider quote it.
    """
    code, words = _read(body)
    said = _without(words, secret)[:MAX_WORDS]
    error_code = _classify(status, code, words)
    message = f"The model provider answered {status}"
    if status in {401, 403}:
        # Vendors quote part of the key here.
        message += ": it does not accept the key of the ModelProvider, or the key may not use this model."
    else:
        message += f": {said}" if said else "."
    return ModelFault(
        error_code,
        message,
        is_retried=status in RETRIED and code not in SPENT_CODES and error_code is not ErrorCode.CONTEXT_TOO_LONG,
        retry_after_seconds=_retry_after(headers.get("retry-after")),
    )


def _classify(status: int, code: str, words: str) -> ErrorCode:
    if status in {400, 413, 422} and (code in CONTEXT_CODES or any(said in words.lower() for said in CONTEXT_WORDS)):
        return ErrorCode.CONTEXT_TOO_LONG
    if status == 429:  # noqa: PLR2004 - too many requests
        return ErrorCode.RATE_LIMITED
    if status >= 500:  # noqa: PLR2004 - server errors
        return ErrorCode.OVERLOADED
    return ErrorCode.NETWORK if status == 408 else ErrorCode.MODEL_ERROR  # noqa: PLR2004 - request timeout


def _read(body: bytes) -> tuple[str, str]:
    """Return code and words of an error body, in the forms that servers use."""
    text = body.decode("utf-8", "replace")
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "", " ".join(text.split())
    if isinstance(found, dict):
        found = found.get("error", found)
    if not isinstance(found, dict):
        return "", str(found)
    words = found.get("message") or found.get("detail") or ""
    return str(found.get("code") or found.get("type") or ""), str(words)


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
