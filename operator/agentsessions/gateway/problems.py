"""Every answer of the gateway that is not 2xx or 3xx is problem+json (RFC 9457) with a stable `code`.

Raise `ProblemError` anywhere below a route. `install` makes an app turn it, requests that fail validation, unknown
routes, faults of the API server and our own bugs into problems. Routes that OpenAI clients call carry the same facts
under `error`, and `x-should-retry: false` where asking again cannot help.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from agentsessions.api.wire import OPENAI_PATH, Problem
from agentsessions.engine.errors import ApiError
from agentsessions.gateway.requests import HEADER, request_id_of
from agentsessions.journal.refusals import StoreClosed, StoreUnavailable

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
NO_RETRY: Final = "x-should-retry"
"""Header by which OpenAI clients are told whether to try again."""
PASSING: Final = frozenset({425, 429, 502, 503, 504})
"""Statuses that pass; all others are final unless said otherwise."""

CODES: Final[Mapping[int, str]] = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    500: "internal",
    503: "unavailable",
}
"""Codes of statuses that a framework raises without one."""


class ProblemError(Exception):
    """An answer other than success, raised where it is found."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        final: bool | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """Describe the problem.

        Args:
            status: HTTP status.
            code: Stable code that programs branch on.
            title: The same few words for each problem of this code.
            detail: What failed, on what, what was allowed, what to do next.
            headers: Additional headers, such as Retry-After.
            final: Whether asking again is pointless; by default all but 425, 429 and 5xx that pass.
            error: Replaces the `error` member that OpenAI clients read.
        """
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.is_final = status not in PASSING if final is None else final
        self.error = dict(error) if error is not None else None

    def to_problem(self, *, openai: bool = False, request_id: str | None = None) -> Problem:
        """Return the body; with `openai` the `error` member is always there."""
        error = self.error
        if error is None and openai:
            error = {"message": self.detail, "type": self.title, "code": self.code}
        return Problem(
            title=self.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            request_id=request_id,
            error=error,
        )

    def to_response(self, *, openai: bool = False, request_id: str = "") -> Response:
        """Return the HTTP answer."""
        headers = dict(self.headers) | ({HEADER: request_id} if request_id else {})
        if openai and self.is_final:
            headers[NO_RETRY] = "false"
        body = orjson.dumps(self.to_problem(openai=openai, request_id=request_id or None).to_json())
        return Response(body, self.status, headers, MEDIA_TYPE)


def not_found(what: str) -> ProblemError:
    """Return the problem of something that is not there, or not there for this caller."""
    return ProblemError(404, "not_found", "Not found", what)


def unavailable(detail: str, *, retry_after_seconds: int = 1) -> ProblemError:
    """Return the problem of something that passes by itself."""
    headers = {"Retry-After": str(retry_after_seconds)}
    return ProblemError(503, "unavailable", "Not available now", detail, headers=headers)


def answer(request: Request, problem: ProblemError) -> Response:
    """Return the HTTP answer in the form that the request's clients read."""
    is_openai = request.url.path.startswith(OPENAI_PATH)
    return problem.to_response(openai=is_openai, request_id=request_id_of(request))


def install(app: FastAPI) -> None:
    """Let `app` answer every error as a problem."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(StoreUnavailable, _on_store_away)
    app.add_exception_handler(StoreClosed, _on_store_away)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for this class
    return answer(request, error)


async def _on_api_error(request: Request, error: Exception) -> Response:
    if isinstance(error, ApiError) and error.is_passing:
        return answer(request, unavailable(f"The Kubernetes API server does not answer now: {error}. Try again."))
    return await _on_bug(request, error)


async def _on_store_away(request: Request, error: Exception) -> Response:
    return answer(request, unavailable(f"{error}."))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    found = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
    detail = f"The request is not valid: {'; '.join(found)}. /api/v1/openapi.json describes what is allowed."
    detail = detail.encode(errors="replace").decode()  # names of fields may hold half characters, as JSON can write
    return answer(request, ProblemError(422, CODES[422], "Request not valid", detail))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    title = HTTPStatus(error.status_code).phrase
    code = CODES.get(error.status_code, f"http_{error.status_code}")
    detail = f"{request.method} {request.url.path}: {error.detail}. /api/v1/openapi.json lists what there is."
    return answer(request, ProblemError(error.status_code, code, title, detail, headers=error.headers))


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    detail = f"{request.method} {request.url.path} failed in the gateway; its log has the cause. Try again later."
    return answer(request, ProblemError(500, CODES[500], "Internal error", detail))
