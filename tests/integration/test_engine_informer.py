"""The informer on a real API server, and what it finds after its connection was cut."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentsessions.engine.client import Client, Resource
from agentsessions.engine.credentials import load_access
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import CONFIG_MAP, POD
from tests.integration.engine_proxy import cable_to

pytestmark = pytest.mark.cluster

WAIT_SECONDS = 90
SELECTOR = "of=test"
View = tuple[str, str]
"""Name and the label `value`."""


class Seen:
    """The names that came, changed and went, in order."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self._changed = asyncio.Event()

    def __call__(self, old: View | None, new: View | None) -> None:
        if old is None or new is None:
            sign, view = ("+", new) if old is None else ("-", old)
        else:
            sign, view = "~", new
        assert view is not None
        self.changes.append(f"{sign}{view[0]}")
        self._changed.set()

    async def until(self, condition: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition(self.changes):
                self._changed.clear()
                await self._changed.wait()


def to_view(found: dict[str, Any]) -> View:
    metadata = found["metadata"]
    return metadata["name"], metadata["labels"].get("value", "")


@asynccontextmanager
async def running(client: Client, resource: Resource, namespace: str, seen: Seen) -> AsyncIterator[Informer[View]]:
    informer = Informer(
        client,
        resource,
        convert=to_view,
        key_of=lambda view: view[0],
        on_change=seen,
        label_selector=SELECTOR,
        namespace=namespace,
    )
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await informer.is_synced.wait()
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def client(kubeconfig: str) -> AsyncIterator[Client]:
    async with Client(load_access(kubeconfig), field_manager="engine-test") as client:
        yield client


def an_object(name: str, resource: Resource) -> dict[str, Any]:
    found: dict[str, Any] = {"metadata": {"name": name, "labels": {"of": "test"}}}
    if resource is POD:  # one that no scheduler takes
        found["spec"] = {"schedulerName": "nobody", "containers": [{"name": "main", "image": "none"}]}
    return found


@pytest.mark.parametrize("resource", [CONFIG_MAP, POD], ids=str)
async def test_the_informer_follows_what_is_made_changed_and_deleted(
    client: Client, namespace: str, resource: Resource
) -> None:
    await client.create(resource, namespace, an_object("before", resource))
    seen = Seen()
    async with running(client, resource, namespace, seen) as informer:
        assert list(informer) == ["before"]
        await client.create(resource, namespace, an_object("a", resource))
        await client.merge_patch(resource, namespace, "a", {"metadata": {"labels": {"value": "1"}}})
        await seen.until(lambda _: informer.get("a") == ("a", "1"))
        await client.delete(resource, namespace, "a", grace_seconds=0)
        await client.merge_patch(resource, namespace, "before", {"metadata": {"labels": {"of": None}}})
        await seen.until(lambda changes: changes[-1] == "-before")
        assert not informer.values()
    # A pod that is deleted is first changed (it gets its deletionTimestamp): one more "~a".
    assert list(dict.fromkeys(seen.changes)) == ["+before", "+a", "~a", "-a", "-before"]


@pytest.mark.parametrize(
    "has_heard",
    [
        pytest.param(True, id="the stream goes on where it broke"),
        pytest.param(False, id="the stream had not spoken yet, and all is listed anew"),
    ],
)
async def test_deletions_behind_a_cut_connection_are_found(
    client: Client, kubeconfig: str, namespace: str, has_heard: bool
) -> None:
    for name in ("stays", "goes", "again"):
        await client.create(CONFIG_MAP, namespace, an_object(name, CONFIG_MAP))
    seen = Seen()
    async with (
        cable_to(load_access(kubeconfig)) as (cable, access),
        Client(access, field_manager="engine-test") as far,
        running(far, CONFIG_MAP, namespace, seen) as informer,
    ):
        async with asyncio.timeout(WAIT_SECONDS):
            await cable.until_opened(2)  # one for the list, one for the watch
        if has_heard:
            await client.create(CONFIG_MAP, namespace, an_object("heard", CONFIG_MAP))
            await seen.until(lambda changes: changes[-1] == "+heard")
        cable.cut()
        known = len(seen.changes)
        await client.delete(CONFIG_MAP, namespace, "goes")
        await client.delete(CONFIG_MAP, namespace, "again")
        await client.create(CONFIG_MAP, namespace, an_object("again", CONFIG_MAP))
        cable.mend()
        await seen.until(lambda changes: len(changes) == known + 3)
        assert sorted(set(informer) - {"heard"}) == ["again", "stays"]
    assert sorted(seen.changes[known:]) == ["+again", "-again", "-goes"]
    assert seen.changes[known:].index("-again") < seen.changes[known:].index("+again")
