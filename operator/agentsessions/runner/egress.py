"""Whether the pod reaches what its NetworkPolicy forbids: one connection to the API server, which carries nothing.

A connection that comes about proves that the policy does not hold; one that does not proves nothing. It is tried a
while after the start, as network plugins write their rules a moment after a pod has begun.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from agentsessions.runner.settings import Forbidden

DELAY_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 2.0


@dataclass(slots=True)
class Egress:
    """What is known of what the pod reaches."""

    is_open: bool = False
    """Whether it was seen to reach what it must not."""

    async def find_out(self, forbidden: Forbidden, delay_seconds: float) -> None:
        """Try it, once."""
        await asyncio.sleep(delay_seconds)
        with contextlib.suppress(OSError):  # the timeout is one, too
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(forbidden.host, forbidden.port)
            self.is_open = True
            writer.close()


@asynccontextmanager
async def watch_egress(forbidden: Forbidden | None, delay_seconds: float = DELAY_SECONDS) -> AsyncIterator[Egress]:
    """Find out in the background, for as long as the block lasts."""
    egress = Egress()
    if forbidden is None:
        yield egress
        return
    task = asyncio.create_task(egress.find_out(forbidden, delay_seconds))
    try:
        yield egress
    finally:
        task.cancel()
        await asyncio.wait([task])
