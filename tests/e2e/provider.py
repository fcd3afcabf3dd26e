"""A model provider outside the cluster: it counts what it sells, and holds an answer back where a test says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
LONGEST_HOLD_SECONDS = 600


def say(text: str) -> Json:
    """Return an answer in words."""
    return {"content": text}


def run_shell(*commands: str, **more: int) -> Json:
    """Return an answer that asks for one shell call for each command; `more` are further arguments of each."""
    asked = [json.dumps({"command": command, **more}) for command in commands]
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "shell", "arguments": arguments}}
        for n, arguments in enumerate(asked)
    ]
    return {"content": "Working on it.", "tool_calls": calls}


@dataclass
class Gate:
    """Where one step's answer stops half way."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


class CountingProvider:
    """Answers the n-th step of a conversation with the n-th answer, as an OpenAI-compatible endpoint does."""

    def __init__(self, host: str, answers: Sequence[Json]) -> None:
        self.asked: list[int] = []
        """Steps of the requests, in the order in which they came."""
        self.sold: list[int] = []
        """Steps of the answers that were sent to their end."""
        self._answers = answers
        self._gates: dict[int, Gate] = {}
        self._server = ThreadingHTTPServer((host, 0), _Handler)
        self._server.daemon_threads = True
        self._server.provider = self  # type: ignore[attr-defined]  # how handlers find their server's owner
        self.url = f"http://{host}:{self._server.server_address[1]}/v1"

    @property
    def spec(self) -> Json:
        """The ModelProvider's spec that leads here."""
        return {"type": "OpenAICompatible", "url": self.url, "models": [{"name": "counted"}]}

    def hold(self, step: int) -> Gate:
        """Hold the answer of a step back after its first half, until the gate is opened."""
        return self._gates.setdefault(step, Gate())

    @contextmanager
    def serve(self) -> Iterator[CountingProvider]:
        """Answer while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, name="provider")
        thread.start()
        try:
            yield self
        finally:
            for gate in self._gates.values():
                gate.opened.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def answer(self, request: Json) -> Iterator[Json]:
        """Yield the chunks of the answer to a request."""
        step = 1 + sum(message["role"] == "assistant" for message in request["messages"])
        self.asked.append(step)
        message = self._answers[step - 1]
        half = len(message["content"]) // 2
        yield to_chunk({"role": "assistant", "content": message["content"][:half]})
        if gate := self._gates.get(step):
            gate.reached.set()
            gate.opened.wait(LONGEST_HOLD_SECONDS)
        yield to_chunk({"content": message["content"][half:]})
        calls = [{"index": index, **call} for index, call in enumerate(message.get("tool_calls", ()))]
        if calls:
            yield to_chunk({"tool_calls": calls})
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        yield {**to_chunk({}, "tool_calls" if calls else "stop"), "usage": usage}
        self.sold.append(step)


def to_chunk(delta: Json, finish_reason: str | None = None) -> Json:
    """Return one chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with suppress(OSError):  # whoever asked is gone
            for chunk in self.server.provider.answer(request):  # type: ignore[attr-defined]  # set by its owner
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Stay silent: tests look at `asked` and `sold`."""
