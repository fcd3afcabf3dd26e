"""What the gateway does about objects that it cannot read or keep."""

from typing import Any

from tests.process.proxy.cluster import Cluster
from tests.process.proxy.house import House, Provider, open_house, spec_of, until

UID = "uid-team-s"


def too_deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"in": value}
    return value


async def test_a_session_of_a_newer_version_is_not_taken_for_deleted(cluster: Cluster, database: str) -> None:
    async with open_house(cluster, database) as house:
        await house.put_session()
    cluster.put("agentsessions", "team", "s", spec={"goal": "say hello", "fieldOfTheFuture": 1})

    async with open_house(cluster, database) as house:
        row = await house.store.get_session_by_uid(UID)

    assert row is not None
    assert row.deleted_at is None


async def test_a_status_of_a_newer_version_still_fences_the_pod(cluster: Cluster, database: str) -> None:
    agents = [{"name": "agent", "epoch": 1, "podName": "p1", "podUID": "p1", "fieldOfTheFuture": 1}]
    status = {"phase": "Running", "phaseStartedAt": "2026-11-21T12:00:01Z", "agents": agents, "fieldOfTheFuture": 1}
    cluster.put("agentsessions", "team", "s", spec={"goal": "say hello"}, status=status)

    async with open_house(cluster, database) as house:
        pod = await house.store.identify_pod("p1")

    assert pod is not None
    assert pod.is_current


async def test_a_session_that_cannot_be_kept_stops_nothing_else(
    cluster: Cluster, provider: Provider, database: str
) -> None:
    cluster.put("agentsessions", "team", "deep", spec={"goal": "x", "context": {"json": too_deep(400)}})

    async with open_house(cluster, database) as house:  # waits for is_ready
        await house.put_provider(spec_of(provider, "good"))
        cluster.put_secret("team", "key", value="k")
        await house.put_session()
        assert (await house.ask()).status_code == 200


async def test_an_unreadable_provider_is_not_replaced_by_a_shared_one_of_its_name(
    house: House, cluster: Cluster, provider: Provider
) -> None:
    await house.put_provider(spec_of(provider, "good") | {"shared": True}, namespace=house.gateway.settings.namespace)
    cluster.put("modelproviders", "team", "default", spec={"type": "OfTheFuture"})
    directory = house.gateway.proxy.directory

    def is_seen() -> bool:
        found = directory.find("team", "default")
        return found is None or found.namespace != "team"

    await until(is_seen)
    response = await house.ask()
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert await provider.asked() == []
