"""What a real API server does with our requests."""

import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from agentsessions.engine.client import (
    AlreadyExists,
    Client,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    resource_path,
)
from agentsessions.engine.credentials import load_access
from agentsessions.engine.resources import CONFIG_MAP, POD, SERVICE_ACCOUNT

pytestmark = pytest.mark.cluster


@pytest.fixture
async def client(kubeconfig: str) -> AsyncIterator[Client]:
    async with Client(load_access(kubeconfig), field_manager="engine-test") as client:
        yield client


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def waiting_pod(name: str) -> dict[str, Any]:
    """Return a pod that no scheduler takes."""
    spec = {"schedulerName": "nobody", "containers": [{"name": "main", "image": "none"}]}
    return {"metadata": {"name": name}, "spec": spec}


async def test_create_get_patch_and_delete_an_object(client: Client, namespace: str) -> None:
    created = await client.create(CONFIG_MAP, namespace, config_map("a", one="1", two="2"))
    assert created["metadata"]["managedFields"][0]["manager"] == "engine-test"
    patched = await client.merge_patch(CONFIG_MAP, namespace, "a", {"data": {"one": None, "two": "3"}})
    path = resource_path(CONFIG_MAP, namespace, "a")
    assert (await client.get(path))["data"] == patched["data"] == {"two": "3"}
    await client.delete(CONFIG_MAP, namespace, "a")
    with pytest.raises(NotFound):
        await client.get(path)
    await client.delete(CONFIG_MAP, namespace, "a")  # gone already is fine


async def test_a_status_is_patched_through_its_subresource_alone(client: Client, namespace: str) -> None:
    pod = await client.create(POD, namespace, waiting_pod("a"))
    change = {"metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]}, "status": {"message": "hello"}}
    patched = await client.merge_patch(POD, namespace, "a", change, subresource="status")
    assert patched["status"]["message"] == "hello"


async def test_a_patch_of_an_older_state_is_a_conflict(client: Client, namespace: str) -> None:
    created = await client.create(CONFIG_MAP, namespace, config_map("a", one="1"))
    await client.merge_patch(CONFIG_MAP, namespace, "a", {"data": {"one": "2"}})
    older = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}, "data": {"one": "3"}}
    with pytest.raises(Conflict):
        await client.merge_patch(CONFIG_MAP, namespace, "a", older)
    assert (await client.get(resource_path(CONFIG_MAP, namespace, "a")))["data"] == {"one": "2"}


async def test_a_delete_by_uid_spares_another_object_of_that_name(client: Client, namespace: str) -> None:
    first = await client.create(CONFIG_MAP, namespace, config_map("a"))
    await client.delete(CONFIG_MAP, namespace, "a", uid=first["metadata"]["uid"])
    second = await client.create(CONFIG_MAP, namespace, config_map("a"))
    with pytest.raises(Conflict):
        await client.delete(CONFIG_MAP, namespace, "a", uid=first["metadata"]["uid"])
    found = await client.get(resource_path(CONFIG_MAP, namespace, "a"))
    assert found["metadata"]["uid"] == second["metadata"]["uid"]


async def test_refusals_have_their_types(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, namespace, config_map("a"))
    with pytest.raises(AlreadyExists):
        await client.create(CONFIG_MAP, namespace, config_map("a"))
    with pytest.raises(Invalid):
        await client.create(CONFIG_MAP, namespace, config_map("Not_A_Name"))


async def test_a_bearer_token_says_who_asks(client: Client, kubeconfig: str, namespace: str) -> None:
    request = {"metadata": {"name": "default"}, "spec": {"expirationSeconds": 600}}
    token = (await client.create(SERVICE_ACCOUNT, namespace, request, subresource="token"))["status"]["token"]
    known = load_access(kubeconfig)
    ca = known.ca.data.decode() if known.ca.data else None
    trusting = ssl.create_default_context(cafile=known.ca.path, cadata=ca)  # without our certificate
    access = replace(known, ssl=trusting, token=lambda: token)
    async with Client(access, field_manager="engine-test") as stranger:
        with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:default"):
            await stranger.get(resource_path(CONFIG_MAP, namespace, "kube-root-ca.crt"))


async def test_a_list_comes_in_pages_of_one_state(client: Client, namespace: str) -> None:
    for number in range(5):
        await client.create(CONFIG_MAP, namespace, {"metadata": {"name": f"a{number}", "labels": {"of": "test"}}})
    pages = [page async for page in client.list_pages(CONFIG_MAP, namespace, label_selector="of=test", limit=2)]
    assert [len(page.items) for page in pages] == [2, 2, 1]
    assert len({page.resource_version for page in pages}) == 1


async def test_metadata_alone_has_no_content(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, namespace, config_map("a", text="x"))
    listing = await client.list_all(CONFIG_MAP, dict[str, Any], namespace, metadata_only=True)
    found = {one["metadata"]["name"]: one for one in listing.items}
    assert "data" not in found["a"]
    assert found["a"]["metadata"]["resourceVersion"]


async def test_a_watch_goes_on_from_a_list(client: Client, namespace: str) -> None:
    listing = await client.list_all(CONFIG_MAP, dict[str, Any], namespace)
    await client.create(CONFIG_MAP, namespace, config_map("a", big="x" * 900_000))
    await client.delete(CONFIG_MAP, namespace, "a")
    stream = client.watch(
        CONFIG_MAP, resource_version=listing.resource_version, namespace=namespace, timeout_seconds=20
    )
    seen: list[tuple[str, int]] = []
    async with aclosing(stream):
        async for event in stream:
            if event.object["metadata"].get("name") == "a":
                seen.append((event.type, len(event.object["data"]["big"])))
            if len(seen) == 2:
                break
    assert seen == [("ADDED", 900_000), ("DELETED", 900_000)]
