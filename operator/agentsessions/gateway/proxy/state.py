"""What the proxy keeps as long as the process lives."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from agentsessions.gateway.auth import refuse_ended
from agentsessions.gateway.deltas import teller
from agentsessions.gateway.proxy.decisions import DecisionCopier
from agentsessions.gateway.proxy.elsewhere import Elsewhere
from agentsessions.gateway.proxy.http_tool import HttpTool
from agentsessions.gateway.proxy.judge import Judge
from agentsessions.gateway.proxy.mcp_client import McpClient
from agentsessions.gateway.proxy.policies import PolicyDirectory, begin_call
from agentsessions.gateway.proxy.providers import KeyReader, ProviderDirectory
from agentsessions.gateway.proxy.purchases import Purchases
from agentsessions.gateway.proxy.role_tools import RoleTools
from agentsessions.gateway.proxy.scripted import HOST, ScriptedServer
from agentsessions.gateway.proxy.seller import Seller
from agentsessions.gateway.proxy.server_tools import ServerTools
from agentsessions.gateway.proxy.team_tools import TeamTools
from agentsessions.gateway.proxy.tool_directory import ToolDirectory
from agentsessions.gateway.proxy.tool_status import ToolStatus, run_both
from agentsessions.gateway.proxy.tools import Tools
from agentsessions.gateway.proxy.upstream import Upstream
from agentsessions.journal.store import utc_now

if TYPE_CHECKING:
    from agentsessions.gateway.state import Gateway


class ProxyState:
    """The parts of the model proxy."""

    def __init__(self, gateway: "Gateway") -> None:
        """Make the parts; `start` sets them going."""
        settings = gateway.settings
        self.directory = ProviderDirectory(gateway.client, install_namespace=settings.namespace)
        self.policies = PolicyDirectory(gateway.client)
        self.judge = Judge()
        self.decisions = DecisionCopier(gateway.client, gateway.store)
        self._scripted = ScriptedServer(self.directory.script)
        own = frozenset({(HOST, self._scripted.port)})
        self._upstream = Upstream(settings.allowed_provider_networks, own=own)
        self.purchases = Purchases(
            gateway.store,
            Seller(self._upstream, KeyReader(gateway.client), self._scripted, tell=teller(gateway.tails)),
            Elsewhere(gateway.store, gateway.changes),
            refuse_ended=lambda pod: refuse_ended(pod, gateway.session(pod.session_uid)),
        )
        self._mcp = McpClient(settings.allowed_tool_networks)
        self._http = HttpTool(settings.allowed_http_networks, settings.http_hosts)
        self._status = ToolStatus(gateway.client, utc_now)
        self.servers = ToolDirectory(gateway.client, self._mcp, self._status.note)
        servers = ServerTools(gateway.store, self.servers, self._mcp)
        team = TeamTools(gateway.store, gateway.changes, gateway.session)
        by_role = RoleTools(gateway.store, gateway.session)
        self.tools = Tools(gateway.store, partial(begin_call, gateway), servers, self._http, (team, by_role))
        gateway.watch.subscribe(self.purchases.review)
        # Another gateway may have journaled the change already: then no commit says that it is seen here now.
        gateway.watch.subscribe(gateway.changes.wake)
        gateway.watch.before_end = self.purchases.ended
        self._watches: tuple[asyncio.Task[None], ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether providers, tool servers, policies and decisions are known, and stay known."""
        watched = (self.directory, self.servers, self.policies, self.decisions)
        is_known = all(one.informer.is_synced.is_set() for one in watched)
        return is_known and bool(self._watches) and not any(task.done() for task in self._watches)

    async def start(self) -> None:
        """Watch providers, tool servers, policies and decisions, and serve the providers' scripts."""
        await self._scripted.start()
        self._watches = (
            asyncio.create_task(self.directory.informer.run(), name="model-providers"),
            asyncio.create_task(run_both(self.servers, self._status), name="tool-servers"),
            asyncio.create_task(self.policies.informer.run(), name="agent-policies"),
            asyncio.create_task(self.decisions.run(), name="session-approvals"),
        )

    async def watch(self) -> None:
        """Wait as long as the watches run; raises what ends the first of them."""
        await asyncio.gather(*self._watches)

    async def drain(self, seconds: float) -> int:
        """Sell nothing new, and wait for purchases and tools under way; return how many are left after `seconds`."""
        return sum(await asyncio.gather(self.purchases.drain(seconds), self.tools.drain(seconds)))

    async def close(self) -> None:
        """Break off what is left, and close all connections."""
        await self.purchases.close()
        await self.tools.close()
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await self._scripted.close()
        for part in (self._upstream, self._mcp, self._http, self.judge):
            await part.close()


async def open_proxy(gateway: "Gateway") -> ProxyState:
    """Start the proxy of `gateway` and return it; the caller puts it at `gateway.proxy`."""
    proxy = ProxyState(gateway)
    await proxy.start()
    return proxy
