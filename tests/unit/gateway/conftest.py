"""A journal on a real file, and a real server for what streams."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from agentsessions.gateway.server import Server, create_server
from agentsessions.gateway.streams import Changes
from agentsessions.journal.store import Store
from tests.journal.builders import Clock
from tests.journals import put_journal

Serve = Callable[[ASGIApp], Awaitable[int]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    store = await Store.open(put_journal(tmp_path / "journal.db"), clock=clock)
    yield store
    await store.close()


@pytest.fixture
async def changes(store: Store) -> AsyncIterator[Changes]:
    changes = Changes(store)
    running = asyncio.create_task(changes.run())
    yield changes
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def running_server(app: ASGIApp, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve an app on a free port of this machine."""
    server = create_server(app, "127.0.0.1", 0, context)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.wait([running], timeout=0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        await running


def port_of(server: Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def serve(app: ASGIApp) -> int:
            return port_of(await stack.enter_async_context(running_server(app)))

        yield serve
