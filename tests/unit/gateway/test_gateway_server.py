"""A server that stops: what is under way is answered, and nobody waits for clients that say nothing."""

import asyncio
import logging
import socket
import ssl
from datetime import UTC, datetime

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from agentsessions.gateway.certificates import renew
from agentsessions.gateway.tls import _load  # the form it is kept in
from tests.unit.gateway.conftest import port_of, running_server

REQUEST = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"


class Client:
    """A client that reads only when it wants something, as those of most programs do."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        self._socket = context.wrap_socket(connection, server_hostname="localhost")

    def ask(self) -> None:
        self._socket.sendall(REQUEST)

    def hear(self) -> bytes:
        answer = b""
        while not answer.endswith(b"whole"):
            answer += self._socket.recv(4096)
        return answer

    def close(self) -> None:
        self._socket.close()


async def test_a_stop_finishes_answers_and_leaves_idle_clients(caplog: pytest.LogCaptureFixture) -> None:
    asked, may_answer = asyncio.Semaphore(0), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.release()
        await may_answer.wait()
        await PlainTextResponse("whole")(scope, receive, send)

    chain = renew(None, ("localhost",), datetime.now(UTC))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(serving, chain)
    context = ssl.create_default_context(cadata=chain.ca.certificate.decode())
    async with running_server(app, serving) as server:
        idle, waiting = [await asyncio.to_thread(Client, port_of(server), context) for _ in range(2)]
        may_answer.set()
        await asyncio.to_thread(idle.ask)
        await asyncio.to_thread(idle.hear)
        may_answer.clear()
        await asyncio.to_thread(waiting.ask)
        for _ in range(2):
            await asked.acquire()

        server.should_exit = True
        while server.servers[0].is_serving():  # noqa: ASYNC110 - the server's state, which has no event
            await asyncio.sleep(0.01)
        may_answer.set()
        assert (await asyncio.to_thread(waiting.hear)).startswith(b"HTTP/1.1 200")
        waiting.close()

    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []
    idle.close()
