"""What the API server says no with, as types.

Three families: the caller's fault (`NotFound`, `Conflict`, ... : no retry), passing (`is_passing`: back off and try
again), and everything else, which is a bug or a missing right and surfaces.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Final


class ApiError(Exception):
    """A request that the API server refused, or that did not reach it."""

    def __init__(
        self, status: int, reason: str, message: str, retry_after: float | None = None, *, said: str = ""
    ) -> None:
        """Tell what came back.

        Args:
            status: HTTP status; 0 when there was no answer.
            reason: The `reason` of the Status object, such as `AlreadyExists`.
            message: What failed, on what.
            retry_after: Seconds that the server asks to wait.
            said: The `message` of the Status object, as people read it who use kubectl.
        """
        super().__init__(f"{message} ({status} {reason})")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.said = said or message

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later: 429, 5xx, or no answer at all."""
        too_many, server = HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INTERNAL_SERVER_ERROR
        return self.status in {0, too_many} or self.status >= server


class NotFound(ApiError):  # noqa: N818 - named as the API server names it
    """404."""


class Conflict(ApiError):  # noqa: N818 - named as the API server names it
    """409: the object is not the one that was read any more (resourceVersion or uid)."""


class AlreadyExists(ApiError):  # noqa: N818 - named as the API server names it
    """409 of a create. No `Conflict`: what to do next is not the same."""


class Gone(ApiError):  # noqa: N818 - named as the API server names it
    """410: the resourceVersion or the continue token is too old. List again."""


class Forbidden(ApiError):  # noqa: N818 - named as the API server names it
    """403: RBAC, a quota or an admission policy refuses."""


class Invalid(ApiError):  # noqa: N818 - named as the API server names it
    """422: the object breaks its schema or a rule."""


class Unreachable(ApiError):  # noqa: N818 - a state of the network, next to the names above
    """No answer, or only half of one. Whether the request took effect is not known."""

    STATUS: ClassVar[int] = 0

    def __init__(self, message: str) -> None:
        super().__init__(self.STATUS, "Unreachable", message)


class Silent(Unreachable):
    """A watch of which nothing was heard for too long, no bookmark either: it is not known what it missed."""


_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Gone,
    HTTPStatus.UNPROCESSABLE_ENTITY: Invalid,
}


def to_error(status: int, answer: object, doing: str, retry_after_header: str | None = None) -> ApiError:
    """Return the error that an answer stands for.

    Args:
        status: HTTP status, or the `code` of an ERROR event in a watch.
        answer: The decoded body: a Status object, when it comes from the API server and not from something before it.
        doing: Verb and path, for the message.
        retry_after_header: Value of the header `Retry-After`, if any.
    """
    body: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
    reason = str(body.get("reason") or _default_reason(status))
    said = str(body.get("message") or "")
    message = f"{doing}: {said or 'no message'}"
    kind = AlreadyExists if reason == "AlreadyExists" else _BY_STATUS.get(status, ApiError)
    details = body.get("details") or {}
    wait = _seconds(retry_after_header, details.get("retryAfterSeconds"))
    return kind(status, reason, message, wait, said=said)


def _default_reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.replace(" ", "")
    except ValueError:
        return "Unknown"


def _seconds(header: str | None, detail: object) -> float | None:
    """Return what the server asks to wait. The API server sends whole seconds; a date of a proxy is not honoured."""
    if header is not None and header.strip().isdecimal():
        return float(header)
    return float(detail) if isinstance(detail, int) and detail > 0 else None
