"""A scripted gateway, and both clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from agentsessions.client import AsyncClient, Client
from tests.unit.client.script_server import ScriptServer, serve


@pytest.fixture
def server() -> Iterator[ScriptServer]:
    with serve() as found:
        yield found


@pytest.fixture
def client(server: ScriptServer) -> Iterator[Client]:
    with Client(server.url, "a-token", namespace="demo", retry_seconds=5) as found:
        yield found


@pytest.fixture
async def async_client(server: ScriptServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url, "a-token", namespace="demo", retry_seconds=5) as found:
        yield found
