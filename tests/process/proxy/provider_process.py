"""A model provider in a process of its own: speaks Chat Completions, well or badly, as the model's name says.

The model `queued` answers what `POST /queue` gave it, one answer after the other, and then says `done`.

Run it; it prints its port. `GET /log` tells what it was asked,
`POST /release` lets slow answers go, `GET /left` waits until a client leaves before a slow answer went.
"""

import asyncio
import json
import os
import socket
import sys
from collections import Counter
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

log: list[dict[str, Any]] = []
asked: Counter[str] = Counter()
arrived = asyncio.Event()
released = asyncio.Event()
left = asyncio.Event()
queue: list[list[Any]] = []

USAGE = {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55}


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [choice]}


def usage() -> dict[str, Any]:
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [], "usage": USAGE}


def text(words: str, finish_reason: str = "stop") -> list[dict[str, Any]]:
    pieces = [chunk(content=word) for word in words.split(" ")]
    return [chunk(role="assistant"), *pieces, chunk(finish_reason), usage()]


def call(arguments: str = '{"command":"ls"}', name: str = "shell", call_id: str = "dup") -> dict[str, Any]:
    return {"index": 0, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asking(*calls: dict[str, Any]) -> list[dict[str, Any]]:
    numbered = [one | {"index": index} for index, one in enumerate(calls)]
    return [chunk(tool_calls=numbered), chunk("tool_calls"), usage()]


STREAMS: dict[str, list[Any]] = {
    "good": text("hello there"),
    "flaky": text("second try"),
    "slow": text("at last"),
    "slow-stream": text("at last"),
    "hanging": text("one two three four"),
    "hanging-flaky": text("one two three four"),
    "hanging-usage": [usage(), *text("one two three four")],
    "bad-arguments": asking(call('{"command": ')),
    "unknown-tool": asking(call(name="teleport")),
    "same-ids": asking(call(), call('{"command":"pwd"}')),
    "no-ids": asking(call(call_id=""), call('{"command":"pwd"}', call_id="")),
    "no-usage": text("hello")[:-1],
    "absurd": [*text("hello")[:-1], usage() | {"usage": USAGE | {"prompt_tokens": 10**30}}],
    "no-finish": [chunk(content="half")],
    "malformed": ["{not json"],
    "empty": text(""),
    "length": text("half", "length"),
    "two-choices": [{"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": "stop"}]}],
    "error-inside": [chunk(content="half"), {"error": {"message": "overheated", "code": 503}}],
    "long-inside": [{"error": {"code": 400, "type": "exceed_context_size_error", "message": "too large"}}],
    "cut-text": text("half an answer that never ends"),
    "cut-call": asking(call('{"command":"rm -rf')),
}
REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "broken": (500, {"message": "out of order"}),
    "full": (429, {"message": "too fast"}),
    "spent": (429, {"message": "pay first", "code": "insufficient_quota"}),
    "long": (400, {"message": "too much", "code": "context_length_exceeded"}),
    "picky": (422, {"message": "no such field"}),
}


class Stream(Response):
    """Chunks; left open at the end when it is to break off."""

    def __init__(self, model: str) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        parts = (queue.pop(0) if queue else text("done")) if self.model == "queued" else STREAMS[self.model]
        is_cut = self.model.startswith("cut-")
        for number, part in enumerate(parts[: len(parts) // 2] if is_cut else parts):
            data = part if isinstance(part, str) else json.dumps(part)
            await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})
            if self.model == "slow-stream" or (self.model.startswith("hanging") and number == len(parts) // 2):
                await hold_back(receive)
        if not is_cut:
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def hold_back(receive: Receive) -> None:
    """Wait until answers may go, or the client has gone."""
    leaving, releasing = asyncio.ensure_future(receive()), asyncio.ensure_future(released.wait())
    await asyncio.wait({leaving, releasing}, return_when=asyncio.FIRST_COMPLETED)
    if leaving.done() and leaving.result()["type"] == "http.disconnect":
        left.set()
    leaving.cancel()
    releasing.cancel()


async def complete(request: Request) -> Response:
    body = await request.json()
    model = body["model"]
    log.append({"body": body, "headers": dict(request.headers), "port": request.client.port if request.client else 0})
    asked[model] += 1
    arrived.set()
    if model == "slow":
        await hold_back(request.receive)
    if model in {"flaky", "hanging-flaky"} and asked[model] == 1:
        return JSONResponse({"error": {"message": "too fast"}}, 429, {"Retry-After": "0"})
    if model == "later":
        return JSONResponse({"error": {"message": "too fast"}}, 429, {"Retry-After": "30"})
    if model == "key":
        return JSONResponse({"error": {"message": f"bad key {request.headers['authorization']}"}}, 422)
    if model in REFUSALS:
        status, error = REFUSALS[model]
        return JSONResponse({"error": error}, status)
    if model == "whole":
        message = {"role": "assistant", "content": "in one piece"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return JSONResponse({"id": "x", "created": 1, "choices": choices, "usage": USAGE})
    return Stream(model)


async def read_log(request: Request) -> Response:
    del request
    return JSONResponse(log)


async def fill_queue(request: Request) -> Response:
    queue[:] = await request.json()
    return Response()


async def wait_for_request(request: Request) -> Response:
    del request
    await arrived.wait()
    return Response()


async def wait_for_leaving(request: Request) -> Response:
    del request
    await left.wait()
    return Response()


async def release(request: Request) -> Response:
    del request
    released.set()
    return Response()


async def reset(request: Request) -> Response:
    del request
    log.clear()
    queue.clear()
    asked.clear()
    arrived.clear()
    released.clear()
    left.clear()
    return Response()


app = Starlette(
    routes=[
        Route("/v1/chat/completions", complete, methods=["POST"]),
        Route("/log", read_log),
        Route("/queue", fill_queue, methods=["POST"]),
        Route("/arrived", wait_for_request),
        Route("/left", wait_for_leaving),
        Route("/release", release, methods=["POST"]),
        Route("/reset", reset, methods=["POST"]),
    ]
)


async def serve(server: uvicorn.Server, listener: socket.socket) -> None:
    # Whoever started this process holds its standard input open: it ends with them, however they end.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), lambda: os._exit(0))
    await server.serve(sockets=[listener])


def main() -> None:
    """Serve until standard input is closed."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:  # only then asyncio sends small pieces at once
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        print(listener.getsockname()[1], flush=True)  # noqa: T201 - tells the test where
        config = uvicorn.Config(app, lifespan="off", log_level="critical")
        asyncio.run(serve(uvicorn.Server(config), listener))


if __name__ == "__main__":
    main()
