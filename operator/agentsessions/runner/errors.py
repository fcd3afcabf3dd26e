"""What can go wrong between runner and gateway, and which answers of the gateway mean which."""

from typing import Final

from agentsessions.api.reasons import FENCE_CODES, LIMIT_CODES, ErrorCode

MODEL_CODES: Final = {code.value: code for code in ErrorCode}
POLICY_STATUS: Final = 403
LIMIT_STATUS: Final = 402
FENCE_STATUS: Final = 412
PASSING_STATUSES: Final = frozenset({408, 425, 429})
FIRST_SERVER_ERROR: Final = 500


class GatewayError(Exception):
    """The gateway refused a request for good, or could not be understood."""


class PassingError(GatewayError):
    """The gateway cannot answer now; the same request will do later."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class FencedError(GatewayError):
    """This pod no longer plays its agent: a newer epoch does, or the session has ended."""


class LimitReachedError(GatewayError):
    """A limit of the session is reached; the gateway has recorded which."""


class RefusedError(GatewayError):
    """A policy refuses what this pod asked for."""


class PersonNeededError(GatewayError):
    """A call of the turn waits for a person; the other calls are settled."""


class ModelFailedError(GatewayError):
    """A model call failed for good, as far as this epoch is concerned."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def to_error(
    status: int | None, code: str | None, message: str, *, retry_after_seconds: float | None = None
) -> GatewayError:
    """Return what an answer other than success means.

    Args:
        status: HTTP status; none for an error inside a stream.
        code: Stable code of the problem.
        message: Sentence of the problem.
        retry_after_seconds: Value of the Retry-After header.
    """
    if status == FENCE_STATUS or code in FENCE_CODES:
        return FencedError(message)
    if status == LIMIT_STATUS or code in LIMIT_CODES.values():
        return LimitReachedError(message)
    if code in MODEL_CODES:
        return ModelFailedError(MODEL_CODES[code], message)
    if status == POLICY_STATUS:
        return RefusedError(message)
    if status is not None and (status in PASSING_STATUSES or status >= FIRST_SERVER_ERROR):
        return PassingError(message, retry_after_seconds=retry_after_seconds)
    return GatewayError(message)


def to_seconds(retry_after: str | None) -> float | None:
    """Return a Retry-After header in seconds; its date form is not used by the gateway and counts as absent."""
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
