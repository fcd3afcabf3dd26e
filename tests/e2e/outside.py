"""What sessions reach outside of the cluster: a Prometheus, and a database behind an MCP server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

DATABASE = Path(__file__).parents[1] / "sales_database.py"
START_AT = 1_700_000_000


class Prometheus:
    """Answers instant queries in the words of Prometheus' API, each with another figure; knows what it told."""

    def __init__(self, host: str) -> None:
        self.told: list[tuple[str, str]] = []
        """Query and value of each answer, in order."""
        self._server = ThreadingHTTPServer((host, 0), _Handler)
        self._server.prometheus = self  # type: ignore[attr-defined]  # how handlers find their server's owner
        self.address = f"{host}:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[Prometheus]:
        """Serve while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def answer(self, query: str) -> bytes:
        """Return the answer to a query."""
        number = len(self.told) + 1
        value = f"0.{number:03}" if "cpu" in query else str(number * 1024)
        self.told.append((query, value))
        vector = {"resultType": "vector", "result": [{"metric": {}, "value": [START_AT + number, value]}]}
        return json.dumps({"status": "success", "data": vector}).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.server.prometheus.answer(parse_qs(urlsplit(self.path).query)["query"][0])  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Database:
    """A database that can be asked by whoever has the token."""

    url: str
    token: str

    def asked(self) -> list[str]:
        """Return the queries that were run."""
        with urllib.request.urlopen(f"{self.url}/asked", timeout=10) as answer:  # noqa: S310  # http, below
            found: list[str] = json.load(answer)
        return found


@contextmanager
def a_database(host: str, token: str) -> Iterator[Database]:
    """Run the database's MCP server while the block does."""
    command = [sys.executable, str(DATABASE), host, token]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Database(f"http://{host}:{int(process.stdout.readline())}", token)
        finally:
            process.terminate()
