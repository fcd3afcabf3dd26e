"""One HTTP server among several of the process."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

LAST_SECONDS: Final = 5
"""After a stop, for answers that are being sent."""
GOODBYE_SECONDS: Final = 0.5
"""For clients whose connections are idle at a stop."""
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than clients keep idle connections: they must be the ones to close, or a request meets a closed door."""
MOST_MESSAGE_BYTES: Final = 4096
"""Viewers have nothing to say on a WebSocket."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket of uvicorn's that takes a refused handshake for a complete one.

    Without this, uvicorn 0.54 logs an error for each refusal: https://github.com/Kludex/uvicorn/pull/3138.
    """

    async def send(self, message: Any) -> None:
        """Send what the app says."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process, which has two of them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Catch nothing."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is being answered, and close."""
        asyncio.get_running_loop().call_soon(self._leave_idle)  # once all that is idle was asked to close
        await super().shutdown(sockets)

    def _leave_idle(self) -> None:
        """Leave connections on which nothing is under way without their client's goodbye.

        TLS waits for it, and a client's idle connection says nothing before it is used again.
        """
        for connection in self.server_state.connections:
            if connection.transport.is_closing():
                asyncio.get_running_loop().call_later(GOODBYE_SECONDS, connection.transport.abort)


def create_server(app: ASGIApp, host: str, port: int, context: ssl.SSLContext | None = None) -> Server:
    """Return a server that `serve()` runs until `should_exit` is set.

    Args:
        app: What answers.
        host: Address to listen on; empty for each one.
        port: Port to listen on; 0 for a free one.
        context: With it the server speaks TLS. Certificates loaded into it later serve new connections.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",
        ws=WebSocketProtocol,
        ws_max_size=MOST_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=LAST_SECONDS,
        ssl_context_factory=None if context is None else (lambda _config, _default: context),
    )
    return Server(config)
