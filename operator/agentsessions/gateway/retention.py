"""Keeps the journal from growing for ever: removes what is older than namespaces keep it.

A namespace says so by the annotation `agentsessions.dev/journal-retention` (`30d`, or `never`); for the others, and
for what is left of namespaces that are gone, the administrator's default holds, which is never. Only sessions whose
resource is gone are removed, one at a time with a pause after each: nobody waits for it.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from agentsessions.gateway import metrics
from agentsessions.gateway.spans import to_span
from agentsessions.journal.retention import read_expired, remove
from agentsessions.journal.store import Store

log = structlog.get_logger(__name__)

ANNOTATION: Final = "agentsessions.dev/journal-retention"
ROUND_SECONDS: Final = 600.0
PAUSE_SECONDS: Final = 0.05
MOST_OF_A_ROUND: Final = 1000


class Retention:
    """The job that removes."""

    def __init__(
        self,
        store: Store,
        annotated: Callable[[], Mapping[str, str]],
        default: timedelta | None,
        clock: Callable[[], datetime],
    ) -> None:
        """Remove from `store`.

        Args:
            store: The journal.
            annotated: Returns the annotation of each namespace that has one, by the namespace's uid.
            default: How long the others keep sessions; None for ever.
            clock: Tells the time.
        """
        self._store = store
        self._annotated = annotated
        self._default = default
        self._clock = clock

    async def run(self) -> None:
        """Remove what is too old, again and again."""
        while True:
            try:
                await self.sweep()
            except Exception:
                log.exception("retention failed", next_try_seconds=ROUND_SECONDS)
            await asyncio.sleep(ROUND_SECONDS)

    async def sweep(self) -> int:
        """Remove what is too old now, up to a bound; return how many sessions."""
        removed, now, annotated = 0, self._clock(), self._annotated()
        for uid, text in annotated.items():
            try:
                span = to_span(text)
            except ValueError as error:  # what cannot be read must not remove anything
                log.warning("annotation ignored", annotation=ANNOTATION, namespace_uid=uid, error=str(error))
                continue
            if span is not None:
                removed += await self._remove(now - span, MOST_OF_A_ROUND - removed, namespace_uid=uid)
        if self._default is not None:
            left = MOST_OF_A_ROUND - removed
            removed += await self._remove(now - self._default, left, others_than=frozenset(annotated))
        if removed:
            log.info("sessions removed from the journal", sessions=removed)
        return removed

    async def _remove(
        self,
        before: datetime,
        most: int,
        *,
        namespace_uid: str | None = None,
        others_than: frozenset[str] = frozenset(),
    ) -> int:
        found = await self._store.read(
            lambda conn: read_expired(conn, before, most, namespace_uid=namespace_uid, others_than=others_than)
        )
        removed = 0
        for uid in found:
            removed += await self._store.write(lambda work, uid=uid: remove(work, uid, before))  # type: ignore[misc]
            metrics.REMOVED_SESSIONS.inc()
            await asyncio.sleep(PAUSE_SECONDS)
        return removed
