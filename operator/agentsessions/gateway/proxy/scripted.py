"""The scripted model: an OpenAI-compatible server on loopback, in the gateway's own process.

It is reached as any provider is, over a real connection: streaming, accounting and connections that break off are
those of real life. (httpx2's ASGITransport would hold the whole stream back, and cannot break off.)
"""

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agentsessions.api.v1alpha1.script import Script, ScriptError
from agentsessions.gateway.proxy.script_eval import Played, PlayedCall, TooMuchQuotedError, play, to_prompt
from agentsessions.gateway.server import create_server
from agentsessions.lifecycle.patterns import PatternError

HOST: Final = "127.0.0.1"
AGENT_HEADER: Final = "x-agentsessions-agent"
MODEL_HEADER: Final = "x-agentsessions-model"
ATTEMPT_HEADER: Final = "x-agentsessions-attempt"
PIECE_SECONDS: Final = 0.05
"""How often a text that is spread over time sends a piece."""
MAX_PIECES: Final = 200
THREADS: Final = 2
"""That search patterns: they let go of the interpreter meanwhile, and a slow script stops nothing but scripts."""

FindScript = Callable[[str, str], Script | None]
"""Script of the provider in (namespace, name), if there is one."""


class ScriptedServer:
    """Serves the scripts of all Scripted providers below one URL."""

    def __init__(self, find_script: FindScript) -> None:
        """Listen on a free port of loopback; nothing is answered before `start`."""
        self._find_script = find_script
        self.key: Final = secrets.token_urlsafe(32)
        """API key that it asks for: other processes of the node's network get nothing."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind((HOST, 0))
        self._socket.listen()  # whoever comes before the server runs waits for it
        self.port: Final[int] = self._socket.getsockname()[1]
        route = Route("/{namespace}/{name}/chat/completions", self._complete, methods=["POST"])
        self._server = create_server(Starlette(routes=[route]), HOST, self.port)
        self._task: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="scripted-model")

    def url(self, namespace: str, name: str) -> str:
        """Return the base URL of a provider's script."""
        return f"http://{HOST}:{self.port}/{namespace}/{name}"

    async def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="scripted-model")

    async def close(self) -> None:
        """Stop; connections still open are broken off."""
        self._server.should_exit = self._server.force_exit = True
        if self._task is not None:
            await self._task
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._socket.close()

    async def _complete(self, request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get("authorization", ""), f"Bearer {self.key}"):
            return _error(401, "The scripted model is the gateway's own.", "invalid_api_key")
        script = self._find_script(request.path_params["namespace"], request.path_params["name"])
        if script is None:
            return _error(404, "The provider has no script any more.", "no_script")
        raw, headers = await request.body(), request.headers
        body = json.loads(raw)
        prompt = to_prompt(
            body,
            agent=headers.get(AGENT_HEADER, ""),
            model=unquote(headers.get(MODEL_HEADER, "")),
            attempt=int(headers.get(ATTEMPT_HEADER, "1")),
        )
        cap = body.get("max_completion_tokens") or body.get("max_tokens")
        playing = partial(play, script, prompt, request_bytes=len(raw), cap_tokens=cap)
        try:
            played = await asyncio.get_running_loop().run_in_executor(self._threads, playing)
        except (PatternError, TooMuchQuotedError) as error:
            return _error(400, f"The script cannot be played: {error}.", "script_invalid")
        if played is None:
            return _error(400, f"No rule of the script matches step {prompt.step}.", "no_rule")
        await asyncio.sleep(played.delay_seconds)
        if played.error is not None and played.error.cut_after_characters is None:
            return _refusal(played.error)
        return _Stream(played, str(body.get("model", "")))


class _Stream(Response):
    """The answer as a stream of chunks; breaks the connection where the script says so."""

    def __init__(self, played: Played, model: str) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self._played = played
        self._base = {
            "id": f"chatcmpl-{secrets.token_hex(8)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for choice in self._choices():
            await self._send(send, {"choices": [choice]})
        if self._played.error is not None:
            # Returning with the body open makes the server close the connection: the client sees it break off.
            return
        usage = {
            "prompt_tokens": self._played.input_tokens,
            "completion_tokens": self._played.output_tokens,
            "total_tokens": self._played.input_tokens + self._played.output_tokens,
        }
        await self._send(send, {"choices": [], "usage": usage})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _send(self, send: Send, part: dict[str, Any]) -> None:
        data = f"data: {json.dumps(self._base | part)}\n\n".encode()
        await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _choices(self) -> AsyncIterator[dict[str, Any]]:
        played = self._played
        yield _choice({"role": "assistant", "content": ""})
        cut_after = played.error.cut_after_characters if played.error else None
        text = played.text if cut_after is None else played.text[:cut_after]
        pieces = _split(text, played.stream_seconds)
        for piece in pieces:
            yield _choice({"content": piece})
            if played.stream_seconds:
                await asyncio.sleep(played.stream_seconds / len(pieces))
        if cut_after is not None:
            return
        for index, call in enumerate(played.calls):
            yield _choice({"tool_calls": [_call(index, call)]})
        stop = "tool_calls" if played.calls else "stop"
        yield _choice({}, "length" if played.is_cut_short else stop)


def _split(text: str, seconds: float) -> list[str]:
    if not text:
        return []
    count = max(1, min(len(text), MAX_PIECES, int(seconds / PIECE_SECONDS)))
    size = -(-len(text) // count)
    return [text[start : start + size] for start in range(0, len(text), size)]


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def _call(index: int, call: PlayedCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": index, "id": call.id, "type": "function", "function": function}


def _refusal(error: ScriptError) -> Response:
    response = _error(error.status or 500, error.message, error.code)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _error(status: int, message: str, code: str | None) -> Response:
    return JSONResponse({"error": {"message": message, "type": "scripted", "code": code}}, status)
