"""A cluster of its own for tests of the operator: real API server and controllers, a kubelet that obeys the test.

The node that the cluster came with takes no pods meanwhile; one that exists on paper does. So tests say when a pod
runs and how it ends, and no image is needed.
"""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentsessions.controller.kinds import AGENT_SESSIONS, MODEL_PROVIDERS
from agentsessions.engine.client import Client, Resource, resource_path
from agentsessions.engine.credentials import load_access
from agentsessions.engine.errors import ApiError, NotFound
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import NAMESPACE, POD
from tests.integration.crds_cluster import CLUSTER, ROOT, Kubectl

NAME = os.environ.get("AGENTSESSIONS_OPERATOR_CLUSTER", "operator-tests")
"""Cluster of these tests: two runs at the same time need two."""
FAULTS_NAME = f"{NAME}-faults"
"""That of the tests that disturb an operator: an operator acts on all of its cluster."""
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
NODE = "paper"
INSTALL_NAMESPACE = "agentsessions-system"
PATIENCE_SECONDS = 60.0
Json = dict[str, Any]


@contextmanager
def own_cluster(name: str) -> Iterator[str]:
    """Start or reuse a cluster, with CRDs, its node closed to pods; give its kubeconfig."""
    if os.environ.get("AGENTSESSIONS_KUBECONFIG"):
        pytest.skip("these tests cordon nodes and run an operator of their own: not on a given cluster")
    with _taken(name):
        yield from _open_cluster(name)


