"""The cluster and the product on it, as a bench needs them."""

import asyncio
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agentsessions.api import names
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import load_access
from agentsessions.engine.errors import NotFound
from agentsessions.engine.resources import CONFIG_MAP, EVENT, NAMESPACE, POD, SERVICE_ACCOUNT, Resource, resource_path

from .machine import processes_of

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "agentsessions-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:agentsessions-operator"
GATEWAY = f"system:serviceaccount:{SYSTEM}:agentsessions-gateway"
READER = "bench-reader"
EVENT_SECONDS = 60
AGENT_SESSION = Resource(names.GROUP, names.VERSION, "agentsessions", "AgentSession")
SESSION_QUOTA = Resource(names.GROUP, names.VERSION, "sessionquotas", "SessionQuota")
NODE = Resource("", "v1", "nodes", "Node", namespaced=False)
ROLE_BINDING = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")

Json = dict[str, Any]


def ask_cluster(*words: str) -> str:
    """Return what `hack/cluster WORDS` prints; its progress goes to standard error."""
    command = [sys.executable, str(ROOT / "hack" / "cluster"), *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def install_product(*words: str) -> None:
    """Install the product as built from this checkout: what is measured must be what is here.

    Args:
        words: Options of `hack/product install`.
    """
    command = [sys.executable, str(ROOT / "hack" / "product"), "install", *words]
    subprocess.run(command, check=True, stdout=sys.stderr)


def find_machine() -> str:
    """Return this machine's address as pods see it."""
    server = urlsplit(load_access(ask_cluster("kubeconfig")).server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((server.hostname, server.port))  # sends nothing, chooses a route
        address: str = way.getsockname()[0]
    return address


@dataclass(frozen=True)
class Cluster:
    """One cluster with the product."""

    client: Client
    kubeconfig: str
    audit_log: str
    kubectl: str

    async def make_session(self, namespace: str, name: str, **spec: Any) -> Json:
        """Create a session."""
        body = {"apiVersion": AGENT_SESSION.api_version, "kind": AGENT_SESSION.kind, "metadata": {"name": name}}
        return await self.client.create(AGENT_SESSION, namespace, {**body, "spec": spec})

    async def allow_sessions(self, namespace: str, count: int) -> None:
        """Let so many sessions run at the same time; the default of a namespace is 100."""
        body = {"apiVersion": SESSION_QUOTA.api_version, "kind": SESSION_QUOTA.kind, "metadata": {"name": "bench"}}
        spec = {"maxConcurrentSessions": count}
        await self.client.create(SESSION_QUOTA, namespace, {**body, "spec": spec})

    async def processes(self, component: str) -> list[int]:
        """Return the process ids of the operator or the gateway.

        Raises:
            LookupError: They are not processes of this machine.
        """
        selector = f"app.kubernetes.io/component={component}"
        pods = await self.client.list_all(POD, lambda raw: raw, SYSTEM, label_selector=selector)
        running = [pod for pod in pods.items if "deletionTimestamp" not in pod["metadata"]]
        ids = [
            status["containerID"].rpartition("/")[2] for pod in running for status in pod["status"]["containerStatuses"]
        ]
        found = [process for container in ids for process in processes_of(container)]
        if not found:
            raise LookupError(f"no process of the {component} on this machine: only local clusters can be measured so")
        return found

    async def reader_token(self, namespace: str, role: str = "view") -> str:
        """Return an hour's token of a service account that has a role in the namespace."""
        await self.client.create(SERVICE_ACCOUNT, namespace, {"metadata": {"name": READER}})
        binding = {
            "metadata": {"name": READER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": READER, "namespace": namespace}],
        }
        await self.client.create(ROLE_BINDING, namespace, binding)
        request = {"metadata": {"name": READER}, "spec": {"audiences": [], "expirationSeconds": 3600}}
        answer = await self.client.create(SERVICE_ACCOUNT, namespace, request, subresource="token")
        return str(answer["status"]["token"])

    async def gateway_ca(self) -> str:
        """Return the CA of the gateway's certificate."""
        found = await self.client.get(resource_path(CONFIG_MAP, SYSTEM, "agentsessions-gateway-ca"))
        return str(found["data"]["ca.crt"])

    @contextmanager
    def forwarded(self) -> Iterator[int]:
        """Forward a free local port to the gateway."""
        command = ["-n", SYSTEM, "port-forward", "service/agentsessions-gateway", ":443"]
        with subprocess.Popen(
            [self.kubectl, "--kubeconfig", self.kubeconfig, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it complains about each stream that a reader leaves
            text=True,
        ) as process:
            try:
                line = process.stdout.readline() if process.stdout else ""
                yield int(line.split("->")[0].rpartition(":")[2])  # Forwarding from 127.0.0.1:40123 -> 8443
            finally:
                process.terminate()


@asynccontextmanager
async def opened() -> AsyncIterator[Cluster]:
    """Connect to the cluster of `hack/cluster`."""
    kubeconfig, audit_log, path = (ask_cluster(verb) for verb in ("kubeconfig", "audit-log", "path"))
    async with Client(load_access(kubeconfig), field_manager="bench") as client:
        yield Cluster(client, kubeconfig, audit_log, str(Path(path) / "kubectl"))


@asynccontextmanager
async def namespace_of(cluster: Cluster) -> AsyncIterator[str]:
    """Make a namespace for the block, and wait until it is gone with all that is in it."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await cluster.client.create(NAMESPACE, None, {"metadata": {"name": name, "labels": labels}})
    try:
        yield name
    finally:
        await cluster.client.delete(NAMESPACE, None, name)
        await wait_gone(cluster.client, resource_path(NAMESPACE, None, name))


async def wait_gone(client: Client, path: str, *, seconds: float = 180) -> None:
    """Wait until nothing lives at `path`."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await client.get(path)
            except NotFound:
                return
            await asyncio.sleep(0.5)


async def wait_events(cluster: Cluster, namespace: str, reason: str, names: set[str]) -> None:
    """Wait until each session has an Event with `reason`: a transition's Event, after its status, is its last write."""
    async with asyncio.timeout(EVENT_SECONDS):
        while True:
            events = await cluster.client.list_all(EVENT, lambda raw: raw, namespace)
            if names <= {event["regarding"]["name"] for event in events.items if event["reason"] == reason}:
                return
            await asyncio.sleep(0.2)
