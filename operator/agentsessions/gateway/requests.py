"""Gives each request an id, and says in the log who was refused and what was changed.

The id is the client's own (`X-Request-Id`) when it is sane, else a new one. It stands in every log line of the
request, in the answer's header, in problems, and in the audit.
"""

import re
import time
import uuid
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentsessions.gateway import genai
from agentsessions.gateway.tracing import NO_SPAN, TRACEPARENT, Span, tracing

log = structlog.get_logger("agentsessions.gateway.access")

HEADER: Final = "X-Request-Id"
SANE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}", re.ASCII)
"""What is taken over from a client: it ends up in logs and in the audit."""
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PEOPLE: Final = ("/api/", "/ui/")
"""Agent pods commit hundreds of turns a second; of them only those that are not let in are told."""
NOT_LET_IN: Final = frozenset({401, 403})
LOWEST_REFUSAL: Final = 400
LOWEST_FAULT: Final = 500
ANSWERS: Final = ("http.response.start", "websocket.http.response.start")
"""Messages that begin an answer; the second refuses a WebSocket in its handshake."""
TRACE_HEADERS: Final = frozenset({TRACEPARENT, "tracestate"})


class RequestContext:
    """Binds the request's id for all that runs below, and writes the access log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _id_of(headers.get(HEADER))
        traced: Span = NO_SPAN
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()

        async def marked(message: Message) -> None:
            if message["type"] in ANSWERS:
                MutableHeaders(scope=message)[HEADER] = request_id
                _trace(traced, scope, message["status"])
                _note(scope, message["status"], time.perf_counter() - began)
            await send(message)

        # Each request runs in a task of its own: what is bound here ends with it.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        with tracing().request({name: value for name, value in headers.items() if name in TRACE_HEADERS}) as span:
            traced = span
            span.note({genai.METHOD: method_of(scope), genai.REQUEST_ID: request_id})
            await self._app(scope, receive, marked)


def request_id_of(request: HTTPConnection) -> str:
    """Return the id of a request; empty outside of an app that gives ids."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def method_of(scope: Scope) -> str:
    """Return the method of a request; a WebSocket begins as a GET."""
    return str(scope.get("method", "GET"))


def name_session(uid: str) -> None:
    """Have the request's further log lines name the session."""
    structlog.contextvars.bind_contextvars(session_uid=uid)


def name_user(name: str) -> None:
    """Have the request's further log lines name the caller."""
    structlog.contextvars.bind_contextvars(user=name)


def _id_of(given: str | None) -> str:
    return given if given is not None and SANE.fullmatch(given) else str(uuid.uuid4())


def _trace(span: Span, scope: Scope, status: int) -> None:
    route = getattr(scope.get("route"), "path", "")
    span.rename(f"{method_of(scope)} {route}".rstrip())
    span.note({genai.STATUS: status, **({genai.ROUTE: route} if route else {})})
    if status >= LOWEST_FAULT:
        span.note({genai.ERROR: str(status)})


def _note(scope: Scope, status: int, seconds: float) -> None:
    is_refusal = status in NOT_LET_IN
    if scope["path"].startswith(PEOPLE):
        is_refusal = status >= LOWEST_REFUSAL
        if method_of(scope) not in READS and not is_refusal:
            _log("request changed something", scope, status, seconds)
    if is_refusal:
        _log("request refused", scope, status, seconds)


def _log(event: str, scope: Scope, status: int, seconds: float) -> None:
    milliseconds = round(seconds * 1000, 1)
    log.info(event, method=method_of(scope), path=scope["path"], status=status, duration_milliseconds=milliseconds)