@contextmanager
def _taken(name: str) -> Iterator[None]:
    """Have a cluster alone: an operator acts on all of it, also on what the tests of another process do there."""
    with Path(f"/run/lock/agentsessions-tests-{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(f"tests of another process use the cluster {name!r}: files that share it belong to OPERATORS")
        yield


def _open_cluster(name: str) -> Iterator[str]:
    subprocess.run([*CLUSTER, "up", "--name", name], check=True)
    done = subprocess.run([*CLUSTER, "kubeconfig", "--name", name], check=True, stdout=PIPE, text=True)
    kubectl = Kubectl(done.stdout.strip(), "default")
    open_nodes(kubectl)  # of a run that was cut off
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=90s", "-f", str(ROOT / "crds"))
    kubectl.run("create", "namespace", INSTALL_NAMESPACE)
    kubectl("cordon", "--selector", f"kubernetes.io/hostname!={NODE}")
    try:
        yield kubectl.kubeconfig
    finally:
        open_nodes(kubectl)


def open_nodes(kubectl: Kubectl) -> None:
    """Undo what tests did to nodes."""
    kubectl.run("delete", "node", NODE, "--ignore-not-found", "--request-timeout=5s")
    kubectl.run("uncordon", "--selector", "kubernetes.io/hostname", "--request-timeout=5s")


def audit_lines(namespace: str) -> list[Json]:
    """Return what the API server's audit log holds about a namespace: finished requests."""
    done = subprocess.run([*CLUSTER, "audit-log", "--name", NAME], check=True, capture_output=True, text=True)
    lines = (json.loads(line) for line in Path(done.stdout.strip()).read_text().splitlines() if namespace in line)
    return [line for line in lines if line["stage"] == "ResponseComplete"]


async def await_audit_lines(namespace: str, last: str) -> list[Json]:
    """Return these lines once one is about the object `last`: the API server writes them after it has answered."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            lines = audit_lines(namespace)
            if any(line["objectRef"].get("name") == last for line in lines):
                return lines
            await asyncio.sleep(0.1)  # nothing tells when another process writes to its file


class Kubelet:
    """Keeps a node on paper alive, and does to its pods what a test says."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.is_dead = False
        """A dead one does not end pods that are being deleted."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self) -> None:
        """Make the node, ready for pods."""
        with suppress(ApiError):
            await self._client.create(NODES, None, {"metadata": {"name": NODE}})
        capacity = {"cpu": "64", "memory": "256Gi", "pods": "1000"}
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "on paper"}
        moment = {"lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
        status = {"capacity": capacity, "allocatable": capacity, "conditions": [condition | moment]}
        await self._client.merge_patch(NODES, None, NODE, {"status": status}, subresource="status")
        await self._beat()

    async def run(self) -> None:
        """Beat, and end pods that are being deleted."""
        informer = Informer(
            self._client, POD, convert=lambda raw: raw, key_of=lambda pod: pod["metadata"]["uid"], on_change=self._note
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(informer.run())
            group.create_task(self._keep_beating())

    async def start(self, pod: Json) -> None:
        """Let the pod's container run."""
        await self._report(pod, "Running", {"running": {"startedAt": _now()}})

    async def end(self, pod: Json, exit_code: int) -> None:
        """Let the pod's container end."""
        ended = {"exitCode": exit_code, "startedAt": _now(), "finishedAt": _now(), "reason": "Completed"}
        await self._report(pod, "Succeeded" if exit_code == 0 else "Failed", {"terminated": ended})

    async def refuse(self, pod: Json, reason: str, message: str) -> None:
        """Say why the pod's container does not run."""
        await self._report(pod, "Pending", {"waiting": {"reason": reason, "message": message}})

    async def remove(self, pod: Json) -> None:
        """Say that the pod's container has ended, and the pod with it."""
        await self._remove(pod["metadata"])

    async def _report(self, pod: Json, phase: str, state: Json) -> None:
        meta = pod["metadata"]
        container = {"name": "agent", "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": state}
        status = {"phase": phase, "containerStatuses": [container]}
        await self._client.merge_patch(POD, meta["namespace"], meta["name"], {"status": status}, subresource="status")

    def _note(self, _old: Json | None, new: Json | None) -> None:
        if new is None or self.is_dead or new["spec"].get("nodeName") != NODE:
            return
        if "deletionTimestamp" in new["metadata"]:
            task = asyncio.ensure_future(self._remove(new["metadata"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _remove(self, meta: Json) -> None:
        await self._client.delete(POD, meta["namespace"], meta["name"], uid=meta["uid"], grace_seconds=0)

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(10)
            await self._beat()

    async def _beat(self) -> None:
        spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": f"{_now()[:-1]}.000000Z"}
        body = {"metadata": {"name": NODE}, "spec": spec}
        try:
            await self._client.merge_patch(LEASES, "kube-node-lease", NODE, body)
        except NotFound:
            await self._client.create(LEASES, "kube-node-lease", body)


class OperatorProcess:
    """The operator as it is shipped, in a process of its own."""

    def __init__(self, kubeconfig: str, gateway_url: str, folder: Path, **settings: str) -> None:
        token = folder / "token"
        token.write_text("made-up")
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "operator"),
            # kopf leaves it to the end of the process to close its TLS transports.
            "PYTHONWARNINGS": "error,ignore::ResourceWarning",
            "KUBECONFIG": kubeconfig,
            "AGENTSESSIONS_GATEWAY_URL": gateway_url,
            "AGENTSESSIONS_RUNNER_IMAGE": "on-paper:1",
            "AGENTSESSIONS_TOKEN_FILE": str(token),
            "AGENTSESSIONS_HEALTH_HOST": "127.0.0.1",
            "AGENTSESSIONS_HEALTH_PORT": "0",
            **settings,
        }
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.lines: list[Json] = []

    async def start(self, *, until: str = "acting") -> None:
        """Start it, and wait until it logs an event: that it acts, or stands by."""
        program = "from agentsessions.controller.main import main; main()"
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env=self._environment, stdout=PIPE, stderr=asyncio.subprocess.STDOUT
        )
        since = len(self.lines)
        self._reader = asyncio.create_task(self._read(self._process))
        await self.until(until, since=since)

    async def until(self, event: str, *, since: int = 0) -> None:
        """Wait until it has logged an event, in line number `since` or later."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while all(line["event"] != event for line in self.lines[since:]):
                self._news.clear()
                await self._news.wait()

    async def ended(self) -> int:
        """Wait until it ends by itself; return its exit code."""
        assert self._process is not None
        assert self._reader is not None
        code = await asyncio.wait_for(self._process.wait(), PATIENCE_SECONDS)
        await self._reader
        return code

    async def stop(self, *, by: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; return its exit code."""
        self.send(by)
        return await self.ended()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"level": "error", "event": line.decode()})
            self._news.set()

    def problems(self) -> list[Json]:
        """Return what it logged as an error; kopf calls each request so that it will try again."""
        errors = [line for line in self.lines if line.get("level") in {"error", "critical"}]
        return [line for line in errors if "will retry" not in line["event"]]


