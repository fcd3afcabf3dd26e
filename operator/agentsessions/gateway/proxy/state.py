"""What the proxy keeps as long as the process lives."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from agentsessions.gateway.auth import refuse_ended
from agentsessions.gateway.deltas import teller
from agentsessions.gateway.proxy.elsewhere import Elsewhere
from agentsessions.gateway.proxy.providers import KeyReader, ProviderDirectory
from agentsessions.gateway.proxy.purchases import Purchases
from agentsessions.gateway.proxy.role_tools import RoleTools
from agentsessions.gateway.proxy.scripted import HOST, ScriptedServer
from agentsessions.gateway.proxy.seller import Seller
from agentsessions.gateway.proxy.tools import Tools
from agentsessions.gateway.proxy.upstream import Upstream

if TYPE_CHECKING:
    from agentsessions.gateway.state import Gateway


class ProxyState:
    """The parts of the model proxy."""

    def __init__(self, gateway: "Gateway") -> None:
        """Make the parts; `start` sets them going."""
        settings = gateway.settings
        self.directory = ProviderDirectory(gateway.client, install_namespace=settings.namespace)
        self._scripted = ScriptedServer(self.directory.script)
        own = frozenset({(HOST, self._scripted.port)})
        self._upstream = Upstream(settings.allowed_provider_networks, own=own)
        self.purchases = Purchases(
            gateway.store,
            Seller(self._upstream, KeyReader(gateway.client), self._scripted, tell=teller(gateway.tails)),
            Elsewhere(gateway.store, gateway.changes),
            refuse_ended=lambda pod: refuse_ended(pod, gateway.session(pod.session_uid)),
        )
        self.tools = Tools(gateway.store, RoleTools(gateway.store, gateway.session))
        gateway.watch.subscribe(self.purchases.review)
        # Another gateway may have journaled the change already: then no commit says that it is seen here now.
        gateway.watch.subscribe(gateway.changes.wake)
        gateway.watch.before_end = self.purchases.ended
        self._watch: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the providers are known, and stay known."""
        return self.directory.informer.is_synced.is_set() and self._watch is not None and not self._watch.done()

    async def start(self) -> None:
        """Watch providers, and serve their scripts."""
        await self._scripted.start()
        self._watch = asyncio.create_task(self.directory.informer.run(), name="model-providers")

    async def watch(self) -> None:
        """Wait as long as the watch of providers runs; raises what ends it."""
        if self._watch is not None:
            await self._watch

    async def drain(self, seconds: float) -> int:
        """Sell nothing new, and wait for purchases and tools under way; return how many are left after `seconds`."""
        return sum(await asyncio.gather(self.purchases.drain(seconds), self.tools.drain(seconds)))

    async def close(self) -> None:
        """Break off what is left, and close all connections."""
        await self.purchases.close()
        await self.tools.close()
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        await self._scripted.close()
        await self._upstream.close()


async def open_proxy(gateway: "Gateway") -> ProxyState:
    """Start the proxy of `gateway` and return it; the caller puts it at `gateway.proxy`."""
    proxy = ProxyState(gateway)
    await proxy.start()
    return proxy
