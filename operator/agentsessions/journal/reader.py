"""Reads beside the writer. While the database is away they wait a while: reading twice harms nobody."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from agentsessions.journal import postgresql
from agentsessions.journal.refusals import StoreUnavailable

PATIENCE_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.2

T = TypeVar("T")


class Reader:
    """Runs queries, each in a transaction of its own that sees one state of the journal."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, query: Callable[..., T], *args: Any) -> T:
        """Return what a query finds.

        Raises:
            StoreUnavailable: The database is away.
        """
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                async with self._engine.connect() as connection:
                    return await connection.run_sync(query, *args)
            except Exception as error:
                if not postgresql.is_passing(error):
                    raise
                if time.monotonic() >= give_up_at:
                    raise StoreUnavailable("the journal's database cannot be read now: ask again") from error
                await asyncio.sleep(PAUSE_SECONDS)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()
