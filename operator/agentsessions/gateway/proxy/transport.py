"""HTTP connections that lead only where they may, and answers that have an end."""

import ssl
from collections.abc import AsyncIterator
from functools import cache
from typing import Final

import httpcore2
import httpx2

from agentsessions.gateway.proxy.guard import GuardedBackend

MAX_CONNECTIONS: Final = 512
KEPT_CONNECTIONS: Final = 32
KEPT_SECONDS: Final = 30.0


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """httpx2's own transport over a pool that dials through the guard."""

    def __init__(self, backend: GuardedBackend) -> None:
        super().__init__(verify=_trust(), trust_env=False)
        # The transport takes no network backend and its pool does; a test dials a refused address through it.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_trust(),
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=backend,
        )


@cache
def _trust() -> ssl.SSLContext:
    """Return whom all of them trust: to read the certificates takes 30 ms."""
    return httpx2.create_ssl_context(trust_env=False)


class CappedStream(httpx2.AsyncByteStream):
    """An answer of which no more than so many bytes are taken."""

    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._stream = stream
        self._left = most_bytes
        self._most = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the answer.

        Raises:
            httpx2.ReadError: It is too long.
        """
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise httpx2.ReadError(f"the answer has more than {self._most} bytes")
            yield part

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
