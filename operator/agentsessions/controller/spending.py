"""What namespaces spent today, asked of the gateway every few seconds while a quota wants to know.

Figures are believed for `BELIEVED_SECONDS` after they were heard; then they are unknown, and quotas on them let
nothing start.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from agentsessions.api.spending import Spent
from agentsessions.controller.levels import GatewayAwayError

PAUSE_SECONDS: Final = 2.0
BELIEVED_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


class Spending:
    """Today's tokens and cost of each namespace that has a quota."""

    def __init__(
        self,
        fetch: Callable[[Collection[str]], Awaitable[Mapping[str, Spent]]],
        namespaces: Callable[[], Collection[str]],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """Ask through `fetch`, which raises GatewayAwayError, for `namespaces`."""
        self._fetch = fetch
        self._namespaces = namespaces
        self._clock = clock
        self._known: dict[str, tuple[Spent, datetime]] = {}
        self._told: dict[str, Spent | None] = {}
        self._is_wanted = asyncio.Event()
        self.on_change: Callable[[str, bool], None] = lambda _namespace, _is_turn: None
        """Called with a namespace of which something else is known than before, and whether it became known or unknown
        with that."""

    def get(self, namespace: str) -> Spent | None:
        """Return what a namespace spent today; None while that is unknown."""
        spent, heard_at = self._known.get(namespace, (None, self._clock()))
        return spent if self._clock() - heard_at < timedelta(seconds=BELIEVED_SECONDS) else None

    def want(self) -> None:
        """Ask soon: a namespace may have got its first quota, and is not known yet."""
        self._is_wanted.set()

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            self._is_wanted.clear()
            await self.refresh(self._namespaces())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_wanted.wait(), PAUSE_SECONDS)

    async def refresh(self, namespaces: Collection[str]) -> None:
        """Ask once, and say what changed; a gateway that does not answer is asked again the next time."""
        if namespaces:
            try:
                heard = await self._fetch(namespaces)
            except GatewayAwayError as error:
                log.debug("spending not read", error=str(error))
            else:
                self._known |= {namespace: (spent, self._clock()) for namespace, spent in heard.items()}
        for gone in self._known.keys() - set(namespaces):
            del self._known[gone]
        now_told = {namespace: self.get(namespace) for namespace in namespaces}
        before, self._told = self._told, now_told
        for namespace, spent in now_told.items():
            was = before.get(namespace)
            if was != spent:
                self.on_change(namespace, was is None or spent is None)
