"""A session whose runner a test can stop where it wants: its provider, its workspace, its events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.faults import kill_containers, until
from tests.e2e.product import Forward, Json, Product, read_events
from tests.e2e.provider import CountingProvider, run_shell, say

WAITING, GO, EFFECTS = "waiting", "go", "effects.txt"
WAIT_FOR_GO = f"touch {WAITING}; until [ -e {GO} ]; do sleep 0.1; done"
"""A command that says that it runs, and runs until a test lets it end."""
FOUR_STEPS = (
    run_shell(f"echo one >> {EFFECTS}"),
    run_shell(f"{WAIT_FOR_GO}; echo two >> {EFFECTS}"),
    run_shell(f"echo three >> {EFFECTS}"),
    say("All three are written."),
)


@dataclass(frozen=True)
class Stage:
    """One session under test."""

    product: Product
    namespace: str
    provider: CountingProvider
    name: str = "staged"

    def begin(self, **spec: Any) -> None:
        """Create the provider and the session."""
        self.product.create_provider(self.namespace, "counting", self.provider.spec)
        agent = {"name": "agent", "model": {"providerRef": {"name": "counting"}}}
        given = {"retry": {"initialBackoffSeconds": 1}, "workspace": {"size": "64Mi"}, **spec}
        self.product.create_session(self.namespace, self.name, goal="Write three lines.", agents=[agent], **given)

    def epoch(self) -> int:
        """Return the epoch that status shows."""
        agents = self.product.session(self.namespace, self.name).get("status", {}).get("agents") or [{"epoch": 0}]
        epoch: int = agents[0]["epoch"]
        return epoch

    def running_pod(self) -> Any:
        """Wait for phase Running and return the pod."""
        running = self.product.wait_phase(self.namespace, self.name, "Running")
        pods = {p.metadata.name: p for p in self.product.session_pods(self.namespace, running["metadata"]["uid"])}
        return pods[running["status"]["agents"][0]["podName"]]

    def kill_runner(self) -> None:
        """SIGKILL every process of the agent's pod."""
        kill_containers(self.product, self.namespace, self.running_pod().metadata.name)

    def workspace(self) -> Path:
        """Return the workspace's folder on the node, which is this machine."""
        (claim,) = self.product.core.list_namespaced_persistent_volume_claim(self.namespace).items
        volume = self.product.core.read_persistent_volume(claim.spec.volume_name).spec
        return Path((volume.local or volume.host_path).path)

    def await_tool(self) -> None:
        """Wait until the tool of step 2 runs."""
        until(self.is_waiting, "the tool runs")

    def is_waiting(self) -> bool:
        """Whether the tool of step 2 has begun."""
        claims = self.product.core.list_namespaced_persistent_volume_claim(self.namespace).items
        return any(c.status.phase == "Bound" for c in claims) and (self.workspace() / WAITING).exists()

    def let_tool_end(self) -> None:
        """Let the tool of step 2 end."""
        (self.workspace() / GO).touch()

    def await_entry(self, gateway: Forward, kind: str, step: int) -> Json:
        """Wait until the journal has an entry of a kind for a step."""
        for entry in read_events(gateway.http, self.namespace, self.name):
            if entry["type"] == kind and entry["step"] == step:
                return entry
        raise AssertionError(f"the session ended without {kind} in step {step}")

    def entries(self, gateway: Forward) -> list[Json]:
        """Return the journal of a session that is over."""
        return list(read_events(gateway.http, self.namespace, self.name))

    def finish(self) -> Json:
        """Wait for Completed and return the session."""
        return self.product.wait_phase(self.namespace, self.name, "Completed")

    def effects(self) -> list[str]:
        """Return the lines that the tools left."""
        return (self.workspace() / EFFECTS).read_text().split()
