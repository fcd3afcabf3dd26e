"""The proxy: plain HTTP on this machine to the caller, the cluster's credentials to the API server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from agentsessions.engine.credentials import ClusterAccess

from .calls import Call, read_call, read_event
from .rules import Rule

HOP_BY_HOP: Final = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"})
LARGEST_BODY: Final = 16 * 2**20


@dataclass
class Armed:
    """A rule at work."""

    rule: Rule
    seen: int = 0
    """Calls that matched so far."""
    fired: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the fault was played for the first time, to its end."""

    def is_due(self, call: Call) -> bool:
        """Count the call; tell whether it is one to disturb."""
        if not self.rule.match.holds(call):
            return False
        self.seen += 1
        return self.rule.at <= self.seen < self.rule.at + self.rule.times


@dataclass
class Record:
    """A mutating call that came by."""

    number: int
    """From 1, over all callers."""
    call: Call
    rule: Rule | None = None
    """That disturbed it."""
    status: int = 0
    """Of the API server's answer; 0 if it never heard of the call, or has not answered."""


class Proxy:
    """Carries calls to the API server, and disturbs those that rules name."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._armed: list[Armed] = []
        self._upstream: aiohttp.ClientSession | None = None
        self.kill: Callable[[], Awaitable[None]] = _have_nothing_to_kill
        """Ends the caller's process and waits until it is gone."""
        self.on_record: Callable[[Record], None] = lambda _record: None
        """Told of each mutating call once it was treated."""
        self.records: list[Record] = []
        """All mutating calls."""
        self.events: list[Call] = []
        """All events of watches."""
        self.lists = Lists()
        self.broken: dict[str, Armed] = {}
        """Rules that broke a watch, by the resource whose next watch they refuse."""
        self.url = ""

    def arm(self, rule: Rule) -> Armed:
        """Put a rule to work; it counts from here."""
        armed = Armed(rule)
        self._armed.append(armed)
        return armed

    def disarm(self, armed: Armed) -> None:
        """End a rule's work."""
        self._armed.remove(armed)

    def due(self, call: Call) -> list[Armed]:
        """Return the rules that disturb a call; each counts it."""
        return [armed for armed in self._armed if armed.is_due(call)]

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator["Proxy"]:
        """Listen on this machine."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A caller that is gone must not leave its watches open at the API server.
        runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True, access_log=None)
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as self._upstream:
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", port).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield self
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        assert self._upstream is not None  # noqa: S101  # for mypy: `serve` opened it
        exchange = ProxiedExchange(self, self._access, self._upstream, request)
        due = self.due(exchange.call)
        if exchange.call.verb == "watch" and (broke := self.broken.pop(exchange.call.resource, None)):
            due = [broke]
        record = Record(len(self.records) + 1, exchange.call, due[0].rule if due else None)
        if exchange.call.is_mutating:
            self.records.append(record)
        try:
            return await (due[0].rule.fault.play(exchange) if due else exchange.forward())
        finally:
            record.status = exchange.status
            if exchange.call.is_mutating:
                self.on_record(record)
            if due:
                due[0].fired.set()


class Lists:
    """Remembers how lists were answered, to answer so again."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[dict[str, str], bytes]] = {}
        self._old: dict[str, tuple[dict[str, str], bytes]] = {}

    def note(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Remember an answer."""
        self._last[path] = (headers, body)

    def repeat(self) -> None:
        """Answer each list once as it was answered last."""
        self._old = dict(self._last)

    def take_old(self, path: str) -> web.Response | None:
        """Return an old answer, if one is to be given."""
        found = self._old.pop(path, None)
        return None if found is None else web.Response(headers=found[0], body=found[1])


class ProxiedExchange:
    """One call on its way. See `faults.Exchange`."""

    def __init__(
        self, proxy: Proxy, access: ClusterAccess, upstream: aiohttp.ClientSession, request: web.Request
    ) -> None:
        self._proxy = proxy
        self._access = access
        self._upstream = upstream
        self._request = request
        self.call = read_call(request.method, request.path, request.query)
        self.status = 0
        """Of the API server's answer; 0 as long as there is none."""

    async def forward(self) -> web.StreamResponse:
        """Let the API server act; return its answer. A watch has then gone to the caller, to its end."""
        if self.call.verb == "list" and (old := self._proxy.lists.take_old(self._request.raw_path)):
            return old
        headers = {k: v for k, v in self._request.headers.items() if k.lower() not in {*HOP_BY_HOP, "authorization"}}
        if token := self._access.token():
            headers["Authorization"] = f"Bearer {token}"
        request = self._upstream.request(
            self._request.method,
            URL(self._access.server + self._request.raw_path, encoded=True),
            headers=headers,
            data=await self._request.read() or None,
            ssl=self._access.ssl,
            server_hostname=self._access.server_hostname,
            allow_redirects=False,
        )
        try:
            async with request as answer:
                self.status = answer.status
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
                if self.call.verb == "watch":
                    return await self._stream(answer, kept)
                body = await answer.read()
                if self.call.verb == "list" and answer.ok:
                    self._proxy.lists.note(self._request.raw_path, kept, body)
                return web.Response(status=answer.status, headers=kept, body=body)
        except (aiohttp.ClientError, OSError):
            return self.cut()  # as it would be without us

    def refuse(self, status: int, reason: str, retry_after: int | None) -> web.Response:
        """Return a Status object."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return web.json_response(self._failure(status, reason), status=status, headers=headers)

    def expire(self) -> web.Response:
        """Return a watch that says that its version is too old."""
        event = {"type": "ERROR", "object": self._failure(410, "Expired")}
        return web.Response(text=json.dumps(event) + "\n", content_type="application/json")

    def _failure(self, status: int, reason: str) -> dict[str, object]:
        """Return a Status object as the API server words it."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": f"{self.call} was disturbed",
            "reason": reason,
            "code": status,
        }

    def kill(self) -> Awaitable[None]:
        """End the caller's process."""
        return self._proxy.kill()

    def repeat_lists(self) -> None:
        """Answer the next list of each kind as the last one was answered."""
        self._proxy.lists.repeat()

    def cut(self) -> web.Response:
        """Break the caller's connection."""
        if self._request.transport is not None:
            self._request.transport.abort()
        return web.Response(status=502)  # nobody is left to read it

    async def _stream(self, answer: aiohttp.ClientResponse, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(self._request)
        async for line in read_lines(answer.content):
            if self._breaks_at(line):
                break
            await response.write(line)
        return response

    def _breaks_at(self, line: bytes) -> bool:
        """Tell whether a rule breaks the watch before this event."""
        event = read_event(self.call, json.loads(line))
        if event is None:
            return False
        self._proxy.events.append(event)
        due = self._proxy.due(event)
        if due:
            self._proxy.broken[self.call.resource] = due[0]
        return bool(due)


async def read_lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines, however long, as they come."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"


async def _have_nothing_to_kill() -> None:
    raise RuntimeError("a rule kills the caller, and the proxy was not told which process that is")
