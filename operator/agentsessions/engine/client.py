"""Requests and watches on the API server: thin, and cheap enough to be called for every write of every session.

- What the server refused before executing it (429, and 503 with Retry-After where a repetition is harmless) is tried
  again a few times. Everything else surfaces as an `ApiError`; what to do then is for the caller to know.
- No answer (`Unreachable`) to a write leaves open whether it took effect. Names, uids and resourceVersions make the
  repetition harmless; the caller reads before it repeats.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from agentsessions.engine.answers import Json, Listing, ListPage, WatchEvent, to_events, to_refusal
from agentsessions.engine.connections import Connections
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.engine.decode import read_json
from agentsessions.engine.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Silent,
    Unreachable,
)
from agentsessions.engine.resources import Resource, collection_path, resource_path

__all__ = [
    "AlreadyExists",
    "ApiError",
    "Client",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "ListPage",
    "Listing",
    "NotFound",
    "Resource",
    "Silent",
    "Unreachable",
    "WatchEvent",
    "resource_path",
]

V = TypeVar("V")

SILENCE_SECONDS: Final = 70.0
"""A watch that says nothing for so long is dead: the API server sends a bookmark about each minute."""
WATCH_SECONDS: Final = 280
"""What we ask the server to end a watch after; load balancers cut idle or long connections at 5 minutes and more."""
PAGE: Final = 500
TRIES: Final = 4
MAX_WAIT_SECONDS: Final = 10.0
"""A longer Retry-After is not slept through here: the caller has a queue that can wait better."""
LISTS: Final = 3
"""How often a list that expired between two pages is begun again, before it is asked for in one piece."""

_JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_METADATA_LIST: Final = f"{_JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{_JSON}"
_REFUSED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS})
_BUSY: Final = _REFUSED | {HTTPStatus.SERVICE_UNAVAILABLE}


class Client:
    """One identity on one API server. Make and use it in one event loop; `close` it at the end."""

    def __init__(
        self,
        access: ClusterAccess,
        *,
        field_manager: str,
        max_connections: int = 32,
        silence_seconds: float = SILENCE_SECONDS,
        connections: Connections | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            access: Which API server, as whom.
            field_manager: Our name in `managedFields`, and the user agent.
            max_connections: For requests; further ones wait for a free one, within their time.
            silence_seconds: After which a watch counts as dead.
            connections: Somebody else's, to share and not to close.
        """
        self._access = access
        self._silence_seconds = silence_seconds
        self._connections = connections or Connections(
            access, user_agent=field_manager, max_connections=max_connections, silence_seconds=silence_seconds
        )
        self._manager_query = urlencode({"fieldManager": field_manager})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def default_namespace(self) -> str:
        """Namespace of the service account or of the kubeconfig's context."""
        return self._access.default_namespace

    async def get(self, path: str) -> Json:
        """Return what lives at `path`, such as `resource_path(POD, namespace, name)`.

        Raises:
            ApiError: `NotFound` and others.
        """
        return await self._send("GET", path, retried=_BUSY)

    async def list_pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        metadata_only: bool = False,
        limit: int = PAGE,
    ) -> AsyncGenerator[ListPage, None]:
        """Yield a list page by page. For one that survives its own expiry see `list_all`.

        Args:
            resource: What to list.
            namespace: Where; everywhere when None.
            label_selector: Which.
            metadata_only: Leave out all but `metadata`.
            limit: Objects per page; 0 for all in one.

        Raises:
            Gone: The list expired between two pages; the pages so far are void.
            ApiError: Any other refusal.
        """
        path = collection_path(resource, namespace)
        query = _present({"limit": str(limit or ""), "labelSelector": label_selector})
        accept = _METADATA_LIST if metadata_only else _JSON
        first_version: str | None = None
        while True:
            answer = await self._send("GET", f"{path}?{urlencode(query)}", accept=accept, retried=_BUSY)
            metadata = answer["metadata"]
            version = metadata["resourceVersion"]
            if first_version not in {None, version}:
                raise Gone(HTTPStatus.GONE, "Expired", f"GET {path}: its pages are of two states of the cluster")
            first_version = version
            yield ListPage(answer["items"] or [], version)
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def list_all(
        self,
        resource: Resource,
        convert: Callable[[Json], V | None],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        metadata_only: bool = False,
    ) -> Listing[V]:
        """Return a whole consistent list, converted page by page so that never all raw objects are in memory at once.

        A list that expires between its pages is begun again, and at last asked for in one piece.

        Args:
            resource: What to list.
            convert: Gives what to keep of an object; None to drop it.
            namespace: Where; everywhere when None.
            label_selector: Which.
            metadata_only: Leave out all but `metadata`.
        """
        for limit in (*(PAGE for _ in range(LISTS)), 0):
            items: list[V] = []
            pages = self.list_pages(
                resource, namespace, label_selector=label_selector, metadata_only=metadata_only, limit=limit
            )
            try:
                async for page in pages:
                    version = page.resource_version
                    items += [view for item in page.items if (view := convert(item)) is not None]
            except Gone:
                if not limit:
                    raise
                continue
            return Listing(items, version)
        raise AssertionError("unreachable: the last round returns or raises")

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        timeout_seconds: int = WATCH_SECONDS,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield changes after `resource_version`, bookmarks among them, until the server ends the stream.

        Leave it with `contextlib.aclosing`, so that its connection is closed at once.

        Raises:
            Gone: The version is too old: list again.
            Silent: Nothing came for `silence_seconds`.
            Unreachable: The connection broke.
            ApiError: Any other refusal.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
            "labelSelector": label_selector,
        }
        path = collection_path(resource, namespace)
        doing = f"WATCH {path}"
        request = self._request(self._connections.watches, "GET", self._url(f"{path}?{urlencode(_present(query))}"))
        try:
            async with request as response:
                if response.status != HTTPStatus.OK:
                    raise to_refusal(response, await response.read(), doing)
                async for event in to_events(response.content, doing):
                    yield event
        except aiohttp.SocketTimeoutError as error:
            raise Silent(f"{doing}: silent for {self._silence_seconds:.3g} s") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(doing, error) from error

    async def create(
        self, resource: Resource, namespace: str | None, body: Mapping[str, Any], *, subresource: str | None = None
    ) -> Json:
        """Create an object, or post to a subresource of the one that `body` names.

        Raises:
            AlreadyExists: The name is taken, maybe by an earlier try of ours: compare before you go on.
            ApiError: Any other refusal.
        """
        metadata = body.get("metadata") or {}
        if subresource:
            path = resource_path(resource, namespace, metadata["name"], subresource=subresource)
        else:
            path = collection_path(resource, namespace)
        # A second try with a generated name could make a second object.
        retried = frozenset[int]() if "generateName" in metadata else _REFUSED
        return await self._send("POST", f"{path}?{self._manager_query}", body, retried=retried)

    async def merge_patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> Json:
        """Change an object (RFC 7386: null removes, lists are replaced whole).

        With `metadata.resourceVersion` in `body` only the state that it names is changed.

        Raises:
            Conflict: The object has changed since that resourceVersion.
            ApiError: Any other refusal.
        """
        path = resource_path(resource, namespace, name, subresource=subresource)
        is_guarded = "resourceVersion" in (body.get("metadata") or {})
        return await self._send(
            "PATCH",
            f"{path}?{self._manager_query}",
            body,
            content_type=_MERGE_PATCH,
            retried=_BUSY if is_guarded else _REFUSED,
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        grace_seconds: int | None = None,
    ) -> Json:
        """Delete an object, and return what the server says of it; that it is gone already is fine.

        Args:
            resource: Its kind.
            namespace: Its namespace.
            name: Its name.
            uid: Delete only the object with this uid.
            grace_seconds: Instead of the object's own grace period; 0 kills.

        Raises:
            Conflict: An object with another uid has the name. The one that was meant is gone.
            ApiError: Any other refusal.
        """
        options: Json = {}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            return await self._send(
                "DELETE",
                resource_path(resource, namespace, name),
                options or None,
                retried=_REFUSED if uid is None else _BUSY,
            )
        except NotFound:
            return {}

    async def close(self) -> None:
        """Close all connections; running watches break."""
        await self._connections.close()

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = _JSON,
        accept: str = _JSON,
        retried: frozenset[int],
    ) -> Json:
        """Send a request, again while the server says when to come back with a status in `retried`."""
        headers = {"Accept": accept}
        data = None
        if body is not None:
            data = orjson.dumps(body)
            headers["Content-Type"] = content_type
        url = self._url(path)
        for is_last in (*(False for _ in range(TRIES - 1)), True):
            try:
                return await self._send_once(method, url, data, headers)
            except ApiError as error:
                wait = error.retry_after
                if is_last or wait is None or wait > MAX_WAIT_SECONDS or error.status not in retried:
                    raise
            await asyncio.sleep(wait * random.uniform(1.0, 1.2))  # noqa: S311 - spreads a crowd, hides nothing
        raise AssertionError("unreachable: the last round returns or raises")

    async def _send_once(self, method: str, url: URL, data: bytes | None, headers: Mapping[str, str]) -> Json:
        doing = f"{method} {url.raw_path}"
        request = self._request(self._connections.requests, method, url, data, headers)
        try:
            async with request as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(doing, error) from error
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise to_refusal(response, content, doing)
        try:
            answer: Json = read_json(content)
        except orjson.JSONDecodeError as error:
            raise Unreachable(f"{doing}: the answer is not JSON: is {self._access.server} an API server?") from error
        return answer

    def _url(self, path: str) -> URL:
        return URL(self._access.server + path, encoded=True)

    def _request(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return session.request(
            method,
            url,
            data=data,
            headers={**(headers or {}), **self._connections.authorization()},
            ssl=self._access.ssl,
            server_hostname=self._access.server_hostname,
            allow_redirects=False,  # the token is for this server
        )


def _present(query: Mapping[str, str | None]) -> dict[str, str]:
    """Return the query without what is empty."""
    return {key: value for key, value in query.items() if value}


def _unreachable(doing: str, error: Exception) -> Unreachable:
    return Unreachable(f"{doing}: no answer: {error or type(error).__name__}")
