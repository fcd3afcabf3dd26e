"""A connection to the API server that a test can cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from agentsessions.engine.credentials import ClusterAccess

CHUNK = 65_536


@dataclass
class Cable:
    """Passes bytes on; TLS goes through it untouched."""

    host: str
    port: int
    is_cut: bool = False
    opened: int = 0
    """Connections so far, refused ones not counted."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self.is_cut = False

    async def until_opened(self, count: int) -> None:
        while self.opened < count:
            self._changed.clear()
            await self._changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        ends = {writer, far_writer}
        self._writers |= ends
        self.opened += 1
        self._changed.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass_on(reader, far_writer))
                tasks.create_task(_pass_on(far_reader, writer))
        finally:
            self._writers -= ends


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def cable_to(access: ClusterAccess) -> AsyncIterator[tuple[Cable, ClusterAccess]]:
    """Give a cable, and the access that goes through it."""
    url = urlsplit(access.server)
    assert url.hostname is not None
    cable = Cable(url.hostname, url.port or 443)
    server = await asyncio.start_server(cable.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    name = access.server_hostname or url.hostname
    try:
        yield cable, replace(access, server=f"https://127.0.0.1:{port}", server_hostname=name)
    finally:
        cable.cut()
        server.close()
        await server.wait_closed()
