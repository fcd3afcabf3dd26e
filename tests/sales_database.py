"""A real database behind a real MCP server: `python sales_database.py HOST TOKEN` prints its port and serves.

Its one tool runs a SELECT. It refuses all who do not send the token, and `/asked` tells what it was asked.
"""

import contextlib
import csv
import io
import socket
import sqlite3
import sys
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

ROWS = [("2026-09", "lamp", 400), ("2026-09", "chair", 600), ("2026-10", "lamp", 500), ("2026-10", "chair", 750)]
ASKED: list[str] = []
database = sqlite3.connect(":memory:", check_same_thread=False)
server = MCPServer("db123")


@server.tool(description="Run one SELECT over the table sales (month, product, amount).")
def query(sql: str) -> str:
    ASKED.append(sql)
    try:
        found = database.execute(sql)
    except sqlite3.Error as error:
        raise ToolError(str(error)) from error
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([[column[0] for column in found.description], *found])
    return written.getvalue()


async def asked(request: Request) -> JSONResponse:
    """Tell what was asked."""
    del request
    return JSONResponse(ASKED)


class Guard:
    """Lets in who has the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = (b"authorization", f"Bearer {token}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/mcp" and self._wanted not in scope["headers"]:
            await JSONResponse({"error": "no valid token"}, status_code=401)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def main(host: str, token: str) -> None:
    """Fill the table and serve on a free port, which is printed."""
    database.execute("CREATE TABLE sales (month TEXT, product TEXT, amount INTEGER)")
    database.executemany("INSERT INTO sales VALUES (?, ?, ?)", ROWS)
    database.execute("PRAGMA query_only=ON")
    inner = server.streamable_http_app(host=host)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        async with server.session_manager.run():
            yield

    app = Starlette(routes=[Route("/asked", asked), Mount("/", inner)], lifespan=lifespan)
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen()
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(Guard(app, token), log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
