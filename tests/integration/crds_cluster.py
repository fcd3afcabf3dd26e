"""The real API server for tests of what it refuses: kubectl, as people use it, in a namespace of the test's own."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = (sys.executable, str(ROOT / "hack" / "cluster"))
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one namespace; `user` is impersonated where one is named."""

    kubeconfig: str
    namespace: str
    user: str = ""

    def run(self, *words: str, manifest: Manifest | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl, whatever its exit code."""
        # What kubectl remembers of a cluster goes with it: the next one may have its address, and other CRDs.
        cache = str(Path(self.kubeconfig).parent / "kubectl-cache")
        command = ["kubectl", "--kubeconfig", self.kubeconfig, "--cache-dir", cache, "--namespace", self.namespace]
        command += words
        if self.user:
            command += ["--as", self.user]
        text = None if manifest is None else json.dumps(manifest)
        return subprocess.run(command, input=text, text=True, capture_output=True, check=False, timeout=60)

    def __call__(self, *words: str, manifest: Manifest | None = None) -> str:
        """Run kubectl and return what it printed."""
        done = self.run(*words, manifest=manifest)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def refusal(self, *words: str, manifest: Manifest | None = None) -> str:
        """Run kubectl, which must fail; return what it says."""
        done = self.run(*words, manifest=manifest)
        assert done.returncode != 0, f"kubectl {' '.join(words)} was not refused: {done.stdout}"
        return done.stderr


def find_kubeconfig() -> str:
    """Return the kubeconfig of the cluster for tests."""
    if given := os.environ.get("AGENTSESSIONS_KUBECONFIG"):
        return given
    done = subprocess.run([*CLUSTER, "kubeconfig"], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"no cluster to test on: run `make cluster-up`\n{done.stderr}")
    return done.stdout.strip()


@contextmanager
def fresh_namespace(prefix: str) -> Iterator[Kubectl]:
    """Apply the CRDs, and give a namespace that goes when the block ends."""
    kubectl = Kubectl(find_kubeconfig(), f"{prefix}-{uuid.uuid4().hex[:8]}")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=90s", "-f", str(ROOT / "crds"))
    kubectl("create", "namespace", kubectl.namespace)
    try:
        yield kubectl
    finally:
        kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false")


def a_session(name: str = "refused", **spec: Any) -> Manifest:
    """Return a session whose spec has a goal, and what is given; None leaves a field out."""
    fields = {"goal": "Say hello.", **spec}
    return {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "AgentSession",
        "metadata": {"name": name},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }


def a_template(name: str = "refused", **spec: Any) -> Manifest:
    """Return a template that sets nothing but what is given."""
    return {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "AgentSessionTemplate",
        "metadata": {"name": name},
        "spec": {"session": {}, **spec},
    }


def an_agent(**fields: Any) -> list[Manifest]:
    """Return the agents of a session: one."""
    return [{"name": "worker", **fields}]


def a_tool_server(name: str = "refused", **spec: Any) -> Manifest:
    """Return an MCP server, and what is given."""
    return {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "ToolServer",
        "metadata": {"name": name},
        "spec": {"url": "https://mcp.example.com/mcp", **spec},
    }


def a_webhook(name: str = "refused", **spec: Any) -> Manifest:
    """Return a webhook with one signing key, and what is given."""
    keys = [{"name": "key", "key": "signing"}]
    return {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "SessionWebhook",
        "metadata": {"name": name},
        "spec": {"url": "https://hooks.example.com/in", "secretKeyRefs": keys, **spec},
    }


def a_provider(name: str = "refused", **spec: Any) -> Manifest:
    """Return a provider with one model, and what is given."""
    return {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "ModelProvider",
        "metadata": {"name": name},
        "spec": {"models": [{"name": "m"}], **spec},
    }


def an_approval(name: str, decisions: Manifest | None = None, **request: Any) -> Manifest:
    """Return a question about a call, as the operator asks it, with what people say."""
    given = {
        "kind": "Approval",
        "number": 1,
        "agent": "agent",
        "round": 1,
        "step": 1,
        "callId": "call_1",
        "tool": "shell",
        "arguments": "{}",
        "argumentsDigest": "0" * 64,
        "message": "it is asked",
        "quorum": 1,
        "askedAt": "2026-11-21T12:00:00Z",
    }
    answers = {} if decisions is None else {"decisions": decisions}
    return {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "SessionApproval",
        "metadata": {"name": name},
        "spec": {"session": "s", "request": {**given, **request}, **answers},
    }
