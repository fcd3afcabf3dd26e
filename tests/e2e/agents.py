"""Live agent pods that stay as long as a test looks at them, and ways to look."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.product import PATIENCE, Json, Product, cluster_says, read_events
from tests.e2e.provider import run_shell, say

DOCKERFILE = Path(__file__).parent / "foreign" / "Dockerfile"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "agent-image" / "Dockerfile"
GATE = "/workspace/gate"
HELD_SECONDS = 600
HELD_ANSWERS = (
    run_shell("mkfifo gate; echo made"),
    run_shell("cat gate", timeout=HELD_SECONDS),
    say("The gate was opened."),
)
"""Answers of a session whose second tool call waits until the gate is opened."""


@dataclass(frozen=True)
class LivePod:
    """A running agent pod."""

    product: Product
    namespace: str
    session: str
    name: str
    uid: str

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the agent's container."""
        return self.product.kubectl(
            "exec", "-i", "-n", self.namespace, self.name, "--", *command, stdin=stdin or "", check=check
        )

    def token(self) -> str:
        """Return the token by which the gateway knows the pod."""
        return self.run("cat", "/var/run/agentsessions/token/token").stdout.strip()

    def open_gate(self) -> None:
        """Let the agent go on."""
        self.run("sh", "-c", f"echo go > {GATE}")

    def manifest(self) -> Json:
        """Return the pod as it really runs."""
        found: Json = self.product.core.api_client.sanitize_for_serialization(
            self.product.core.read_namespaced_pod(self.name, self.namespace)
        )
        return found


@contextmanager
def held_session(product: Product, namespace: str, name: str, provider: str, **agent: Any) -> Iterator[LivePod]:
    """Run a session over `HELD_ANSWERS`; it waits in its second tool call during the block, and completes after it."""
    model = {"providerRef": {"name": provider}}
    product.create_session(namespace, name, goal="Wait.", agents=[{"name": "agent", "model": model, **agent}])
    pod = live_pod(product, namespace, name)
    wait_for_entries(product, namespace, name, "tool_call", 2)  # the gate was made by the first
    yield pod
    pod.open_gate()
    product.wait_phase(namespace, name, "Completed")


def create_held_script(product: Product, namespace: str) -> str:
    """Create a Scripted provider of `HELD_ANSWERS` and return its name."""
    calls = ({"command": "mkfifo gate; echo made"}, {"command": "cat gate", "timeout": HELD_SECONDS})
    rules: list[Json] = [
        {"when": {"step": step}, "answer": {"toolCalls": [{"name": "shell", "arguments": arguments}]}}
        for step, arguments in enumerate(calls, 1)
    ]
    product.create_script(namespace, "held", *rules, {"answer": {"text": "The gate was opened."}})
    return "held"


def live_pod(product: Product, namespace: str, name: str) -> LivePod:
    """Wait until a session runs and return its pod."""
    running = product.wait_phase(namespace, name, "Running")
    row = running["status"]["agents"][0]
    return LivePod(product, namespace, name, row["podName"], row["podUID"])


def wait_for_entries(product: Product, namespace: str, name: str, kind: str, count: int) -> None:
    """Follow a session's events until `count` of a kind have come."""
    seen = 0
    with product.gateway() as gateway:
        for entry in read_events(gateway.http, namespace, name):
            seen += entry["type"] == kind
            if seen == count:
                return
    raise AssertionError(f"{namespace}/{name} is over with {seen} entries {kind}, not {count}")


def follow_log(product: Product, namespace: str, pod: str) -> Iterator[str]:
    """Yield a pod's lines as it prints them, to its end; wait for it to be started."""
    started = "--for=jsonpath={.status.containerStatuses[0].started}=true"
    product.kubectl("wait", started, f"pod/{pod}", "-n", namespace, PATIENCE)
    command = [product.kubectl_program, "--kubeconfig", product.kubeconfig, "logs", "--follow", "-n", namespace, pod]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                yield line.strip()
        finally:
            process.terminate()


@functools.cache
def build_foreign_image() -> str:
    """Build the image of `foreign/`, bring it into the cluster and return its name."""
    return cluster_says("image", "--dockerfile", str(DOCKERFILE))


@functools.cache
def build_example_image() -> str:
    """Build the documented image of an agent of one's own, bring it into the cluster and return its name."""
    return cluster_says("image", "--dockerfile", str(EXAMPLE))
