"""A provider in another process, something that stands for the API server, and a gateway between them."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.process.proxy.cluster import Cluster
from tests.process.proxy.house import API_KEY, MODELS, House, Provider, open_house, spec_of

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def provider_port() -> Iterator[int]:
    command = [sys.executable, str(HERE / "provider_process.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait hardly at all between two tries."""
    monkeypatch.setattr("agentsessions.gateway.proxy.retry.FIRST_WAIT_SECONDS", 0.001)


@pytest.fixture
async def provider(provider_port: int) -> Provider:
    provider = Provider(provider_port)
    await provider.reset()
    return provider


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster().serve() as cluster:
        cluster.put("namespaces", "", "team")
        yield cluster


@pytest.fixture
def database(journal_url: str) -> str:
    return journal_url


@pytest.fixture
async def house(cluster: Cluster, provider: Provider, database: str) -> AsyncIterator[House]:
    """A gateway that knows one session with pod `p1`, and a provider of all models."""
    async with open_house(cluster, database) as house:
        cluster.put_secret("team", "key", value=API_KEY + "\n")
        await house.put_provider(spec_of(provider, *MODELS))
        await house.put_session()
        yield house
