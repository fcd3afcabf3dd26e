"""Shows the other gateways of a shared journal that this one lives, and charges what one that died was buying.

A runner whose answer the dead one was buying waits no longer than it takes to find that out.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

import structlog

from agentsessions.journal import instances
from agentsessions.journal.refusals import StoreUnavailable
from agentsessions.journal.store import Store

log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 3.0
LOOKS: Final = 5
"""How often in a row another one must be seen to stand still. A process that was only slow comes in time."""


class Replicas:
    """The gateways of one journal, as this one sees them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, tuple[int, int]] = {}
        """Of each other one: its counter, and how often in a row that was it."""

    async def run(self) -> None:
        """Beat and look, for ever. A journal that is one's own has no other users."""
        while self._store.is_shared:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("other gateways not seen", error=str(error))
            await asyncio.sleep(BEAT_SECONDS)

    async def look(self) -> None:
        """Show that this one lives, and bury those that were seen to stand still often enough."""
        name = self._store.instance
        beats = await self._store.write(lambda work: instances.beat(work, name))
        self._seen = {other: (now, self._count(other, now)) for other, now in beats.items()}
        still = {other: now for other, (now, looks) in self._seen.items() if looks >= LOOKS}
        await self._bury(still)

    async def leave(self) -> None:
        """Charge what is left of this one's purchases, and tell the others that it is gone."""
        if self._store.is_shared:
            await self._store.write(lambda work: instances.leave(work, self._store.instance))

    def _count(self, other: str, now: int) -> int:
        before, looks = self._seen.get(other, (now, 0))
        return looks + 1 if before == now else 1

    async def _bury(self, still: Mapping[str, int]) -> None:
        for other, beats in still.items():
            found = await self._store.write(partial(instances.bury, instance=other, beats=beats))
            self._seen.pop(other, None)
            if found is not None:
                log.warning("another gateway is gone", instance=other, purchases_charged=found)
