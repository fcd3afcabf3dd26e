"""A model provider in a process of its own: it sells to those who bring the key, and remembers what it was asked.

Its second half is the process, started with its address, key and answers as JSON on standard input; it prints its
port, and ends when standard input is closed. `GET /log` lists the requests.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.provider import to_chunk

if TYPE_CHECKING:
    from tests.e2e.product import Product  # the process has no use for its libraries

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
INPUT_TOKENS, OUTPUT_TOKENS = 400, 100
"""Reported for each answer."""
SECRET = "upstream"
MODEL = "upstream-model"


@dataclass(frozen=True)
class Upstream:
    """The running process."""

    url: str
    key: str

    def requests(self) -> list[Json]:
        """Return all requests for an answer: `authorization`, `isSold` and `body`."""
        with urllib.request.urlopen(f"{self.url}/log", timeout=10) as answer:  # noqa: S310  # http, below
            found: list[Json] = json.load(answer)
        return found

    def sold(self) -> int:
        """Return how many answers were sold."""
        return sum(request["isSold"] for request in self.requests())

    def provide(self, product: Product, namespace: str, name: str, gateway: str) -> None:
        """Create the ModelProvider, its key, and the right of the gateway to read it, as the docs tell a tenant."""
        product.apply(
            namespace,
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {"key": self.key}},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "agentsessions-provider-keys"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "agentsessions-provider-keys",
                },
                "subjects": [{"kind": "ServiceAccount", "name": "agentsessions-gateway", "namespace": gateway}],
            },
        )
        spec = {
            "type": "OpenAICompatible",
            "url": f"{self.url}/v1",
            "apiKeySecretRef": {"name": SECRET, "key": "key"},
            "models": [{"name": MODEL}],
        }
        product.create_provider(namespace, name, spec)


@contextmanager
def serve_upstream(host: str, *answers: Json) -> Iterator[Upstream]:
    """Run the process while the block does.

    Args:
        host: Address to listen on.
        answers: Assistant messages: the n-th to a conversation's n-th request, the last to all later ones.
    """
    key = f"sk-{secrets.token_hex(16)}"
    command = [sys.executable, "-m", "tests.e2e.upstream"]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"host": host, "key": key, "answers": answers}) + "\n")
        process.stdin.flush()
        yield Upstream(f"http://{host}:{int(process.stdout.readline())}", key)
    finally:
        process.communicate()  # closes standard input


# --- the process


class Server(ThreadingHTTPServer):
    """What all requests share."""

    daemon_threads = True

    def __init__(self, host: str, key: str, answers: list[Json]) -> None:
        """Listen on a free port of `host`."""
        super().__init__((host, 0), Handler)
        self.key = key
        self.answers = answers
        self.log: list[Json] = []


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server

    def do_GET(self) -> None:
        """Tell what was asked."""
        self._answer(200, "application/json", json.dumps(self.server.log))

    def do_POST(self) -> None:
        """Sell an answer."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        authorization = self.headers.get("Authorization")
        is_sold = authorization == f"Bearer {self.server.key}"
        self.server.log.append({"authorization": authorization, "isSold": is_sold, "body": body})
        if is_sold:
            self._answer(200, "text/event-stream", "".join(self._frames(body)))
        else:
            self._answer(401, "application/json", json.dumps({"error": {"message": "no such key"}}))

    def _frames(self, body: Json) -> Iterator[str]:
        answers = self.server.answers
        number = sum(message["role"] == "assistant" for message in body["messages"])
        message = answers[min(number, len(answers) - 1)]
        calls = [{"index": index, **call} for index, call in enumerate(message.get("tool_calls", ()))]
        total = INPUT_TOKENS + OUTPUT_TOKENS
        usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": total}
        yield frame(to_chunk({"role": "assistant", "content": message["content"]}))
        if calls:
            yield frame(to_chunk({"tool_calls": calls}))
        yield frame({**to_chunk({}, "tool_calls" if calls else "stop"), "usage": usage})
        yield "data: [DONE]\n\n"

    def _answer(self, status: int, media_type: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Stay silent: tests ask for the log."""


def frame(chunk: Json) -> str:
    """Return one event of a stream."""
    return f"data: {json.dumps(chunk)}\n\n"


def main() -> None:
    """Serve until standard input is closed."""
    server = Server(**json.loads(sys.stdin.readline()))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)  # noqa: T201  # tells the test where
    sys.stdin.read()  # whoever started this process holds it open: it ends with them, however they end
    os._exit(0)


if __name__ == "__main__":
    main()
