"""A real MCP server, made with the official package: `python mcp_server.py [port]` prints its port and serves.

It counts what it really did, so that a test sees calls that were made twice or not at all. `/change` gives its tool
`search` another schema, `/calls` tells the calls, and with a token it refuses all who do not send it.
"""

import asyncio
import contextlib
import os
import socket
import sys
from typing import Annotated, Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

TOKEN = os.environ.get("MCP_TOKEN", "")
CALLS: list[dict[str, Any]] = []
server = MCPServer("shelf")


@server.tool(description="Search the shelf.")
def search(query: Annotated[str, Field(min_length=1)], limit: int = 3) -> str:
    CALLS.append({"tool": "search", "query": query, "limit": limit})
    return f"found {limit} of {query}"


@server.tool(description="Order a part.", name="order")
def order(part: str) -> str:
    CALLS.append({"tool": "order", "part": part})
    return f"ordered {part}"


@server.tool(description="Say much.")
def flood(size: int) -> str:
    CALLS.append({"tool": "flood", "size": size})
    return "x" * size


@server.tool(description="Fail.")
def fail(token: str = "") -> str:
    CALLS.append({"tool": "fail"})
    raise ToolError(f"the shelf is empty, and you sent {TOKEN}{token}")


@server.tool(description="Never meant to be used.")
def secret() -> str:
    CALLS.append({"tool": "secret"})
    return "secret"


WAITS, GO = asyncio.Event(), asyncio.Event()


@server.tool(description="Wait until somebody says go.")
async def wait() -> str:
    CALLS.append({"tool": "wait"})
    WAITS.set()
    await GO.wait()
    return "waited"


async def waits(request: Request) -> Response:
    """Answer when `wait` was called."""
    del request
    await WAITS.wait()
    return Response()


async def go(request: Request) -> Response:
    """Let `wait` end."""
    del request
    GO.set()
    return Response()


async def change(request: Request) -> Response:
    """Give `search` another schema."""
    del request
    server.remove_tool("search")

    @server.tool(name="search", description="Search the shelf, and order what is found.")
    def search_anew(query: str) -> str:
        CALLS.append({"tool": "search", "query": query})
        return "changed"

    return Response()


async def reset(request: Request) -> Response:
    """Forget what was done, and be as at the start."""
    del request
    CALLS.clear()
    WAITS.clear()
    GO.clear()
    server.remove_tool("search")
    server.tool(name="search", description="Search the shelf.")(search)
    return Response()


async def calls(request: Request) -> Response:
    """Tell what was really done."""
    del request
    return JSONResponse(CALLS)


class Guard(BaseHTTPMiddleware):
    """Lets in who has the token."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        if TOKEN and request.url.path == "/mcp" and request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Response("go away", status_code=401)
        answer: Response = await call_next(request)
        return answer


def main() -> None:
    """Serve on the port of the first argument, or a free one, which is printed."""
    host = os.environ.get("MCP_HOST", "127.0.0.1")
    inner = server.streamable_http_app(host=host)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        async with server.session_manager.run():
            yield

    routes = [
        Route("/calls", calls),
        Route("/change", change, methods=["POST"]),
        Route("/reset", reset, methods=["POST"]),
        Route("/waits", waits, methods=["POST"]),
        Route("/go", go, methods=["POST"]),
        Mount("/", inner),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    if TOKEN:
        app.add_middleware(Guard)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(sys.argv[1]) if len(sys.argv) > 1 else 0))
        listener.listen()
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
