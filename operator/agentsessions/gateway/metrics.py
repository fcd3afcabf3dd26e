"""What the gateway counts. Labels come from closed sets: never a name, a uid or a path with either."""

import time
from enum import StrEnum
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentsessions.journal.outbox import Result

OTHER: Final = "other"
INTERNAL_ERROR: Final = 500
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Review(StrEnum):
    """What the API server is asked about a caller."""

    IDENTITY = "identity"
    ACCESS = "access"


class ReviewResult(StrEnum):
    """What it answers."""

    YES = "yes"
    NO = "no"
    FAILED = "failed"


class CallOutcome(StrEnum):
    """What became of a model call."""

    BOUGHT = "bought"
    REPLAYED = "replayed"
    """Answered from the journal."""
    REFUSED = "refused"
    """By a limit of the session, or by the journal."""
    FAILED = "failed"
    BROKEN_OFF = "broken_off"
    """The session was over."""


class Direction(StrEnum):
    """Which way tokens go, as the model sees it."""

    INPUT = "input"
    OUTPUT = "output"


class Stream(StrEnum):
    """Answers without known end."""

    EVENTS = "events"
    SOCKET = "socket"
    REPLAY = "replay"
    EXPORT = "export"
    LEVELS = "levels"


REQUESTS: Final = Counter(
    "agentsession_gateway_requests_total", "HTTP requests answered.", ["method", "route", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "agentsession_gateway_request_seconds",
    "Time from a request's arrival to the first byte of its answer.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
OPEN_STREAMS: Final = Gauge("agentsession_gateway_open_streams", "Streams that are open.", ["stream"])
DROPPED_STREAMS: Final = Counter(
    "agentsession_gateway_dropped_streams_total", "Streams ended because the reader was too slow.", ["stream"]
)
REMOVED_SESSIONS: Final = Counter(
    "agentsessions_gateway_removed_sessions", "Sessions removed from the journal because they were too old."
)
WATCH_AGE_SECONDS: Final = Gauge(
    "agentsession_gateway_watch_age_seconds", "Seconds since the API server was last heard of on the watch."
)
REVIEWS: Final = Counter(
    "agentsession_gateway_reviews_total",
    "Questions to the API server who a caller is and what they may.",
    ["review", "result"],
)
REVIEW_SECONDS: Final = Histogram(
    "agentsession_gateway_review_seconds",
    "Time of one such question.",
    ["review"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10),
)
REMEMBERED_REVIEWS: Final = Counter(
    "agentsession_gateway_remembered_reviews_total",
    "Questions of that kind that were answered from memory.",
    ["review"],
)
LEVELS_SENT: Final = Counter("agentsession_gateway_levels_sent_total", "Levels of sessions told to the operator.")
MODEL_CALLS: Final = Counter("agentsession_model_calls_total", "Model calls of agents.", ["outcome"])
MODEL_CALL_FAILURES: Final = Counter(
    "agentsession_model_call_failures_total", "Model calls that brought no answer, by class of error.", ["code"]
)
MODEL_CALL_SECONDS: Final = Histogram(
    "agentsession_model_call_seconds",
    "Time at the provider, its retries included, whether or not an answer came.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320),
)
MODEL_CALLS_UNDER_WAY: Final = Gauge("agentsession_model_calls_under_way", "Model calls at a provider now.")
MODEL_TOKENS: Final = Counter("agentsession_model_tokens_total", "Tokens of answers that were bought.", ["direction"])
MODEL_COST_USD: Final = Counter(
    "agentsession_model_cost_usd_total", "Cost of answers that were bought from models with prices, in US dollars."
)

WEBHOOK_REQUESTS: Final = Counter(
    "agentsession_webhook_requests_total", "Requests that told receivers of transitions.", ["result"]
)
WEBHOOK_WAITING: Final = Gauge("agentsession_webhook_waiting_deliveries", "Transitions that are still to be delivered.")
WEBHOOK_OLDEST_SECONDS: Final = Gauge(
    "agentsession_webhook_oldest_seconds", "Age of the oldest transition that is still to be delivered; 0 for none."
)


class RequestMetrics:
    """Counts requests by route template, and times them to the first byte of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, is_counted = time.perf_counter(), False

        def count(status: int) -> None:
            nonlocal is_counted
            is_counted = True
            route = _route_of(scope)
            method = scope["method"] if scope["method"] in METHODS else OTHER
            REQUESTS.labels(method, route, str(status)).inc()
            REQUEST_SECONDS.labels(route).observe(time.perf_counter() - began)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            if not is_counted:
                count(INTERNAL_ERROR)  # what is answered outside of all middleware
            raise


def _route_of(scope: Scope) -> str:
    """Return the path template of the route that took the request: unknown paths are all one label."""
    return getattr(scope.get("route"), "path", OTHER)


for _outcome in CallOutcome:
    MODEL_CALLS.labels(_outcome)  # there from the start: a rate needs a first value
for _result in Result:
    WEBHOOK_REQUESTS.labels(_result)
for _direction in Direction:
    MODEL_TOKENS.labels(_direction)
