"""Every few minutes: find what kopf's streams missed (it loses deletions over a 410), and heal namespaces."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from agentsessions.controller.metrics import Metrics
from agentsessions.controller.namespaces import Namespaces
from agentsessions.controller.watched import Watched
from agentsessions.engine.errors import ApiError

log = structlog.get_logger(__name__)


class Sweep:
    """Looks at everything anew, slowly."""

    def __init__(
        self,
        kinds: tuple[Watched[Any], ...],
        namespaces: Namespaces,
        metrics: Metrics,
        *,
        pause_seconds: float,
        also: tuple[Callable[[], Awaitable[None]], ...],
    ) -> None:
        self._kinds = kinds
        self._namespaces = namespaces
        self._metrics = metrics
        self._pause_seconds = pause_seconds
        self._also = also

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(self._pause_seconds)
            await self.sweep()

    async def sweep(self) -> None:
        """Sweep once; what fails is tried again the next time."""
        for kind in self._kinds:
            try:
                missed = await kind.sweep()
            except ApiError as error:
                log.warning("sweep failed", kind=kind.resource.plural, error=str(error))
                continue
            if missed:
                self._metrics.missed.labels(kind.resource.kind).inc(missed)
                log.info("sweep found changes", kind=kind.resource.plural, missed=missed)
        await self._namespaces.heal()
        for other in self._also:
            await other()
