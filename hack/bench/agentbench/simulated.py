"""Nodes that exist in the API alone: kwok plays their kubelets, so that hundreds of pods cost no memory.

A session cannot say where its pods go, and should not for a bench: while simulated nodes are there, the real nodes are
cordoned. What runs on them goes on; what would start meanwhile does not, or only in appearance.
"""

import asyncio
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from agentsessions.engine.client import Client
from agentsessions.engine.resources import resource_path

from .cluster import NODE, Json, ask_cluster

LABEL = "bench.agentsessions.dev/simulated"
PREFIX = "simulated-"
LEASE_SECONDS = 40
READY_SECONDS = 60
CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "250"}

# Templates are Go's, over the object; JSON is YAML, and `Now` and `Quote` are kwok's.
NODE_STATUS = """
conditions:
- {type: Ready, status: "True", reason: Simulated, message: kwok says so, lastHeartbeatTime: {{ Now | Quote }},
   lastTransitionTime: {{ Now | Quote }}}
"""
POD_STATUS = """
{{ $now := Now | Quote }}
phase: Running
startTime: {{ $now }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now }}}
containerStatuses:
{{ range .spec.containers }}
- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: simulated, ready: true, started: true,
   restartCount: 0, state: {running: {startedAt: {{ $now }}}}}
{{ end }}
"""


def build_stages() -> list[Json]:
    """Return kwok's rules: nodes are ready, bound pods run, deleted pods go."""
    deleted = {"jq": {"key": ".metadata.deletionTimestamp", "operator": "Exists"}}
    kept = {"jq": {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}}
    waiting = {"jq": {"key": ".status.phase", "operator": "In", "values": ["Pending"]}}
    unready = {
        "jq": {
            "key": '.status.conditions.[] | select(.type == "Ready") | .status',
            "operator": "NotIn",
            "values": ["True"],
        }
    }
    return [
        _stage("node-ready", "Node", [unready], _status(NODE_STATUS)),
        _stage("pod-running", "Pod", [kept, waiting], _status(POD_STATUS)),
        _stage("pod-gone", "Pod", [deleted], {"finalizers": {"empty": True}, "delete": True}),
    ]


def _stage(name: str, kind: str, conditions: list[Json], then: Json) -> Json:
    spec = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": conditions},
        "next": then,
    }
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _status(template: str) -> Json:
    return {"patches": [{"subresource": "status", "root": "status", "template": template}]}


@asynccontextmanager
async def simulated_nodes(client: Client, kubeconfig: str, count: int) -> AsyncIterator[None]:
    """Let new pods land on `count` simulated nodes while the block runs; their pods must be gone at its end."""
    program = await asyncio.to_thread(ask_cluster, "tool", "kwok")
    with tempfile.TemporaryDirectory() as folder:
        stages = Path(folder) / "stages.yaml"
        stages.write_text("\n---\n".join(json.dumps(stage) for stage in build_stages()))
        with (Path(folder) / "kwok.log").open("w+") as log:
            kwok = _start(program, kubeconfig, stages, log)
            try:
                async with _cordoned(client), _nodes(client, count):
                    await _wait_ready(client, count, kwok, log)
                    yield
            finally:
                kwok.terminate()
                kwok.wait()


def _start(program: str, kubeconfig: str, stages: Path, log: IO[str]) -> subprocess.Popen[bytes]:
    command = [
        program,
        f"--kubeconfig={kubeconfig}",
        f"--config={stages}",
        f"--manage-nodes-with-label-selector={LABEL}=true",
        f"--node-lease-duration-seconds={LEASE_SECONDS}",
    ]
    return subprocess.Popen(command, stdout=log, stderr=log)


@asynccontextmanager
async def _cordoned(client: Client) -> AsyncIterator[None]:
    """Keep new pods off the nodes that are there and take pods now."""
    listing = await client.list_all(NODE, lambda raw: raw)
    real = [n for n in listing.items if not _is_simulated(n) and not n["spec"].get("unschedulable")]
    names = [node["metadata"]["name"] for node in real]
    try:
        for name in names:
            await client.merge_patch(NODE, None, name, {"spec": {"unschedulable": True}})
        yield
    finally:
        for name in names:
            await client.merge_patch(NODE, None, name, {"spec": {"unschedulable": None}})


@asynccontextmanager
async def _nodes(client: Client, count: int) -> AsyncIterator[None]:
    names = [f"{PREFIX}{number}" for number in range(count)]
    try:
        for name in names:
            metadata = {"name": name, "labels": {LABEL: "true", "kubernetes.io/hostname": name}}
            await client.create(NODE, None, {"metadata": metadata, "status": _initial_status()})
        yield
    finally:
        for name in names:
            await client.delete(NODE, None, name)


def _initial_status() -> Json:
    unready = {"type": "Ready", "status": "False", "reason": "Simulated", "message": "kwok has not looked yet"}
    return {"capacity": CAPACITY, "allocatable": CAPACITY, "conditions": [unready]}


async def _wait_ready(client: Client, count: int, kwok: subprocess.Popen[bytes], log: IO[str]) -> None:
    """Wait until the scheduler may use the nodes: they are ready, and their taints of the beginning are gone."""
    async with asyncio.timeout(READY_SECONDS):
        while True:
            if kwok.poll() is not None:
                log.seek(0)
                raise RuntimeError(f"kwok ended with {kwok.returncode}:\n{log.read()[-2000:]}")
            nodes = [await client.get(resource_path(NODE, None, f"{PREFIX}{n}")) for n in range(count)]
            if all(_is_usable(node) for node in nodes):
                return
            await asyncio.sleep(0.2)


def _is_usable(node: dict[str, Any]) -> bool:
    ready = next((c for c in node["status"].get("conditions", ()) if c["type"] == "Ready"), {})
    return ready.get("status") == "True" and not node["spec"].get("taints")


def _is_simulated(node: dict[str, Any]) -> bool:
    return LABEL in node["metadata"].get("labels", {})
