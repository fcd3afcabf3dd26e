"""One try at a provider: send the request, read the stream to its end, return a complete answer or raise."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import orjson

from agentsessions.api.reasons import ErrorCode
from agentsessions.gateway.proxy.answer import Accumulator, Answer, cut, malformed
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.guard import GuardedBackend, Network
from agentsessions.gateway.proxy.refusal import to_fault
from agentsessions.gateway.proxy.transport import GuardedTransport

TIMEOUT: Final = httpx2.Timeout(connect=10.0, write=30.0, read=300.0, pool=30.0)
"""`read` is the longest silence: models that reason may think for minutes before the first token."""
ANSWER_SECONDS: Final = 1800.0
"""For one try as a whole: a server that sends a comment now and then would else hold a session for ever."""
MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
MAX_REFUSAL_BYTES: Final = 65_536
DONE: Final = "[DONE]"
END_SECONDS: Final = 0.2
"""How long the end of a stream may come after its last event, before its connection is closed instead."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to buy, and as whom."""

    url: str
    """Base URL, without `/chat/completions`."""
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers for the scripted model: who asks, and which try it is."""


class Upstream:
    """The HTTP client of all purchases."""

    def __init__(self, networks: Sequence[Network], *, own: frozenset[tuple[str, int]] = frozenset()) -> None:
        """Dial public addresses, `networks`, and `own` (host, port) pairs of this process."""
        transport = GuardedTransport(GuardedBackend(networks, own=own))
        # Redirects are not followed: they would carry the key to an address nobody configured.
        self._client = httpx2.AsyncClient(transport=transport, timeout=TIMEOUT, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def buy(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        on_first_byte: Callable[[], None],
        collected: Accumulator,
    ) -> Answer:
        """Ask once, and return the complete answer.

        Args:
            endpoint: Where.
            body: Request as the provider takes it, with `stream: true`.
            on_first_byte: Called when the provider begins to answer with success.
            collected: Takes the answer as it comes; what it holds when this is cancelled came until then.

        Raises:
            ModelFault: No complete answer came; says whether another try may help.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._read(endpoint, body, collected, on_first_byte)
        except TimeoutError as error:
            raise cut(f"no complete answer within {ANSWER_SECONDS:.0f} s", is_charged=collected.is_begun) from error
        except httpx2.InvalidURL as error:
            message = f"The ModelProvider's url is not valid: {error}."
            raise ModelFault(ErrorCode.MODEL_ERROR, message) from error
        except httpx2.SSEError as error:
            raise malformed(str(error)) from error
        except httpx2.HTTPError as error:
            raise cut(_describe(error), is_charged=collected.is_begun) from error

    async def _read(
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any],
        collected: Accumulator,
        on_first_byte: Callable[[], None],
    ) -> Answer:
        url = f"{endpoint.url.rstrip('/')}/chat/completions"
        async with self._client.stream("POST", url, content=_to_json(body), headers=_headers(endpoint)) as response:
            if response.status_code != httpx2.codes.OK:
                text = await _read_some(response)
                raise to_fault(response.status_code, response.headers, text, secret=endpoint.api_key)
            on_first_byte()
            async for chunk in _chunks(response):
                _refuse_error(chunk, endpoint, is_begun=collected.is_begun)
                collected.add(chunk)
        return collected.finish()


async def _chunks(response: httpx2.Response) -> AsyncIterator[Any]:
    """Read the JSON chunks of a stream up to `[DONE]` or its end; a provider that does not stream sends one."""
    if response.headers.get("content-type", "").startswith("application/json"):
        yield _parse((await _read_some(response, MAX_EVENT_BYTES)).decode("utf-8", "replace"))
        return
    events = aiter(httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES))
    async for event in events:
        if event.data == DONE:
            break
        if event.data:
            yield _parse(event.data)
    await _read_to_end(events)


async def _read_to_end(events: AsyncIterator[object]) -> None:
    """Read what follows the last event, mostly nothing: only a connection that was read to its end is used again."""
    with suppress(TimeoutError, httpx2.HTTPError, httpx2.SSEError):
        async with asyncio.timeout(END_SECONDS):
            async for _ in events:
                pass


def _parse(text: str) -> Any:
    try:
        chunk = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise malformed(f"it sent what is not JSON ({error})") from error
    if not isinstance(chunk, dict):
        raise malformed("it sent JSON that is not an object")
    return chunk


def _refuse_error(chunk: Mapping[str, Any], endpoint: Endpoint, *, is_begun: bool) -> None:
    """Raise what a provider reports in the middle of a stream, after the status was sent."""
    error = chunk.get("error")
    if not error:
        return
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code <= 599 else 500  # noqa: PLR2004 - HTTP error statuses
    fault = to_fault(status, {}, orjson.dumps({"error": error}), secret=endpoint.api_key)
    # A request that was too long before the first word was not worked on.
    fault.is_charged = is_begun or fault.code is not ErrorCode.CONTEXT_TOO_LONG
    raise fault


async def _read_some(response: httpx2.Response, most_bytes: int = MAX_REFUSAL_BYTES) -> bytes:
    found = bytearray()
    async for part in response.aiter_bytes():
        found += part
        if len(found) > most_bytes:
            break
    return bytes(found[:most_bytes])


def _to_json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        # Not compressed: a compressed stream holds tokens back, and inflates without bound.
        "Accept-Encoding": "identity",
        "User-Agent": "agentsessions-gateway",
        **endpoint.headers,
    }
    if endpoint.api_key is not None:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    return headers


def _describe(error: httpx2.HTTPError) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
