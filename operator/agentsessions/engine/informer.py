"""Keeps views of all objects of a kind as the API server last showed them, and tells what changed.

- A list fills the store, a watch keeps it current. What vanished or changed while no stream was there is found by
  comparing the next list with the store, and told like any other change: a deletion is never lost.
- A broken stream goes on from the last version heard of, bookmarks included. It starts from scratch, with a list,
  when that version is too old (410), when the stream fell silent, or when it broke before it ever said anything.
- Only what `convert` returns is held, and it should be small: with thousands of raw objects in memory each collection
  of garbage stops the process for a sixth of a second.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, ValuesView
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog

from agentsessions.engine.backoff import Backoff
from agentsessions.engine.client import ApiError, Client, Gone, Silent, Unreachable, WatchEvent
from agentsessions.engine.resources import Resource

log = structlog.get_logger(__name__)

V = TypeVar("V")

SHORTEST_STREAM_SECONDS: Final = 1.0
"""A stream that ends well but sooner, and without a word, counts as broken: else we would ask in a tight loop."""
LONGEST_PAUSE_SECONDS: Final = 5.0
"""Between two tries: how long after the API server is back nothing may be heard of it yet."""
MOST_WORDS: Final = 500
_STREAM: Final = "stream"


@dataclass(frozen=True, slots=True)
class _Held(Generic[V]):
    """What is known of one object. The view is None for one that `convert` does not want."""

    uid: str
    version: str
    view: V | None


class Informer(Generic[V]):
    """A store of views, by key. Read it like a dictionary; `run` keeps it current."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        convert: Callable[[dict[str, Any]], V | None],
        key_of: Callable[[V], str],
        on_change: Callable[[V | None, V | None], None],
        label_selector: str | None = None,
        namespace: str | None = None,
    ) -> None:
        """Make an empty store.

        Args:
            client: Lists and watches.
            resource: What to watch.
            convert: Returns what to keep of an object; None: keep nothing. If it raises, the last good view stays.
            key_of: Key of a view, unique among the objects that exist at one time.
            on_change: Told the old and the new view, after the store has the new one. None: came, or went.
            label_selector: Which objects; the server selects.
            namespace: Where; everywhere when None.
        """
        self._client = client
        self._resource = resource
        self._convert = convert
        self._key_of = key_of
        self._on_change = on_change
        self._label_selector = label_selector
        self._namespace = namespace
        self._held: dict[str, _Held[V]] = {}  # by uid: a name may be given to another object between two lists
        self._views: dict[str, V] = {}
        self._version: str | None = None
        self._has_heard = False
        self._backoff = Backoff(first_seconds=0.2, most_seconds=LONGEST_PAUSE_SECONDS)
        self.is_synced = asyncio.Event()
        """Set once the first list stands in the store, and never cleared."""
        self.last_heard_at = time.monotonic()
        """When the API server last said anything, bookmarks included; when this was made, before that."""

    def __getitem__(self, key: str) -> V:
        return self._views[key]

    def __contains__(self, key: str) -> bool:
        return key in self._views

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def get(self, key: str) -> V | None:
        """Return the view with this key, if there is one."""
        return self._views.get(key)

    def is_there(self, uid: str) -> bool:
        """Whether there is an object with this uid, even one of which nothing is kept."""
        return uid in self._held

    def values(self) -> ValuesView[V]:
        """Return all views; do not wait while you go through them."""
        return self._views.values()

    async def run(self) -> None:
        """Keep the store current, for ever."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._follow()
            except ApiError as error:
                if isinstance(error, Gone | Silent) or not self._has_heard:
                    self._version = None
                pause_seconds = max(self._backoff.next(_STREAM), error.retry_after or 0.0)
                log.warning(
                    "watch interrupted",
                    resource=str(self._resource),
                    error=str(error),
                    pause_seconds=round(pause_seconds, 3),
                    is_from_scratch=self._version is None,
                )
                await asyncio.sleep(pause_seconds)

    async def _list(self) -> None:
        listing = await self._client.list_all(
            self._resource, self._hold, self._namespace, label_selector=self._label_selector
        )
        self._heard()
        there = {held.uid: held for held in listing.items}
        # First what went: the key of a vanished object may be another one's by now.
        for uid in self._held.keys() - there.keys():
            self._put(uid, None)
        for uid, held in there.items():
            self._put(uid, held)
        self._version = listing.resource_version
        self._has_heard = False
        self.is_synced.set()

    async def _follow(self) -> None:
        """Take one stream to its end."""
        assert self._version is not None  # noqa: S101 - for mypy: `run` lists before it follows
        opened_at, is_silent = time.monotonic(), True
        stream = self._client.watch(
            self._resource,
            resource_version=self._version,
            namespace=self._namespace,
            label_selector=self._label_selector,
        )
        async with aclosing(stream):
            async for event in stream:
                is_silent = False
                self._heard()
                self._has_heard = True
                self._backoff.reset(_STREAM)
                self._take(event)
        if is_silent and time.monotonic() - opened_at < SHORTEST_STREAM_SECONDS:
            raise Unreachable(f"WATCH {self._resource}: the stream ended at once")

    def _take(self, event: WatchEvent) -> None:
        metadata = event.object["metadata"]
        if event.type == "DELETED":
            self._put(metadata["uid"], None)
        elif event.type != "BOOKMARK":
            self._put(metadata["uid"], self._hold(event.object))
        self._version = metadata["resourceVersion"]

    def _heard(self) -> None:
        self.last_heard_at = time.monotonic()

    def _hold(self, found: dict[str, Any]) -> _Held[V]:
        metadata = found["metadata"]
        uid, version = metadata["uid"], metadata["resourceVersion"]
        known = self._held.get(uid)
        if known is not None and known.version == version:
            return known
        try:
            view = self._convert(found)
        except Exception as error:  # noqa: BLE001 - one object must not stop the others
            # To drop its view would look like a deletion, on which others act.
            self._note_unread(metadata, error)
            view = known.view if known is not None else None
        return _Held(uid, version, view)

    def _note_unread(self, metadata: Mapping[str, Any], error: Exception) -> None:
        """Log what `convert` raised: a ValueError is the object's fault, anything else a bug of ours."""
        is_ours = not isinstance(error, ValueError)
        log.log(
            logging.ERROR if is_ours else logging.WARNING,
            "object not converted",
            resource=str(self._resource),
            namespace=metadata.get("namespace"),
            name=metadata["name"],
            error=str(error)[:MOST_WORDS],
            exc_info=error if is_ours else None,
        )

    def _put(self, uid: str, new: _Held[V] | None) -> None:
        """Bring one object into the store, or out of it, and tell if that changed anything."""
        old = self._held.get(uid)
        if new is None:
            self._held.pop(uid, None)
        else:
            self._held[uid] = new
        before, after = old.view if old else None, new.view if new else None
        if before is after:
            return
        if before is not None:
            self._views.pop(self._key_of(before), None)
        if after is not None:
            self._views[self._key_of(after)] = after
        try:
            self._on_change(before, after)
        except Exception:
            log.exception("change not taken", resource=str(self._resource), uid=uid)
