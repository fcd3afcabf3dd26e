"""When each session of a namespace was first seen in each phase, by a monotonic clock of our own."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from typing import Any

from agentsessions.engine.client import Client

from .cluster import AGENT_SESSION

FINAL = frozenset({"Completed", "Failed", "Cancelled", "Expired"})


class Phases:
    """What a watch of a namespace's sessions has shown."""

    def __init__(self) -> None:
        self.seen_at: dict[tuple[str, str], float] = {}
        """Monotonic time by name and phase."""
        self.newest: dict[str, dict[str, Any]] = {}
        """Each session as last seen."""
        self._changed = asyncio.Condition()

    async def follow(self, client: Client, namespace: str, version: str) -> None:
        """Watch for ever; a stream that ends is begun where it ended."""
        while True:
            stream = client.watch(AGENT_SESSION, resource_version=version, namespace=namespace)
            async with aclosing(stream) as events:
                async for event in events:
                    version = event.object["metadata"]["resourceVersion"]
                    if event.type in {"ADDED", "MODIFIED"}:
                        await self._note(event.object)

    async def _note(self, session: dict[str, Any]) -> None:
        name, phase = session["metadata"]["name"], session.get("status", {}).get("phase", "")
        self.newest[name] = session
        self.seen_at.setdefault((name, phase), time.monotonic())
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, session_names: Collection[str], phases: Collection[str], *, seconds: float) -> None:
        """Wait until each session was in one of `phases`; a session that is final in another one ends the wait.

        Raises:
            TimeoutError: Some were not, in time.
            LookupError: Some ended in another phase.
        """
        async with asyncio.timeout(seconds), self._changed:
            while missing := [n for n in session_names if not any((n, p) in self.seen_at for p in phases)]:
                if lost := [self._describe(name) for name in missing if self.phase_of(name) in FINAL]:
                    raise LookupError(f"{len(lost)} session(s) ended: {lost[:3]}")
                await self._changed.wait()

    def phase_of(self, name: str) -> str:
        """Return a session's phase now."""
        phase: str = self.newest.get(name, {}).get("status", {}).get("phase", "")
        return phase

    def _describe(self, name: str) -> str:
        status = self.newest[name]["status"]
        return f"{name} {status['phase']} {status.get('stopReason')}: {status.get('error')}"


@asynccontextmanager
async def watched(client: Client, namespace: str) -> AsyncIterator[Phases]:
    """Watch the sessions of a namespace while the block runs."""
    phases = Phases()
    listing = await client.list_all(AGENT_SESSION, lambda raw: raw, namespace)
    follower = asyncio.create_task(phases.follow(client, namespace, listing.resource_version))
    try:
        yield phases
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
