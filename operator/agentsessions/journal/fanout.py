"""Tells every process with the journal open what any of them committed.

Each commit writes its number at the sessions that it touched. A notification only says that there is more; what it is
stands in the table. So nothing depends on a notification: one that was lost, with its connection or without, is made
up for by a look every few seconds. Numbers are given under the writers' lock, in the order in which commits become
visible, so that a look from the last number on misses none.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import psycopg
import structlog
from sqlalchemy import URL, Connection, bindparam, func, select, text

from agentsessions.journal.audit_tables import changes
from agentsessions.journal.refusals import StoreUnavailable

log = structlog.get_logger(__name__)

CHANNEL: Final = "agentsessions_journal"
POLL_SECONDS: Final = 2.0
RECONNECT_SECONDS: Final = 1.0

_PUBLISH: Final = text(
    "WITH written AS ("
    " INSERT INTO changes (session_uid, number)"
    " SELECT uid, (SELECT coalesce(max(number), 0) + 1 FROM changes) FROM unnest(CAST(:uids AS varchar[])) AS uid"
    " ON CONFLICT (session_uid) DO UPDATE SET number = excluded.number RETURNING number"
    ") SELECT max(number), pg_notify(:channel, '') FROM written"
)
_AFTER: Final = (
    select(changes.c.session_uid, changes.c.number)
    .where(changes.c.number > bindparam("last"))
    .order_by(changes.c.number)
)


class FanOut:
    """The process's ear, and the way its own commits are told."""

    def __init__(self, url: URL, read: Callable[..., Awaitable[Any]], announce: Callable[[set[str]], None]) -> None:
        """Use `connect` to listen, `read` to look, and `announce` for what others committed."""
        self._url = url
        self._read = read
        self._announce = announce
        self._last = 0
        self._own: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self, connect: Callable[[URL], Awaitable[psycopg.AsyncConnection]]) -> None:
        """Listen from now on: what is committed after this returns is announced."""
        self._last = await self._read(_read_last)
        self._task = asyncio.create_task(self._listen(connect), name="journal-fan-out")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def publish(self, connection: Connection, touched: set[str]) -> int:
        """Number the commit at the sessions that it touched, and wake the others once it is visible."""
        number: int = connection.execute(_PUBLISH, {"uids": sorted(touched), "channel": CHANNEL}).one()[0]
        return number

    def note_own(self, touched: set[str], number: int) -> None:
        """Leave out what this process announces itself, unless another one commits to the session after it."""
        if number > self._last:
            self._own |= dict.fromkeys(touched, number)

    async def look(self) -> None:
        """Announce what others committed since the last look."""
        rows = await self._read(_read_after, self._last)
        if not rows:
            return
        self._last = rows[-1].number
        news = {row.session_uid for row in rows if self._own.get(row.session_uid) != row.number}
        self._own = {uid: number for uid, number in self._own.items() if number > self._last}
        if news:
            self._announce(news)

    async def _listen(self, connect: Callable[[URL], Awaitable[psycopg.AsyncConnection]]) -> None:
        connection: psycopg.AsyncConnection | None = None
        try:
            while True:
                try:
                    if connection is None:
                        connection = await connect(self._url)
                        await connection.execute(f"LISTEN {CHANNEL}")
                    await self.look()  # what came before it listened, too
                    async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                        pass
                except Exception as error:  # without this task nobody hears of the others any more
                    is_ours = not isinstance(error, psycopg.Error | OSError | StoreUnavailable)
                    log.warning("changes of other gateways come late", error=str(error).strip(), exc_info=is_ours)
                    await _close(connection)
                    connection = None
                    await asyncio.sleep(RECONNECT_SECONDS)
                    with suppress(StoreUnavailable):
                        await self.look()
        finally:
            await _close(connection)


async def _close(connection: psycopg.AsyncConnection | None) -> None:
    if connection is not None:
        with suppress(psycopg.Error):
            await connection.close()


def _read_last(conn: Connection) -> int:
    return conn.scalar(select(func.max(changes.c.number))) or 0


def _read_after(conn: Connection, last: int) -> Any:
    return conn.execute(_AFTER, {"last": last}).all()
