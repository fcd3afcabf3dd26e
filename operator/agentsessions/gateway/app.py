"""Puts the routes together: the API on TLS, and health and metrics on a port of their own."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from agentsessions.gateway import metrics, openapi, paths, problems
from agentsessions.gateway.bodies import BodyLimit
from agentsessions.gateway.pages.routes import create_pages, go_home
from agentsessions.gateway.proxy.routes import router as runner_router
from agentsessions.gateway.requests import RequestContext
from agentsessions.gateway.routes import (
    approvals,
    archives,
    audit,
    changes,
    clones,
    conversation,
    events,
    figures,
    history,
    levels,
    lists,
    mailbox,
    messages,
    sessions,
    templates,
    usage,
)
from agentsessions.gateway.state import Gateway, WithGateway

VERSION: Final = "v1"


def create_app(gateway: Gateway) -> ASGIApp:
    """Return the API and the page of a gateway."""
    return WithGateway(all_routes(), gateway)


@cache
def all_routes() -> FastAPI:
    """Return the routes of API and page: for all gateways of the process, as to read their signatures takes a while."""
    app = create_api()
    app.add_route("/ui", go_home)
    app.mount("/ui", create_pages())
    app.add_middleware(BodyLimit)
    app.add_middleware(metrics.RequestMetrics)
    app.add_middleware(RequestContext)
    return app


def create_api() -> FastAPI:
    """Return the routes and their description, without anything behind them."""
    app = FastAPI(
        title="agentsessions gateway",
        summary="AI-agent sessions: start them, talk to them, and see what they did, live and afterwards.",
        version=VERSION,
        openapi_url=paths.OPENAPI,
        generate_unique_id_function=openapi.operation_id,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    app.include_router(lists.router)
    app.include_router(sessions.router)
    app.include_router(changes.router)
    app.include_router(clones.router)
    app.include_router(messages.router)
    app.include_router(mailbox.router)
    app.include_router(conversation.router)
    app.include_router(events.router)
    app.include_router(history.router)
    app.include_router(archives.router)
    app.include_router(figures.router)
    app.include_router(audit.router)
    app.include_router(approvals.router)
    app.include_router(templates.router)
    app.include_router(levels.router)
    app.include_router(usage.router)
    app.include_router(runner_router)
    openapi.install(app)
    return app


def create_health_app(gateway: Gateway) -> Starlette:
    """Return liveness, readiness and metrics of a gateway: plain HTTP, for the kubelet and Prometheus."""
    routes = (
        Route("/healthz", _healthz),
        Route("/readyz", _readyz_of(gateway)),
        Route("/metrics", _metrics),
    )
    return Starlette(routes=routes)


async def _healthz(request: Request) -> Response:
    """Answer as long as the event loop turns."""
    del request
    return PlainTextResponse("ok\n")


def _readyz_of(gateway: Gateway) -> Callable[[Request], Awaitable[Response]]:
    async def readyz(request: Request) -> Response:
        """Say whether requests can be answered: the journal is open and knows all sessions."""
        del request
        reason = gateway.why_not_ready()
        return PlainTextResponse("ok\n") if reason is None else PlainTextResponse(f"{reason}\n", status_code=503)

    return readyz


async def _metrics(request: Request) -> Response:
    del request
    return Response(await run_in_threadpool(generate_latest), media_type=CONTENT_TYPE_LATEST)