class Namespace:
    """A namespace of a test's own, and what it does there."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name

    async def create(self, resource: Resource, name: str, **body: Any) -> Json:
        """Create an object."""
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return await self.client.create(resource, self.name, {**kind, "metadata": {"name": name}, **body})

    async def create_provider(self, name: str = "default") -> None:
        """Create a scripted provider."""
        script = {"rules": [{"answer": {"text": "done"}}]}
        await self.create(
            MODEL_PROVIDERS, name, spec={"type": "Scripted", "models": [{"name": "small"}], "script": script}
        )

    async def create_session(self, name: str = "rows", **spec: Any) -> Json:
        """Create a session with a goal."""
        return await self.create(AGENT_SESSIONS, name, spec={"goal": "count the rows", **spec})

    async def patch_session(self, name: str = "rows", **spec: Any) -> None:
        """Change the spec of a session."""
        await self.client.merge_patch(AGENT_SESSIONS, self.name, name, {"spec": spec})

    async def get(self, resource: Resource, name: str) -> Json:
        """Read an object."""
        return await self.client.get(resource_path(resource, self.name, name))

    async def list(self, resource: Resource) -> list[Json]:
        """Read all objects of a kind."""
        return (await self.client.list_all(resource, lambda raw: raw, self.name)).items

    async def wait(self, resource: Resource, is_due: Callable[[Json], bool]) -> Json:
        """Return the first state of any object of a kind that is waited for."""
        listing = await self.client.list_all(resource, lambda raw: raw, self.name)
        for found in listing.items:
            if is_due(found):
                return found
        last: Json = {}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                version = listing.resource_version
                watch = self.client.watch(resource, resource_version=version, namespace=self.name)
                async with aclosing(watch) as events:
                    async for event in events:
                        last = event.object
                        if event.type in {"ADDED", "MODIFIED"} and is_due(last):
                            return last
        except TimeoutError:
            pass
        raise AssertionError(f"waited in vain; last seen: {json.dumps(last.get('status'))}")

    async def wait_gone(self, resource: Resource) -> None:
        """Wait until no object of a kind is left."""
        listing = await self.client.list_all(resource, lambda raw: raw["metadata"]["uid"], self.name)
        left = set(listing.items)
        version = listing.resource_version
        async with asyncio.timeout(PATIENCE_SECONDS if left else None):
            async with aclosing(self.client.watch(resource, resource_version=version, namespace=self.name)) as events:
                while left:
                    event = await anext(events)
                    if event.type == "DELETED":
                        left.discard(event.object["metadata"]["uid"])

    async def wait_phase(self, phase: str) -> Json:
        """Return the session once it is in `phase`."""
        return await self.wait(AGENT_SESSIONS, lambda raw: raw.get("status", {}).get("phase") == phase)

    async def wait_pod(self, epoch: int = 1) -> Json:
        """Return the pod of an epoch once it is on the node."""
        label = "agentsessions.dev/epoch"
        return await self.wait(
            POD, lambda raw: raw["metadata"]["labels"][label] == str(epoch) and "nodeName" in raw["spec"]
        )


@asynccontextmanager
async def open_client(kubeconfig: str) -> AsyncIterator[Client]:
    """Give a client that may do everything."""
    async with Client(load_access(kubeconfig), field_manager="tests") as client:
        yield client


@asynccontextmanager
async def fresh_namespace(client: Client) -> AsyncIterator[Namespace]:
    """Give a namespace under the restricted standard, that goes when the block ends."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await client.create(NAMESPACE, None, {"metadata": {"name": name, "labels": labels}})
    try:
        yield Namespace(client, name)
    finally:
        await client.delete(NAMESPACE, None, name)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
