"""The gateway's webhooks alone, over a journal: in this process, or (run as a program) in one that can be killed."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.gateway.webhooks.service import Webhooks
from agentsessions.journal.store import Store

LOOPBACK = (ip_network("127.0.0.0/8"),)


@asynccontextmanager
async def sending(
    server: str, database: str, *, networks: tuple[object, ...] = LOOPBACK, instance: str = "gateway"
) -> AsyncIterator[Store]:
    """Send what the journal holds while the block runs; yield the journal."""
    client = Client(ClusterAccess(server=server, ssl=False, token=lambda: "gateway"), field_manager="test")
    store = await Store.open(database, instance=instance)
    await store.recover()
    running = asyncio.create_task(Webhooks(client, store, networks).run())  # type: ignore[arg-type]
    try:
        yield store
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()
        await client.close()


async def main(server: str, database: str) -> None:
    """Send until killed."""
    async with sending(server, database):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
