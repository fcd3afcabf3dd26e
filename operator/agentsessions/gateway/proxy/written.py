"""What must come into the journal, however long its database is away: what was sold is charged, and never forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from agentsessions.journal.refusals import StoreUnavailable

log = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 1.0

T = TypeVar("T")


async def until_written(write: Callable[[], Awaitable[T]]) -> T:
    """Return what a write returns, and try it again as long as the database is away. Twice must be as good as once."""
    while True:
        try:
            return await write()
        except StoreUnavailable as error:
            log.warning("outcome of a purchase not written yet", error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)
