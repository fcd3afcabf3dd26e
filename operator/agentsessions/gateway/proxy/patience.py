"""Waiting for the journal, however long its database is away: what was sold is charged, and never forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from agentsessions.journal.refusals import StoreUnavailable

log = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 1.0

T = TypeVar("T")


async def until_journaled(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what the journal answers, and ask again as long as its database is away. Twice must be as good as once."""
    while True:
        try:
            return await ask()
        except StoreUnavailable as error:
            log.warning("purchase waits for the journal", error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)
