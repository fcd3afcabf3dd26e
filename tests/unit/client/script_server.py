"""A server on a real port that plays a script: answers that a real gateway or API server does not give on request."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int = 200
    body: Any = None
    """JSON, or bytes as they stand."""
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False
    """Break the connection in the middle of the body."""

    def content(self) -> bytes:
        """Return the body's bytes."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class ScriptServer:
    """What it answers (the last answer for ever), and what it was asked."""

    url: str = ""
    script: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    answer: Callable[[Asked], Answer] | None = None
    """Answers instead of the script."""

    def next(self, asked: Asked) -> Answer:
        """Note a request and return its answer."""
        self.asked.append(asked)
        if self.answer is not None:
            return self.answer(asked)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class QuietServer(ThreadingHTTPServer):
    """One that clients may leave in the middle of an answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of anything else."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve() -> Iterator[ScriptServer]:
    """Run a server while the block runs."""
    found = ScriptServer()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = found.next(Asked(self.command, self.path, dict(self.headers.items()), body))
            content = answer.content()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) + (100 if answer.is_cut else 0)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815  # names of the standard library

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    server = QuietServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sse(*events: tuple[int | None, str, dict[str, Any]]) -> bytes:
    """Return events as a stream."""
    return b"".join(
        (f"id: {seq}\n" if seq is not None else "").encode() + f"event: {name}\ndata: {json.dumps(body)}\n\n".encode()
        for seq, name, body in events
    )


def entry(seq: int, type_: str, **body: Any) -> tuple[int, str, dict[str, Any]]:
    """Return an entry as an event."""
    data = {
        "seq": seq,
        "type": type_,
        "at": "2026-11-02T10:00:00Z",
        "agent": "agent",
        "round": 1,
        "step": 1,
        "index": 0,
    }
    return seq, type_, {**data, "body": body}


def session(**changes: Any) -> dict[str, Any]:
    """Return a session as the gateway answers it."""
    usage = {
        "steps": 1,
        "inputTokens": 3,
        "outputTokens": 4,
        "totalTokens": 7,
        "toolCalls": 0,
        "costMicroUSD": 0,
        "turns": 1,
    }
    return {
        "uid": "u-1",
        "namespace": "demo",
        "name": "hello",
        "type": "Custom",
        "mode": "FullAutonomy",
        "role": "Worker",
        "goal": "Say hello.",
        "operatingMode": "Running",
        "phase": "Running",
        "limits": {"maxSteps": 10},
        "usage": usage,
        "head": 3,
        "createdAt": "2026-11-02T10:00:00Z",
        "spec": {"goal": "Say hello."},
        **changes,
    }
