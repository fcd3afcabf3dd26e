"""The command line as a test's user has it: a program with a kubeconfig, on a real cluster."""

from __future__ import annotations

import os
import pty
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client

from tests.e2e.product import LONG_SECONDS, ROOT, Product

ACCOUNT = "agentsessions-cli"
PROGRAM = [sys.executable, "-m", "agentsessions.cli.main"]
AS_TYPED = ["env", "--default-signal=INT", *PROGRAM]
"""It hears Ctrl-C also where the tests themselves run in the background, which a shell lets ignore it."""
MODEL = {"name": "agent", "model": {"providerRef": {"name": "script"}}}


@dataclass
class Running:
    """A command that runs."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    _lines: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def await_line(self, text: str) -> str:
        """Wait until it prints a line with a text."""
        ends_at = time.monotonic() + LONG_SECONDS
        while True:
            line = self._lines.get(timeout=max(0.1, ends_at - time.monotonic()))
            assert line is not None, f"it ended without {text!r}: {''.join(self.said)}"
            self.said.append(line)
            if text in line:
                return line

    def end(self, seconds: float = LONG_SECONDS) -> int:
        """Wait for its end; return its exit code, with all that it said in `said`."""
        code = self.process.wait(seconds)
        while (line := self._lines.get(timeout=10)) is not None:
            self.said.append(line)
        return code

    def type(self, text: str) -> None:
        """Write a line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    @property
    def text(self) -> str:
        """What it said so far."""
        return "".join(self.said)


@dataclass
class Terminal:
    """A command at a terminal, as a person has it."""

    process: subprocess.Popen[bytes]
    way: int
    text: str = ""

    def type(self, text: str) -> None:
        """Write a line."""
        os.write(self.way, f"{text}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def await_text(self, text: str) -> None:
        """Wait until it shows a text, behind all that was waited for before."""
        ends_at = time.monotonic() + LONG_SECONDS
        while text not in self.text:
            ready, _, _ = select.select([self.way], [], [], max(0.0, ends_at - time.monotonic()))
            assert ready, f"no {text!r} in {self.text!r}"
            self.text += os.read(self.way, 4096).decode(errors="replace")
        self.text = self.text.partition(text)[2]

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        return self.process.wait(LONG_SECONDS)


class CommandLine:
    """`agentsession` in one namespace."""

    def __init__(self, product: Product, namespace: str) -> None:
        self.product = product
        self.namespace = namespace
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": product.kubeconfig,
            "PATH": f"{Path(product.kubectl_program).parent}:{os.environ['PATH']}",
        }

    def __call__(
        self, *words: str, code: int = 0, stdin: str | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end; its exit code must be `code`, and it never shows a traceback."""
        done = subprocess.run(
            [*PROGRAM, *words, "-n", self.namespace],
            check=False,
            capture_output=True,
            text=True,
            input=stdin or "",
            env=self.environment,
            timeout=LONG_SECONDS,
            cwd=cwd,
        )
        assert done.returncode == code, f"{' '.join(words)}: exit code {done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def refused(self, *words: str, code: int = 1, stdin: str | None = None) -> str:
        """Return the one sentence of a command that must fail."""
        done = self(*words, code=code, stdin=stdin)
        (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        return sentence

    @contextmanager
    def running(self, *words: str) -> Iterator[Running]:
        """Run a command line beside the block; what it says on both ways is one."""
        process = subprocess.Popen(
            [*AS_TYPED, *words, "-n", self.namespace],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )
        try:
            yield Running(process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(30)
            for way in (process.stdin, process.stdout):
                if way is not None:
                    way.close()

    @contextmanager
    def at_terminal(self, *words: str) -> Iterator[Terminal]:
        """Run a command line at a terminal beside the block."""
        way, other = pty.openpty()
        process = subprocess.Popen(
            [*AS_TYPED, *words, "-n", self.namespace], stdin=other, stdout=other, stderr=other, env=self.environment
        )
        os.close(other)
        try:
            yield Terminal(process, way)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(30)
            os.close(way)

    def script(self, *rules: dict[str, Any], name: str = "script") -> None:
        """Create a scripted model."""
        self.product.create_script(self.namespace, name, *rules)


@contextmanager
def a_place(product: Product) -> Iterator[CommandLine]:
    """Make a namespace with an account that speaks for certificate users, as `doctor` says."""
    name = f"t-cli-{uuid.uuid4().hex[:8]}"
    product.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
    try:
        let_speak(product, name)
        yield CommandLine(product, name)
    finally:
        product.core.delete_namespace(name)


def let_speak(product: Product, namespace: str) -> None:
    """Make the account."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }
    product.apply(namespace, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}, binding)
