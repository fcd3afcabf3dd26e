"""What the gateway counts. Labels come from closed sets: never a name, a uid or a path with either."""

import time
from enum import StrEnum
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OTHER: Final = "other"
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Stream(StrEnum):
    """Answers without known end."""

    EVENTS = "events"
    SOCKET = "socket"
    REPLAY = "replay"
    EXPORT = "export"
    LEVELS = "levels"


REQUESTS: Final = Counter("agentsessions_gateway_requests", "HTTP requests answered.", ["method", "route", "status"])
REQUEST_SECONDS: Final = Histogram(
    "agentsessions_gateway_request_seconds",
    "Time from a request's arrival to the first byte of its answer.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
OPEN_STREAMS: Final = Gauge("agentsessions_gateway_open_streams", "Streams that are open.", ["stream"])
DROPPED_STREAMS: Final = Counter(
    "agentsessions_gateway_dropped_streams", "Streams ended because the reader was too slow.", ["stream"]
)
REMOVED_SESSIONS: Final = Counter(
    "agentsessions_gateway_removed_sessions", "Sessions removed from the journal because they were too old."
)
WATCH_AGE_SECONDS: Final = Gauge(
    "agentsessions_gateway_watch_age_seconds", "Seconds since the API server was last heard of on the watch."
)
SESSIONS: Final = Gauge("agentsession_sessions", "AgentSessions in the cluster.", ["phase"])


class RequestMetrics:
    """Counts requests by route template, and times them to the first byte of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = _route_of(scope)
                method = scope["method"] if scope["method"] in METHODS else OTHER
                REQUESTS.labels(method, route, str(message["status"])).inc()
                REQUEST_SECONDS.labels(route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counted)


def _route_of(scope: Scope) -> str:
    """Return the path template of the route that took the request: unknown paths are all one label."""
    return getattr(scope.get("route"), "path", OTHER)
