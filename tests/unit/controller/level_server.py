"""A server that streams levels as the gateway does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web

from agentsessions.api.child_sessions import ChildReport
from agentsessions.api.levels import LEVELS_PATH, Level, LevelLine
from agentsessions.api.spending import USAGE_PATH, DayUsage, Spent


class LevelServer:
    """Streams the lines that a test puts in; None ends the stream."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[LevelLine | None] = asyncio.Queue()
        self.stored: dict[str, Level] = {}
        """What a single read gives, by uid of the session."""
        self.spent: dict[str, Spent] | None = {}
        """What namespaces spent today; None lets questions for it fail."""
        self.children: dict[str, list[ChildReport]] = {}
        """What was said of each session that was asked for, by the id of the request."""
        self.hears_of_children = True
        """Whether what is said of them is answered."""
        self.tokens: list[str] = []
        self.url = ""

    def say(self, *levels: Level, synced: bool = False) -> None:
        """Send levels, as read from the store too; then, if asked, that these were all."""
        for level in levels:
            self.stored[level.session_uid] = level
            self.lines.put_nowait(LevelLine(level=level))
        if synced:
            self.lines.put_nowait(LevelLine(synced=True))

    def break_stream(self) -> None:
        """End the stream that is being read."""
        self.lines.put_nowait(None)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers["Authorization"])
        answer = web.StreamResponse()
        await answer.prepare(request)
        while (line := await self.lines.get()) is not None:
            await answer.write(line.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n")
        return answer

    async def _one(self, request: web.Request) -> web.Response:
        level = self.stored.get(request.match_info["uid"])
        if level is None:
            return web.Response(status=404)
        return web.Response(text=level.model_dump_json(by_alias=True))

    async def _note_child(self, request: web.Request) -> web.Response:
        report = ChildReport.model_validate_json(await request.read())
        self.children.setdefault(request.match_info["id"], []).append(report)
        return web.Response(status=200 if self.hears_of_children else 503)

    async def _usage(self, request: web.Request) -> web.Response:
        if self.spent is None:
            return web.Response(status=503)
        asked = {namespace: self.spent.get(namespace, Spent()) for namespace in request.query.getall("namespace")}
        answer = DayUsage(day=datetime.now(UTC).date(), namespaces=asked)
        return web.Response(text=answer.model_dump_json(by_alias=True))

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["LevelServer"]:
        """Listen on a free port of this machine."""
        app = web.Application()
        app.add_routes([web.get(LEVELS_PATH, self._stream), web.get(LEVELS_PATH + "/{uid}", self._one)])
        app.add_routes([web.post(LEVELS_PATH + "/{uid}/children/{id}", self._note_child)])
        app.add_routes([web.get(USAGE_PATH, self._usage)])
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            for _ in self.tokens:
                self.break_stream()  # those that still wait for lines
            await runner.cleanup()
