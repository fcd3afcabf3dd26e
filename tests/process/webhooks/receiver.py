"""A receiver of webhooks, over real HTTP: it checks signatures by the specification and answers as it is told."""

import asyncio
import base64
import hashlib
import hmac
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER_KEY = "whsec_" + base64.b64encode(b"o" * 32).decode()


def is_signed(headers: Any, body: bytes, secret: str) -> bool:
    """Whether a request is signed with a secret, as Standard Webhooks wants it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return wanted in headers["webhook-signature"].split(" ")


@dataclass
class Request:
    """A request that came."""

    path: str
    id: str
    headers: Any
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    @property
    def to(self) -> str:
        return str(self.event["data"]["to"])


@dataclass
class Receiver:
    """Takes what is posted to it."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    statuses: dict[str, deque[int]] = field(default_factory=dict)
    """Answers to come, by path; 204 when there are none."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """What is posted to /held waits for it."""
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    def to(self, path: str) -> list[Request]:
        return [one for one in self.requests if one.path == path]

    async def wait(self, holds: Callable[[], bool]) -> None:
        """Wait until requests have come that make something hold."""
        async with asyncio.timeout(120), self.news:
            await self.news.wait_for(holds)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        async with self.news:
            self.requests.append(Request(request.path, request.headers["webhook-id"], request.headers, body))
            self.news.notify_all()
        if request.path == "/held":
            await self.gate.wait()
        if request.path == "/endless":
            return await self._talk(request)
        left = self.statuses.get(request.path)
        status = left.popleft() if left else 204
        headers = {"Location": f"{self.url}/elsewhere"} if status == 302 else {}
        return web.Response(status=status, headers=headers)

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        """Answer, and never come to an end."""
        response = web.StreamResponse(status=200)
        await response.prepare(request)
        await self.gate.wait()
        return response

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Receiver"]:
        """Listen on loopback."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self.gate.set()
            await runner.cleanup()
