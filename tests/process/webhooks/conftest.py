"""A receiver, and something that stands for the API server."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.process.proxy.cluster import Cluster
from tests.process.webhooks.receiver import KEY, OTHER_KEY, Receiver


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait hardly at all between two tries, and before a status is written."""
    monkeypatch.setattr("agentsessions.lifecycle.webhooks.FIRST_WAIT", timedelta(milliseconds=2))
    monkeypatch.setattr("agentsessions.gateway.webhooks.sender.PAUSE_SECONDS", 0.005)
    monkeypatch.setattr("agentsessions.gateway.webhooks.directory.NEWS_SECONDS", 0.01)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster().serve() as cluster:
        cluster.put("namespaces", "", "team")
        cluster.put_secret("team", "hook", key=KEY + "\n", next=OTHER_KEY)
        yield cluster


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serve() as receiver:
        yield receiver
