"""A kind of ours whose stream is kopf's: how its objects come into the store, and what the stream missed.

A view may be older than this process's right to act: an API server's cache may lag when we start, and so may the
stream of one that stood by. A write that names the view's resourceVersion is then refused, but a pod, whose name is
free once it was deleted, is not. So `confirm` a view before what no resourceVersion guards. That costs a request only
for an object that has not changed since we began: what changed later, the stream tells as it is.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from agentsessions.controller.store import Key, Records, is_older, key_of_raw
from agentsessions.engine.client import Client
from agentsessions.engine.errors import NotFound
from agentsessions.engine.resources import Resource, resource_path

R = TypeVar("R")


class Watched(Generic[R]):
    """Brings objects of one kind into its store, and says which changed."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        records: Records[R],
        *,
        on_change: Callable[[Key], None],
        on_gone: Callable[[Key, R], None],
    ) -> None:
        self._client = client
        self.records = records
        """What is known of its objects."""
        self._on_change = on_change
        self._on_gone = on_gone
        self.resource = resource
        """The kind."""
        self.is_streamed = asyncio.Event()
        """Set once its stream was there, and never cleared."""
        self._began_at: str | None = None  # resourceVersion of the first whole list since we may act
        self._confirmed: set[Key] = set()  # of the objects that have not changed since

    def note(self, event_type: str | None, raw: dict[str, Any]) -> None:
        """Take one event of the stream; the type is None for objects that were there before it."""
        if event_type == "DELETED":
            self._drop(key_of_raw(raw), raw["metadata"]["uid"])
        else:
            self.put(raw)

    def put(self, raw: dict[str, Any]) -> bool:
        """Keep an object as it now is; tell whether that was news."""
        _, is_new = self.records.put(raw)
        if is_new:
            self._on_change(key_of_raw(raw))
        return is_new

    async def load(self) -> None:
        """List all objects in full: what a process does once, at its start.

        Raises:
            ApiError: The list failed.
        """
        listing = await self._client.list_all(self.resource, self.put)
        self._began_at = listing.resource_version

    def distrust(self) -> None:
        """Hold every view for possibly old: this process may act from now on, and its stream may be late."""
        self._began_at = None
        self._confirmed.clear()

    async def confirm(self, key: Key) -> bool:
        """Make sure that the view under `key` is not older than our right to act; tell whether it was.

        Raises:
            ApiError: The API server does not answer.
        """
        version = self.records.version_of(key)
        is_new = version is not None and self._began_at is not None and is_older(self._began_at, version)
        if is_new or key in self._confirmed:
            return False
        was_old = await self.refresh(key)
        if self.records.get(key) is not None:
            self._confirmed.add(key)
        return was_old

    async def refresh(self, key: Key) -> bool:
        """Read one object; tell whether the stream had missed anything about it.

        Raises:
            ApiError: The API server does not answer.
        """
        namespace, _, name = key.partition("/")
        try:
            return self.put(await self._client.get(resource_path(self.resource, namespace, name)))
        except NotFound:
            return self._drop(key, None)

    async def sweep(self) -> int:
        """Find what the stream missed; return how many objects that were.

        Raises:
            ApiError: The API server does not answer.
        """
        listing = await self._client.list_all(
            self.resource,
            lambda raw: (key_of_raw(raw), raw["metadata"]["resourceVersion"]),
            metadata_only=True,
        )
        self._began_at = self._began_at or listing.resource_version
        there = dict(listing.items)
        suspects = [key for key, version in there.items() if self._is_behind(key, version)]
        suspects += [key for key, _ in self.records.items() if key not in there]
        return sum([await self.refresh(key) for key in suspects])

    def _is_behind(self, key: Key, version: str) -> bool:
        known = self.records.version_of(key)
        return known is None or is_older(known, version)

    def _drop(self, key: Key, uid: str | None) -> bool:
        record = self.records.remove(key, uid)
        if record is not None:
            self._confirmed.discard(key)
            self._on_gone(key, record)
        return record is not None
