"""A way to the gateway through the API server: `kubectl port-forward`, kept running for as long as we do."""

import queue
import shutil
import ssl
import subprocess
import threading
import time
from collections import deque
from typing import Final

import httpx2

from agentsessions.cli.failures import Failure

GATEWAY_SERVICE: Final = "agentsessions-gateway"
START_SECONDS: Final = 15.0
FINAL_WORDS: Final = ("Forbidden", "NotFound", "not found", "Unauthorized", "no such host")
"""In kubectl's complaint: trying again is no use."""


class Forward:
    """One port-forward. It keeps its local port when it has to be started again."""

    def __init__(self, namespace: str, options: list[str]) -> None:
        """Prepare it.

        Args:
            namespace: Where the gateway is.
            options: For kubectl: which kubeconfig, which context.
        """
        self._namespace = namespace
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._said: deque[str] = deque(maxlen=5)
        self._lock = threading.Lock()
        self.port = 0

    def ensure(self) -> None:
        """Start it where it does not run.

        Raises:
            Failure: It cannot be had.
            httpx2.ConnectError: It cannot be had at this moment.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        program = shutil.which("kubectl")
        if program is None:
            raise Failure(
                "kubectl is not on PATH, and the way to the gateway leads through it: install it, or give --gateway"
            )
        command = [program, *self._options, "-n", self._namespace, "port-forward", "--address", "127.0.0.1"]
        command += [f"service/{GATEWAY_SERVICE}", f"{self.port or ''}:443"]
        # A session of its own: Ctrl-C is for us, who may go on.
        self._process = subprocess.Popen(  # noqa: S603  # kubectl, with words of ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(self._process, lines), daemon=True).start()
        self.port = self._await_port(lines)

    def _await_port(self, lines: "queue.SimpleQueue[str | None]") -> int:
        ends_at = time.monotonic() + START_SECONDS
        while True:
            try:
                line = lines.get(timeout=max(0.0, ends_at - time.monotonic()))
            except queue.Empty:
                self.stop()
                raise httpx2.ConnectError(f"kubectl port-forward was not ready in {START_SECONDS:g} s") from None
            if line is None:
                raise self._complaint()
            if "->" in line:
                return int(line.split("->")[0].rsplit(":", 1)[1])

    def _complaint(self) -> Exception:
        said = " ".join(self._said).removeprefix("error: ").removeprefix("Error from server ") or "it said nothing"
        if not any(word in said for word in FINAL_WORDS):
            return httpx2.ConnectError(f"kubectl port-forward: {said}")
        return Failure(
            f"no way to the gateway in namespace {self._namespace!r}: {said}. Ask for the right to forward ports "
            "there, name its namespace with --system-namespace, or its address with --gateway"
        )

    def _read(self, process: subprocess.Popen[str], lines: "queue.SimpleQueue[str | None]") -> None:
        if process.stdout is None:
            raise AssertionError("standard output is a pipe")
        with process.stdout:
            for line in process.stdout:
                self._said.append(line.strip())
                lines.put(line)
        lines.put(None)


class ForwardTransport(httpx2.HTTPTransport):
    """Sends requests through a port-forward; one that broke is made again for the next request."""

    def __init__(self, forward: Forward, trust: ssl.SSLContext) -> None:
        super().__init__(verify=trust, trust_env=False)
        self._forward = forward

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to the port that leads to the gateway now."""
        self._forward.ensure()
        request.url = request.url.copy_with(port=self._forward.port)
        try:
            return super().handle_request(request)
        except httpx2.TransportError:
            self._forward.stop()
            raise
