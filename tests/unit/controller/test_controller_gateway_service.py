"""Where pods are told that the gateway is: what its Service says, as long as that is fresh."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsessions.controller import gateway_service
from agentsessions.controller.gateway_service import GatewayService
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.engine.errors import Unreachable

pytestmark = pytest.mark.requirement("ID-5")

URL = "https://agentsessions-gateway.agentsessions-system.svc"
PATH = "/api/v1/namespaces/agentsessions-system/services/agentsessions-gateway"


class Cluster:
    """An API server with one Service at most."""

    def __init__(self) -> None:
        self.spec: dict[str, Any] | None = {"clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7", "fd00::7"]}
        self.reads: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.reads.append(request.path)
        if self.spec is None:
            return web.json_response({"reason": "NotFound"}, status=404)
        return web.json_response({"metadata": {"name": "agentsessions-gateway"}, "spec": self.spec})


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", cluster.handle)
    async with TestServer(app) as server:
        access = ClusterAccess(server=str(server.make_url("")).rstrip("/"), ssl=False, token=lambda: None)
        async with Client(access, field_manager="tests") as client:
            yield client


@pytest.mark.parametrize("url", [URL, f"{URL}.cluster.local:8443"])
async def test_addresses_are_the_services_of_both_families_read_once(
    cluster: Cluster, client: Client, url: str
) -> None:
    service = GatewayService(client, url)
    assert [await service.addresses() for _ in range(2)] == [("10.96.7.7", "fd00::7")] * 2
    assert cluster.reads == [PATH]


async def test_service_made_anew_is_found_at_its_new_address(
    cluster: Cluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_service, "KNOWN_SECONDS", 0.0)
    service = GatewayService(client, URL)
    await service.addresses()
    cluster.spec = None
    with pytest.raises(Unreachable, match="agentsessions-system/agentsessions-gateway of the gateway is not there"):
        await service.addresses()
    cluster.spec = {"clusterIP": "10.96.7.8"}
    assert await service.addresses() == ("10.96.7.8",)


async def test_service_without_an_address_is_told(cluster: Cluster, client: Client) -> None:
    cluster.spec = {"clusterIP": "None", "clusterIPs": ["None"]}
    with pytest.raises(Unreachable, match="has no cluster IP"):
        await GatewayService(client, URL).addresses()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8443", "https://gateway.example.com", "https://[fd00::7]"])
async def test_gateway_that_is_no_service_is_not_looked_up(cluster: Cluster, client: Client, url: str) -> None:
    assert await GatewayService(client, url).addresses() == ()
    assert cluster.reads == []
