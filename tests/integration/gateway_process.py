"""The gateway as a process of its own, beside a real API server."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from tests.integration.crds_cluster import ROOT, Kubectl, Manifest, a_session

AUDIENCE = "agentsessions-gateway"
PATH = "/api/v1/agent-sessions"
COMMAND = (sys.executable, "-W", "error", "-c", "from agentsessions.gateway.main import main; main()")
WAIT_SECONDS = 90.0


def eventually(holds: Callable[[], Any], what: str) -> Any:
    """Ask again until the answer is true; return it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if answer := holds():
            return answer
        time.sleep(0.05)  # another process is at work; there is nothing to wait on
    raise AssertionError(f"not within {WAIT_SECONDS} s: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class GatewayProcess:
    """A gateway whose install namespace and journal are a test's own."""

    kubectl: Kubectl
    """For the install namespace."""
    folder: Path
    port: int = field(default_factory=free_port)
    health_port: int = field(default_factory=free_port)
    database_url: str = ""
    """Of the journal; by default a file in the folder."""
    process: "subprocess.Popen[bytes] | None" = None
    settings: dict[str, str] = field(default_factory=dict)
    """Further variables of its environment."""

    def start(self) -> None:
        """Start, and wait until it is ready."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": self.kubectl.kubeconfig,
            "AGENTSESSIONS_NAMESPACE": self.kubectl.namespace,
            "AGENTSESSIONS_DATABASE_URL": self.database_url or f"sqlite:///{self.folder / 'journal.db'}",
            "AGENTSESSIONS_HOST": "127.0.0.1",
            "AGENTSESSIONS_PORT": str(self.port),
            "AGENTSESSIONS_HEALTH_PORT": str(self.health_port),
            "AGENTSESSIONS_INSTANCE": "gateway",  # a container that starts again has its pod's name, too
            **self.settings,
        }
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(COMMAND, env=environment, stdout=log, stderr=log)
        eventually(self.is_ready, "gateway ready")

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the gateway ended:\n{self.log()}"
        try:
            return self.health("/readyz").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def health(self, path: str) -> httpx2.Response:
        return httpx2.get(f"http://127.0.0.1:{self.health_port}{path}", trust_env=False)

    def stop(self) -> int:
        """Ask it to end, as the kubelet does; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(WAIT_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(WAIT_SECONDS)

    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    def ca(self) -> str:
        """Return the CA as the operator finds it."""
        found = json.loads(self.kubectl("get", "configmap", "agentsessions-gateway-ca", "-o", "json"))
        return str(found["data"]["ca.crt"])

    def client(self, token: str | None = None, *, namespace: str = "") -> httpx2.Client:
        """Return a client that trusts the published CA and nothing else."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if namespace:
            headers["X-Namespace"] = namespace
        context = ssl.create_default_context(cadata=self.ca())
        url = f"https://localhost:{self.port}"
        return httpx2.Client(base_url=url, headers=headers, verify=context, trust_env=False, timeout=20)


@contextmanager
def a_namespace(cluster: Kubectl, prefix: str) -> Iterator[Kubectl]:
    """Give a namespace that goes when the block ends."""
    kubectl = replace(cluster, namespace=f"{prefix}-{uuid.uuid4().hex[:8]}")
    kubectl("create", "namespace", kubectl.namespace)
    try:
        yield kubectl
    finally:
        kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false")


def create_account(kubectl: Kubectl, name: str) -> None:
    """Create a service account without rights."""
    kubectl("create", "serviceaccount", name)


def mint(kubectl: Kubectl, account: str, *words: str) -> str:
    """Return a token of a service account."""
    return kubectl("create", "token", account, *words).strip()


def mint_for_pod(kubectl: Kubectl, account: str, pod: str) -> tuple[str, str]:
    """Create a pod that no node takes; return its uid and the token that would be projected into it."""
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod},
        "spec": {
            "serviceAccountName": account,
            "nodeSelector": {"no-such": "node"},
            "containers": [{"name": "agent", "image": "none"}],
        },
    }
    made = json.loads(kubectl("create", "-o", "json", "-f", "-", manifest=manifest))
    binding = ("--audience", AUDIENCE, "--bound-object-kind", "Pod", "--bound-object-name", pod)
    return made["metadata"]["uid"], mint(kubectl, account, *binding)


def create_session(kubectl: Kubectl, name: str, **spec: Any) -> str:
    """Create a session; return its uid."""
    made = json.loads(kubectl("create", "-o", "json", "-f", "-", manifest=a_session(name, **spec)))
    return str(made["metadata"]["uid"])


def write_status(kubectl: Kubectl, name: str, phase: str, **more: Any) -> None:
    """Write a status, as the operator does."""
    status = {"phase": phase, "phaseStartedAt": datetime.now(UTC).isoformat(), **more}
    patch = json.dumps({"status": status})
    kubectl("patch", "agentsession", name, "--subresource=status", "--type=merge", "-p", patch)


def grant(kubectl: Kubectl, account: str, verbs: str, resources: str) -> None:
    """Allow a service account something in its namespace."""
    name = uuid.uuid4().hex[:8]
    rules = [{"apiGroups": ["agentsessions.dev"], "resources": resources.split(","), "verbs": verbs.split(",")}]
    meta = {"name": name}
    rbac = "rbac.authorization.k8s.io"
    role: Manifest = {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": rules}
    binding: Manifest = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": kubectl.namespace}],
    }
    for manifest in (role, binding):
        kubectl("create", "-f", "-", manifest=manifest)
