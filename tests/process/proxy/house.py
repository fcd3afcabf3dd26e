"""A gateway with all its real parts, and the provider that it buys from."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import httpx2

from agentsessions.api.v1alpha1.provider import ModelProviderSpec
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.toolserver import ToolServerSpec, ToolServerStatus
from agentsessions.engine.callers import Callers
from agentsessions.engine.client import Client
from agentsessions.gateway.app import create_app
from agentsessions.gateway.auth import Auth
from agentsessions.gateway.own_ids import OwnIds
from agentsessions.gateway.proxy.providers import Provider as KnownProvider
from agentsessions.gateway.proxy.state import open_proxy
from agentsessions.gateway.rates import Rates
from agentsessions.gateway.server import create_server
from agentsessions.gateway.settings import Settings
from agentsessions.gateway.state import Gateway
from agentsessions.gateway.streams import Changes
from agentsessions.gateway.watch import SessionWatch
from agentsessions.journal.entries import EntryType
from agentsessions.journal.store import Store, utc_now
from agentsessions.lifecycle.effective import resolve
from tests.plain_http import open_plain
from tests.process.proxy.cluster import Cluster

API_KEY = "sk-very-secret-0123456789"
LONG_SECONDS = 120
"""No wait is longer than this, on a machine that others use too."""
MESSAGES: list[Any] = [{"role": "user", "content": "say hello"}]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(LONG_SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for is another task's state, which has no event
            await asyncio.sleep(0.005)


class Provider:
    """The provider's process."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self._root = f"http://127.0.0.1:{port}"

    async def _send(self, method: str, path: str) -> httpx2.Response:
        async with open_plain(timeout=LONG_SECONDS) as client:
            return await client.request(method, self._root + path)

    async def asked(self) -> list[dict[str, Any]]:
        """Return what it was asked, oldest first."""
        found: list[dict[str, Any]] = (await self._send("GET", "/log")).json()
        return found

    async def queue(self, answers: list[list[Any]]) -> None:
        """Have the model `queued` answer these, each a list of chunks, in order."""
        async with open_plain(timeout=LONG_SECONDS) as client:
            (await client.post(f"{self._root}/queue", json=answers)).raise_for_status()

    async def wait_for_request(self) -> None:
        await self._send("GET", "/arrived")

    async def wait_until_left(self) -> None:
        await self._send("GET", "/left")

    async def release(self) -> None:
        await self._send("POST", "/release")

    async def reset(self) -> None:
        await self._send("POST", "/reset")


class House:
    """A gateway under test, and how to speak to it."""

    def __init__(self, gateway: Gateway, cluster: Cluster, url: str) -> None:
        self.gateway = gateway
        self.cluster = cluster
        self.url = url

    @property
    def store(self) -> Store:
        return self.gateway.store

    def client(self, pod: str = "p1") -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer pod-{pod}"}
        return open_plain(self.url, headers=headers, timeout=LONG_SECONDS)

    def person(self, name: str = "alice") -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer user-{name}", "X-Namespace": "team"}
        return open_plain(self.url, headers=headers, timeout=LONG_SECONDS)

    async def ask(self, model: str = "good", *, pod: str = "p1", **more: Any) -> httpx2.Response:
        async with self.client(pod) as client:
            body = {"model": model, "messages": MESSAGES} | more
            return await client.post("/openai/v1/chat/completions", json=body)

    async def put_session(self, *, pod: str = "p1", epoch: int = 1, name: str = "s", **spec: Any) -> str:
        """Show the gateway a running session with one pod; return the session's uid."""
        status = {
            "phase": "Running",
            "phaseStartedAt": "2026-11-21T12:00:01Z",
            "agents": [{"name": "agent", "epoch": epoch, "podName": pod, "podUID": pod}],
        }
        self.cluster.put("agentsessions", "team", name, spec={"goal": "say hello"} | spec, status=status)
        uid = f"uid-team-{name}"
        wanted = SessionSpec.model_validate({"goal": "say hello"} | spec)

        def is_seen() -> bool:
            view = self.gateway.session(uid)
            return view is not None and view.spec == wanted

        await until(is_seen)
        await self._until_written(uid, pod)
        return uid

    async def _until_written(self, uid: str, pod: str) -> None:
        """Wait until the journal knows the session as the watch does."""
        limits = None
        found = None
        async with asyncio.timeout(LONG_SECONDS):
            while limits is None or found is None or not found.is_current:
                view, row = self.gateway.session(uid), await self.store.get_session_by_uid(uid)
                limits = row if row and view and row.limits == resolve(view.spec).limits else None
                found = await self.store.identify_pod(pod)

    async def put_provider(self, spec: dict[str, Any], name: str = "default", namespace: str = "team") -> None:
        """Show the gateway a ModelProvider."""
        self.cluster.put("modelproviders", namespace, name, spec=spec)
        directory = self.gateway.proxy.directory
        wanted = ModelProviderSpec.model_validate(spec)

        def is_seen() -> bool:
            found = directory.informer.get(f"{namespace}/{name}")
            return isinstance(found, KnownProvider) and found.spec == wanted

        await until(is_seen)

    async def put_server(self, name: str, **spec: Any) -> ToolServerStatus:
        """Show the gateway a ToolServer; return what it says of it."""
        self.cluster.put("toolservers", "team", name, spec=spec)

        def is_seen() -> bool:
            found = self.gateway.proxy.servers.find("team", name)
            wanted = ToolServerSpec.model_validate(spec)
            return found is not None and found.spec == wanted and bool(found.status.conditions)

        await until(is_seen)
        found = self.gateway.proxy.servers.find("team", name)
        assert found is not None
        return found.status

    async def types(self, uid: str = "uid-team-s") -> list[str]:
        """Return the types of the session's entries, without those of the session itself."""
        own = {EntryType.SESSION_START, EntryType.STATE, EntryType.MESSAGE}
        return [entry.type.value for entry in await self.store.entries(uid) if entry.type not in own]


