"""The one HTTP client of the runner: it trusts the gateway's CA alone and takes nothing from the environment."""

import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx2

CONNECT_TIMEOUT_SECONDS: Final = 10.0
EVENT_STREAM: Final = "text/event-stream"
TRACEPARENT: Final = "traceparent"
DONE: Final = b"data: [DONE]"
SOCKET_OPTIONS: Final = (
    # The wait for a model's first byte is silent and long; probes find a gateway whose node has vanished.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class WholeStream(httpx2.AsyncByteStream):
    """An event stream that must end with `[DONE]`.

    The SDK takes a stream that just stops for a finished answer: half a text would become the result and half a tool
    call would run. An error event of the gateway raises in the SDK before the end is reached.
    """

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the stream's bytes.

        Raises:
            httpx2.RemoteProtocolError: The stream stopped before `[DONE]`.
        """
        tail, is_done = b"", False
        async for chunk in self._stream:
            tail += chunk
            is_done = is_done or DONE in tail
            tail = tail[-len(DONE) :]
            yield chunk
        if not is_done:
            raise httpx2.RemoteProtocolError("the answer's stream ended before data: [DONE]")

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


class GatewayTransport(httpx2.AsyncHTTPTransport):
    """HTTP to the gateway, with event streams checked for their end.

    A gateway that traces names the trace of a turn in its answer; all requests from then on say that they belong to it.
    """

    _trace: str | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request."""
        if self._trace is not None:
            request.headers[TRACEPARENT] = self._trace
        response = await super().handle_async_request(request)
        self._trace = response.headers.get(TRACEPARENT, self._trace)
        if response.is_success and response.headers.get("content-type", "").startswith(EVENT_STREAM):
            assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - async transports have no other
            response.stream = WholeStream(response.stream)
        return response


class Token:
    """The projected token of the pod; the kubelet replaces the file, so each request reads it anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str:
        """Return the token as it now is."""
        return self._path.read_text(encoding="ascii").strip()

    async def provide(self) -> str:
        """Return the token, in the form that the OpenAI client asks for it. A small file in memory: it never blocks."""
        return self.read()


def open_http(base_url: str, ca_path: Path) -> httpx2.AsyncClient:
    """Return the client; its default timeout is for the runner routes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if base_url.startswith("https://"):
        context.load_verify_locations(cafile=ca_path)
    return httpx2.AsyncClient(
        base_url=base_url,
        transport=GatewayTransport(verify=context, trust_env=False, socket_options=SOCKET_OPTIONS),
        # The check for the stream's end reads it as it is on the wire.
        headers={"Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(60.0, connect=CONNECT_TIMEOUT_SECONDS),
        trust_env=False,
        follow_redirects=False,
    )
