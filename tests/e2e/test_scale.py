"""Hundreds of sessions at once, on nodes that kwok simulates: what the operator does with them, and what it costs."""

import json

import pytest

from hack.bench.agentbench.cluster import opened
from hack.bench.agentbench.machine import describe_machine
from hack.bench.agentbench.scale import cancel_sessions, start_sessions
from hack.bench.agentbench.simulated import simulated_nodes
from tests.e2e.product import SYSTEM, Product

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.slow]

SESSIONS = 300
NODES = 10


def operator_complaints(product: Product, since: str) -> list[str]:
    """Return what the operator logged as an error since an instant."""
    words = ("logs", "-n", SYSTEM, "deployment/agentsessions-operator", f"--since-time={since}")
    lines = [json.loads(line) for line in product.kubectl(*words).stdout.splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["level"] in {"error", "critical"}]


def pods_left(product: Product, namespace: str) -> list[str]:
    """Return the names of the pods that a namespace still has."""
    return [pod.metadata.name for pod in product.core.list_namespaced_pod(namespace).items]


async def test_300_sessions_on_simulated_nodes_reach_running_with_no_error_and_five_writes_each(
    product: Product, namespace: str
) -> None:
    since = product.core.read_namespace(namespace).metadata.creation_timestamp.isoformat()
    async with opened() as cluster, simulated_nodes(cluster.client, cluster.kubeconfig, NODES):
        ran = await start_sessions(cluster, namespace, SESSIONS)
        ended = await cancel_sessions(cluster, namespace, SESSIONS)
    print(f"machine: {describe_machine()}")  # noqa: T201  # pytest shows it with the figures
    ran.report(f"{SESSIONS} sessions to Running on {NODES} simulated nodes")
    ended.report(f"{SESSIONS} sessions to Cancelled")
    assert ran.refused == ended.refused == {}
    live_use = ran.writes.pop("patch sessionquotas/status")
    assert live_use <= ran.wall_seconds / 3 + 2, "the quota's status follows at most once every 3 s"
    # Starting and Running, each a status and an Event, and the pod: nothing is written twice, nothing without need.
    assert ran.writes == {
        "create pods": SESSIONS,
        "patch agentsessions/status": 2 * SESSIONS,
        "create events": 2 * SESSIONS,
    }
    assert operator_complaints(product, since) == []
    assert pods_left(product, namespace) == []
