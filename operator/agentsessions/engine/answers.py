"""What comes back from the API server: pages, events, and refusals."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import aiohttp
import orjson

from agentsessions.engine.decode import read_json
from agentsessions.engine.errors import ApiError, Unreachable, to_error
from agentsessions.engine.lines import LineSplitter

V = TypeVar("V")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ListPage:
    """A part of a list. Items of built-in kinds carry neither `apiVersion` nor `kind`."""

    items: list[Json]
    resource_version: str
    """The same for all pages of one list: a watch may start from it."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[V]):
    """A whole list, converted."""

    items: list[V]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change."""

    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: Json


async def to_events(content: aiohttp.StreamReader, doing: str) -> AsyncIterator[WatchEvent]:
    """Yield the events of a stream.

    Raises:
        ApiError: The server ends it with an ERROR event.
        Unreachable: It ends in the middle of an event, or is no stream of events.
    """
    splitter = LineSplitter()
    async for chunk in content.iter_any():
        for line in splitter.feed(chunk):
            yield _to_event(line, doing)
    if splitter.has_rest:
        raise Unreachable(f"{doing}: the stream ended in the middle of an event")


def _to_event(line: bytes, doing: str) -> WatchEvent:
    try:
        event = read_json(line)
        kind, found = event["type"], event["object"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Unreachable(f"{doing}: a line of the stream is no event") from error
    if kind == "ERROR":
        raise to_error(found.get("code", HTTPStatus.INTERNAL_SERVER_ERROR), found, doing)
    return WatchEvent(kind, found)


def to_refusal(response: aiohttp.ClientResponse, content: bytes, doing: str) -> ApiError:
    """Return the error that an answer with a bad status stands for."""
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        answer = {"message": content[:200].decode(errors="replace")}
    return to_error(response.status, answer, doing, response.headers.get("Retry-After"))
