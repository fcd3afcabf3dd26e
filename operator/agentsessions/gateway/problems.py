"""Every answer of the gateway that is not 2xx or 3xx is problem+json (RFC 9457) with a stable `code`.

Raise `ProblemError` anywhere below a route, with a code of `problem_codes`. `install` makes an app turn it, requests
that fail validation, unknown routes, faults of the API server and our own bugs into problems. Routes that OpenAI
clients call carry the same facts under `error`, and `x-should-retry: false` where asking again cannot help.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocketState

from agentsessions.api.wire import OPENAI_PATH, Problem
from agentsessions.engine.errors import ApiError
from agentsessions.gateway import paths
from agentsessions.gateway.problem_codes import PROBLEMS, Code, ProblemCode, kind_of
from agentsessions.gateway.requests import HEADER, method_of, request_id_of
from agentsessions.journal.refusals import StoreClosed, StoreUnavailable

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
NO_RETRY: Final = "x-should-retry"
"""Header by which OpenAI clients are told whether to try again."""
PASSING: Final = frozenset({425, 429, 502, 503, 504})
"""Statuses that pass; all others are final unless said otherwise."""

FRAMEWORK: Final[Mapping[int, ProblemCode]] = {
    PROBLEMS[code].status: code
    for code in (
        ProblemCode.NOT_FOUND,
        ProblemCode.METHOD_NOT_ALLOWED,
        ProblemCode.TOO_LARGE,
        ProblemCode.INVALID_REQUEST,
    )
}
"""Codes of statuses that a framework raises without one; all others are bad requests."""


class ProblemError(Exception):
    """An answer other than success, raised where it is found."""

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        final: bool | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """Describe the problem.

        Args:
            code: Stable code that programs branch on; title and status follow from it.
            detail: What failed, on what, what was allowed, what to do next.
            status: HTTP status in place of the code's own.
            headers: Additional headers, such as Retry-After.
            final: Whether asking again is pointless; by default all but 425, 429 and 5xx that pass.
            error: Replaces the `error` member that OpenAI clients read.
        """
        kind = kind_of(code)
        self.status = kind.status if status is None else status
        super().__init__(f"{self.status} {code}: {detail}")
        self.code = code.value
        self.title = kind.title
        self.detail = detail
        self.headers = dict(headers or {})
        self.is_final = self.status not in PASSING if final is None else final
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
    return ProblemError(ProblemCode.NOT_FOUND, what)


def unavailable(detail: str, *, retry_after_seconds: int = 1) -> ProblemError:
    """Return the problem of something that passes by itself."""
    headers = {"Retry-After": str(retry_after_seconds)}
    return ProblemError(ProblemCode.UNAVAILABLE, detail, headers=headers)


def answer(request: HTTPConnection, problem: ProblemError) -> Response:
    """Return the HTTP answer in the form that the request's clients read."""
    is_openai = request.url.path.startswith(OPENAI_PATH)
    return problem.to_response(openai=is_openai, request_id=request_id_of(request))


Answer = Callable[[HTTPConnection, ProblemError], Response]
ToProblem = Callable[[HTTPConnection, Any], ProblemError]
Invalid = RequestValidationError | WebSocketRequestValidationError


def install(app: FastAPI, answer_with: Answer = answer) -> None:
    """Let `app` answer every error as a problem, in the form that `answer_with` gives it."""
    for kind, to_problem in _PROBLEMS.items():
        app.add_exception_handler(kind, _handler(to_problem, answer_with))


def _handler(to_problem: ToProblem, answer_with: Answer) -> Callable[[HTTPConnection, Exception], Awaitable[Response]]:
    async def handle(request: HTTPConnection, error: Exception) -> Response:
        if isinstance(request, WebSocket) and request.application_state is not WebSocketState.CONNECTING:
            raise error  # only a handshake can be refused
        return answer_with(request, to_problem(request, error))

    return handle


def _itself(request: HTTPConnection, error: ProblemError) -> ProblemError:
    del request
    return error


def _of_api_error(request: HTTPConnection, error: ApiError) -> ProblemError:
    if error.is_passing:
        return unavailable(f"The Kubernetes API server does not answer now: {error}. Try again.")
    return _of_bug(request, error)


def _of_store_away(request: HTTPConnection, error: Exception) -> ProblemError:
    del request
    return unavailable(f"{error}.")


def _of_invalid(request: HTTPConnection, error: Invalid) -> ProblemError:
    del request
    found = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
    detail = f"The request is not valid: {'; '.join(found)}. {paths.OPENAPI} describes what is allowed."
    detail = detail.encode(errors="replace").decode()  # names of fields may hold half characters, as JSON can write
    return ProblemError(ProblemCode.INVALID_REQUEST, detail)


def _of_http(request: HTTPConnection, error: HTTPException) -> ProblemError:
    code = FRAMEWORK.get(error.status_code, ProblemCode.BAD_REQUEST)
    detail = f"{method_of(request.scope)} {request.url.path}: {error.detail}. {paths.OPENAPI} lists what there is."
    return ProblemError(code, detail, status=error.status_code, headers=error.headers)


def _of_bug(request: HTTPConnection, error: Exception) -> ProblemError:
    method = method_of(request.scope)
    log.error("request failed", method=method, path=request.url.path, exc_info=error)
    detail = f"{method} {request.url.path} failed in the gateway; its log has the cause. Try again later."
    return ProblemError(ProblemCode.INTERNAL, detail)


_PROBLEMS: Final[Mapping[type[Exception], ToProblem]] = {
    ProblemError: _itself,
    ApiError: _of_api_error,
    StoreUnavailable: _of_store_away,
    StoreClosed: _of_store_away,
    RequestValidationError: _of_invalid,
    WebSocketRequestValidationError: _of_invalid,
    HTTPException: _of_http,
    Exception: _of_bug,
}
