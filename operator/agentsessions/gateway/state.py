"""What lives as long as the process, in one place: routes find it at `request.state.gateway`."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from agentsessions.engine.callers import Callers
from agentsessions.engine.client import Client
from agentsessions.gateway.auth import Auth
from agentsessions.gateway.own_ids import OwnIds
from agentsessions.gateway.rates import Rates
from agentsessions.gateway.settings import Settings
from agentsessions.gateway.streams import Changes, StreamCount
from agentsessions.gateway.tails import Tails
from agentsessions.gateway.watch import SessionWatch
from agentsessions.journal.store import Store
from agentsessions.lifecycle.facts import SessionView

if TYPE_CHECKING:
    from agentsessions.gateway.proxy.state import ProxyState


@dataclass
class Gateway:
    """The parts of a running gateway."""

    settings: Settings
    store: Store
    client: Client
    auth: Auth
    watch: SessionWatch
    """AgentSessions of all namespaces, as the API server last showed them."""
    changes: Changes
    """Wakes streams when a session's journal grows."""
    callers: Callers
    """Requests to the API server in the names of those who ask."""
    own_ids: OwnIds
    """Finds sessions by the id that their owners gave them."""
    rates: Rates
    with_goal: set[str] = field(default_factory=set)
    """Sessions whose first message is known to be written. A hint that saves work; the journal decides."""
    importing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the one session that is taken in from a file."""
    tails: Tails = field(init=False)
    """The newest entries of sessions that somebody watches."""
    streams: StreamCount = field(init=False)
    """How many streams each user has open here."""
    _proxy: "ProxyState | None" = None

    def __post_init__(self) -> None:
        """Make the parts that the others make up."""
        self.tails = Tails(self.store, self.changes)
        self.streams = StreamCount(self.settings.streams_per_user)

    @property
    def proxy(self) -> "ProxyState":
        """The model proxy; `open_proxy` makes it from the other parts."""
        if self._proxy is None:
            raise RuntimeError("the model proxy is not open yet")
        return self._proxy

    @proxy.setter
    def proxy(self, proxy: "ProxyState") -> None:
        self._proxy = proxy

    def why_not_ready(self) -> str | None:
        """Return what is missing before requests can be answered; None when nothing is."""
        if self.changes.is_stopping:
            return "stopping"
        if not self.watch.is_ready.is_set():
            return "waiting for the first list of AgentSessions"
        if self._proxy is None or not self._proxy.is_ready:
            return "waiting for the first lists of ModelProviders, ToolServers, AgentPolicies and SessionApprovals"
        return None

    def session(self, uid: str) -> SessionView | None:
        """Return a session as the watch knows it, over its template; None when it was deleted."""
        view = self.watch.sessions.get(uid)
        return view and (self.watch.merger.find(view) or view)


async def gateway_of(connection: HTTPConnection) -> Gateway:
    """Return the gateway that answers a request or a WebSocket (a FastAPI dependency)."""
    gateway: Gateway = connection.state.gateway
    return gateway


class WithGateway:
    """Routes, with the gateway that answers."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the routes find the gateway."""
        scope.setdefault("state", {})["gateway"] = self._gateway
        await self._app(scope, receive, send)
