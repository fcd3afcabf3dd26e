"""kopf as a shell: credentials, start and end, and the streams of our own kinds. Nothing else of it is used.

No create, update, delete or resume handler, no daemon, timer, index or retry: with any of them kopf would keep its
state in our objects, by writes of its own.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final

import aiohttp
import kopf
import structlog

from agentsessions.controller.app import Operator
from agentsessions.controller.kinds import (
    AGENT_SESSIONS,
    MODEL_PROVIDERS,
    SESSION_QUOTAS,
    SESSION_TEMPLATES,
    TOOL_SERVERS,
)
from agentsessions.controller.watched import Watched
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.engine.resources import Resource

PAGE: Final = 500
WATCH_SECONDS: Final = 280
CONNECT_SECONDS: Final = 10
REQUEST_SECONDS: Final = 30
"""For one page of a list. kopf's own 300 s would let a list that is never answered hide every new session so long."""
RETRIES_SECONDS: Final = (0.5, 1.0, *[2.0] * 90)
"""Pauses while a list or a watch fails; after the last one the process ends, and starts anew. kopf's own grow to 21 s:
the streams would be back so long after the API server is."""
EXIT_SECONDS: Final = 60

log = structlog.get_logger(__name__)


class NoProgress(kopf.ProgressStorage):
    """Keeps nothing: no handler of ours has progress."""

    def fetch(self, **_: Any) -> None:
        """Find nothing."""

    def store(self, **_: Any) -> None:
        """Store nothing."""

    def purge(self, **_: Any) -> None:
        """Have nothing to purge."""

    def touch(self, **_: Any) -> None:
        """Never touch an object."""

    def clear(self, *, essence: Any) -> Any:
        """Have nothing to clear."""
        return essence


class NoDiffBase(kopf.DiffBaseStorage):
    """Remembers no earlier state: no handler of ours is told differences."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """See nothing essential: kopf's own copies the whole object, 0.06 ms at each event."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Find nothing."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


def build_settings() -> kopf.OperatorSettings:
    """Return settings under which kopf never writes."""
    settings = kopf.OperatorSettings()
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = PAGE
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.error_backoffs = RETRIES_SECONDS
    settings.process.ultimate_exiting_timeout = EXIT_SECONDS
    return settings


def build_registry(operator: Operator, access: ClusterAccess, stop: asyncio.Event) -> kopf.OperatorRegistry:
    """Return all handlers of the process."""
    registry = kopf.OperatorRegistry()
    tasks: set[asyncio.Task[None]] = set()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        """Hand our credentials to kopf; asked again after a 401."""
        return to_kopf_session(access, operator.note_stream)

    @kopf.on.startup(registry=registry)
    async def start(**_: Any) -> None:
        """Run our own parts beside kopf."""
        tasks.add(asyncio.create_task(run_or_stop(operator, stop), name="operator"))

    @kopf.on.cleanup(registry=registry)
    async def end(**_: Any) -> None:
        """End our own parts."""
        await cancel(tasks)

    kopf.on.event(*_selector(AGENT_SESSIONS), registry=registry, id="session")(_noting(operator.sessions))
    kopf.on.event(*_selector(MODEL_PROVIDERS), registry=registry, id="provider")(_noting(operator.providers))
    kopf.on.event(*_selector(SESSION_QUOTAS), registry=registry, id="quota")(_noting(operator.quotas))
    kopf.on.event(*_selector(SESSION_TEMPLATES), registry=registry, id="template")(_noting(operator.templates))
    kopf.on.event(*_selector(TOOL_SERVERS), registry=registry, id="tool-server")(_noting(operator.tool_servers))
    return registry


def to_kopf_session(access: ClusterAccess, on_watch: Callable[[str], None]) -> kopf.AiohttpSession:
    """Return a session of its own for kopf's streams. Each request carries the token as it then is: tokens expire.

    `on_watch` is told the path of each watch that the API server answers: kopf itself says nothing of its streams.
    """

    async def authorize(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        token = access.token()
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        request.server_hostname = access.server_hostname
        response = await send(request)
        if response.ok and request.url.query.get("watch") == "true":
            on_watch(request.url.path)
        return response

    connector = aiohttp.TCPConnector(limit=0, ssl=access.ssl)
    session = aiohttp.ClientSession(connector=connector, middlewares=(authorize,), trust_env=False)
    return kopf.AiohttpSession(
        server=access.server, aiohttp_session=session, default_namespace=access.default_namespace
    )


async def run_or_stop(operator: Operator, stop: asyncio.Event) -> None:
    """Run our parts; if one breaks, end the process, so that Kubernetes starts it anew."""
    try:
        await operator.run()
    except Exception as error:
        operator.is_broken = True
        log.critical("operator broke", error=repr(error), exc_info=error)
    finally:
        stop.set()


async def cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    """End tasks, and wait until they have."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _selector(resource: Resource) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural


def _noting(watched: Watched[Any]) -> Callable[..., Any]:
    async def note(event: kopf.RawEvent, **_: Any) -> None:
        """Remember the object as it now is; whatever follows from that happens elsewhere."""
        watched.note(event["type"], dict(event["object"]))

    return note