@asynccontextmanager
async def open_house(cluster: Cluster, database: str, port: int = 0, instance: str = "gateway") -> AsyncIterator[House]:
    """Start a gateway on a journal, and a port, that may have been used before."""
    loopback = (ip_network("127.0.0.0/8"),)
    settings = Settings(
        allowed_provider_networks=loopback, allowed_tool_networks=loopback, allowed_http_networks=loopback
    )
    client = Client(cluster.access(), field_manager="test")
    store = await Store.open(database, instance=instance)
    await store.recover()
    watch = SessionWatch(client, store, utc_now)
    gateway = Gateway(
        settings=settings,
        store=store,
        client=client,
        auth=Auth(client, namespace=settings.namespace),
        watch=watch,
        changes=Changes(store),
        callers=Callers(cluster.access(), field_manager="test"),
        own_ids=OwnIds(watch),
        rates=Rates.of(settings),
    )
    gateway.proxy = await open_proxy(gateway)
    endless = [asyncio.create_task(gateway.watch.run()), asyncio.create_task(gateway.changes.run())]
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:  # only then asyncio sends small pieces at once
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = create_server(create_app(gateway), "127.0.0.1", 0)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await asyncio.wait_for(gateway.watch.is_ready.wait(), LONG_SECONDS)
        await until(lambda: gateway.proxy.is_ready)
        while not server.started:
            await asyncio.wait([serving], timeout=0.005)
        try:
            yield House(gateway, cluster, f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            gateway.changes.stop()
            server.should_exit = True
            await serving
            for task in endless:
                task.cancel()
            await asyncio.gather(*endless, return_exceptions=True)
            await gateway.proxy.close()
            await store.close()
            await gateway.callers.close()
            await client.close()


def spec_of(provider: Provider, *models: str) -> dict[str, Any]:
    """Return the spec of a ModelProvider that sells `models` with a key."""
    return {
        "type": "OpenAICompatible",
        "url": provider.url,
        "apiKeySecretRef": {"name": "key", "key": "value"},
        "models": [{"name": model, "maxTokensParameter": "max_tokens"} for model in models],
    }


MODELS = (
    "good", "flaky", "slow", "slow-stream", "bad-arguments", "unknown-tool", "same-ids", "no-ids", "no-usage",
    "no-finish", "malformed", "empty", "length", "two-choices", "error-inside", "cut-text", "cut-call", "broken",
    "full", "spent", "later", "long", "long-inside", "picky", "whole", "key", "absurd", "hanging", "hanging-flaky",
    "hanging-usage", "queued",
)  # fmt: skip
