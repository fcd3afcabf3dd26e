"""What the gateway says to MCP servers, over streamable HTTP: list your tools, run this one.

Each question is a conversation of its own, opened and closed. The server is a stranger: its answers are bounded in
bytes and time, its schemas are checked elsewhere, and what it wants of us (samples, files, forms) it does not get.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx2
import orjson

from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.guard import GuardedBackend, Network
from agentsessions.gateway.proxy.offers import ToolResult
from agentsessions.gateway.proxy.transport import CappedStream, GuardedTransport

if TYPE_CHECKING:
    import mcp_types
    from mcp.client import Client

LIST_SECONDS: Final = 20.0
MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
MAX_PAGES: Final = 20
MAX_LISTED: Final = 500
TIMEOUT: Final = httpx2.Timeout(connect=10.0, write=30.0, read=600.0, pool=30.0)
MAX_TOLD_CHARACTERS: Final = 500
FIRST_REFUSAL: Final = 400


class ServerFault(Exception):  # noqa: N818 - a fault of the server, told to the model as text
    """A server that could not be asked; the text has no key in it."""


@dataclass(frozen=True, slots=True)
class ServerEndpoint:
    """Where a server is, and what it wants to see."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class McpClient:
    """Asks MCP servers."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        """Dial public addresses and `networks`."""
        self._transport = GuardedTransport(GuardedBackend(networks, what="The ToolServer's url"))

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def list_tools(self, endpoint: ServerEndpoint) -> "list[mcp_types.Tool]":
        """Return the server's tools.

        Raises:
            ServerFault: It did not answer, or with nonsense.
        """
        found: list[mcp_types.Tool] = []
        async with self._open(endpoint, LIST_SECONDS) as client:
            cursor: str | None = None
            for _ in range(MAX_PAGES):
                page = await client.list_tools(cursor=cursor, cache_mode="bypass")
                found += page.tools
                cursor = page.next_cursor
                if cursor is None or len(found) > MAX_LISTED:
                    break
        if len(found) > MAX_LISTED:
            raise ServerFault(f"it has more than {MAX_LISTED} tools")
        return found

    async def call(
        self, endpoint: ServerEndpoint, name: str, arguments: dict[str, Any], *, seconds: float
    ) -> ToolResult:
        """Run a tool of the server, once.

        Raises:
            ServerFault: It did not answer, or with nonsense; whether it ran the tool is not known.
        """
        import mcp_types  # noqa: PLC0415 - costs time and memory, which gateways without servers keep

        asked = mcp_types.CallToolRequest(params=mcp_types.CallToolRequestParams(name=name, arguments=arguments))
        async with self._open(endpoint, seconds) as client:
            # Not by `call_tool`: it checks the answer against a schema of the server's, without bounds.
            answer = await client.session.send_request(asked, mcp_types.CallToolResult)
        return ToolResult(_hide(_to_text(answer), endpoint), is_error=bool(answer.is_error))

    @asynccontextmanager
    async def _open(self, endpoint: ServerEndpoint, seconds: float) -> "AsyncIterator[Client]":
        """Open a conversation that takes no longer than so many seconds."""
        from mcp.client import Client  # noqa: PLC0415 - as above
        from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415 - as above

        watched = _Watched(self._transport, endpoint)
        http = httpx2.AsyncClient(transport=watched, timeout=TIMEOUT, trust_env=False, headers=endpoint.headers)
        try:
            async with asyncio.timeout(seconds):
                async with Client(streamable_http_client(endpoint.url, http_client=http)) as client:
                    yield client
        except TimeoutError as error:
            raise ServerFault(f"no answer within {seconds:.0f} s") from error
        except ServerFault:
            raise
        except Exception as error:  # the library and what is below it raise many kinds, alone and in groups
            told = watched.fault or "; ".join(_hide(one, endpoint) for one in _reasons(error))
            raise ServerFault(told[:MAX_TOLD_CHARACTERS]) from error


class _Watched(httpx2.AsyncBaseTransport):
    """The shared connections, for one conversation: bounded, and with a memory of what went wrong on the way."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, endpoint: ServerEndpoint) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self.fault: str | None = None
        """What went wrong last, if the library would only say that something did."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        request.headers["Accept-Encoding"] = "identity"
        try:
            response = await self._inner.handle_async_request(request)
        except ModelFault as fault:
            self.fault = fault.message
            raise httpx2.ConnectError(fault.message) from fault
        except httpx2.HTTPError as error:
            self.fault = _hide(f"{type(error).__name__}: {error}", self._endpoint)
            raise
        if response.headers.get("content-encoding", "identity") != "identity":
            self.fault = "it answers in a compressed form, which it was asked not to do"
            await response.aclose()
            raise httpx2.DecodingError(self.fault)
        self.fault = f"it answers with status {response.status_code}" if _is_refusal(response) else None
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - async transports have no other
        response.stream = CappedStream(response.stream, MAX_ANSWER_BYTES)
        return response


def _is_refusal(response: httpx2.Response) -> bool:
    """Whether the server refuses by status what is no answer in its protocol either."""
    is_json = response.headers.get("content-type", "").startswith("application/json")
    return response.status_code >= FIRST_REFUSAL and not is_json


def _reasons(error: BaseException) -> Iterator[str]:
    """Yield what went wrong, in the words of the innermost errors."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _reasons(one)
    else:
        yield f"{type(error).__name__}: {error}"


def _hide(text: str, endpoint: ServerEndpoint) -> str:
    """Return text without the keys that the server was sent, should it say them."""
    for value in endpoint.headers.values():
        for secret in {value, value.rpartition(" ")[2]}:
            text = text.replace(secret, "[hidden]")
    return text


def _to_text(answer: "mcp_types.CallToolResult") -> str:
    """Return an answer as the model reads it: text as it is, and of all else that it was there."""
    parts = [_part_to_text(part) for part in answer.content]
    if not parts and answer.structured_content is not None:
        parts = [orjson.dumps(answer.structured_content).decode()]
    return "\n".join(parts)


def _part_to_text(part: Any) -> str:
    match part.type:
        case "text":
            return str(part.text)
        case "resource" if hasattr(part.resource, "text"):
            return str(part.resource.text)
        case "resource_link":
            return f"[link: {part.uri}]"
        case kind:
            return f"[{kind}: not shown; tools answer in text]"
