"""A gateway's Service that is deleted and made anew strands no pod: those that look at the old address are replaced."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentsessions.engine.errors import NotFound
from agentsessions.engine.resources import POD, SERVICE
from tests.integration.controller_cluster import INSTALL_NAMESPACE, NAME, own_cluster
from tests.integration.test_controller_sessions import World, open_world

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.requirement("ID-5")]

GATEWAY = "agentsessions-gateway"
SETTINGS = {
    "AGENTSESSIONS_GATEWAY_URL": f"https://{GATEWAY}.{INSTALL_NAMESPACE}.svc",
    "AGENTSESSIONS_SWEEP_SECONDS": "1",
}


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with own_cluster(NAME) as kubeconfig:
        yield kubeconfig


@pytest.fixture
async def world(kubeconfig: str, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(kubeconfig, tmp_path, **SETTINGS) as world:
        try:
            yield world
        finally:
            await world.client.delete(SERVICE, INSTALL_NAMESPACE, GATEWAY)


async def make_service(world: World, **spec: str) -> str:
    """Make the gateway's Service; return its address."""
    body = {"metadata": {"name": GATEWAY}, "spec": {"ports": [{"port": 443}], **spec}}
    made = await world.client.create(SERVICE, INSTALL_NAMESPACE, body)
    return str(made["spec"]["clusterIP"])


async def test_pods_wait_for_the_service_and_follow_it_to_another_address(world: World) -> None:
    await world.namespace.create_session()
    await world.operator.until("pass failed")
    first = await make_service(world)
    pod = await world.namespace.wait_pod()
    assert [alias["ip"] for alias in pod["spec"]["hostAliases"]] == [first]
    await world.kubelet.start(pod)
    await world.namespace.wait_phase("Running")
    blocker = {"metadata": {"name": "blocker"}, "spec": {"ports": [{"port": 443}]}}
    await world.client.delete(SERVICE, INSTALL_NAMESPACE, GATEWAY)
    await world.client.create(SERVICE, world.namespace.name, blocker | {"spec": blocker["spec"] | {"clusterIP": first}})
    second = await make_service(world)
    replaced = await world.namespace.wait(POD, lambda raw: raw["metadata"]["uid"] != pod["metadata"]["uid"])
    assert [alias["ip"] for alias in replaced["spec"]["hostAliases"]] == [second]
    assert replaced["metadata"]["labels"]["agentsessions.dev/epoch"] == "2"
    with pytest.raises(NotFound):
        await world.namespace.get(POD, pod["metadata"]["name"])
