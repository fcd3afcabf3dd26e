"""A server that plays a script, for answers that a real API server does not give on request."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web

from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess


@dataclass(frozen=True)
class Answer:
    """One answer; the last one of a script is given for ever."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    chunks: tuple[bytes, ...] = ()
    """Sent one by one instead of the body."""
    then: str = "end"
    """After the chunks: `end`, `break` the connection, or `hang`."""


class Signal:
    """Lets a test wait for what it expects, without polling."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def note(self) -> None:
        self._event.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._event.clear()
                await self._event.wait()


@dataclass
class ScriptedServer:
    """What it answers, and what it was asked."""

    script: list[Answer] = field(default_factory=list)
    requests: list[web.BaseRequest] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""
    signal: Signal = field(default_factory=Signal)
    """Noted at each request, and by whoever else a test waits for."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def plays(self, *answers: Answer) -> None:
        self.script = list(answers)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        self.signal.note()
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if answer.chunks or answer.then != "end":
            return await self._stream(request, answer)
        content = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
        return web.Response(status=answer.status, body=content, headers=answer.headers)

    async def _stream(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status)
        await response.prepare(request)
        for chunk in answer.chunks:
            await response.write(chunk)
        if answer.then == "hang":
            await self.stopping.wait()
        if answer.then == "break":
            assert request.transport is not None
            request.transport.close()
        return response


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    server.stopping.set()
    await runner.cleanup()


@pytest.fixture
async def make_client(server: ScriptedServer) -> AsyncIterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(*, token: str | None = None, **options: Any) -> Client:
        access = ClusterAccess(server=server.url, ssl=False, token=lambda: token)
        clients.append(Client(access, field_manager="tester", **options))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()
