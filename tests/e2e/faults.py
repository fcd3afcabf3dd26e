"""Faults as a cluster has them: processes killed without warning, deployments scaled away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.product import Product


def kill_containers(product: Product, namespace: str, pod: str) -> None:
    """SIGKILL the first process of every container of a pod, from outside its pid namespace."""
    containers = product.core.read_namespaced_pod(pod, namespace).status.container_statuses or []
    for status in containers:
        for process in processes_of(status.container_id.removeprefix("containerd://")):
            with suppress(ProcessLookupError):  # it ended with its parent
                os.kill(process, signal.SIGKILL)


def processes_of(container_id: str) -> list[int]:
    """Return the ids of a container's processes as the node, which is this machine, sees them."""
    found = []
    for cgroup in Path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):  # it ended while we looked
            if container_id in cgroup.read_text():
                found.append(int(cgroup.parent.name))
    return found


def crash(product: Product, namespace: str, deployment: str) -> None:
    """SIGKILL a deployment's pods' processes, and wait until it is ready again."""
    pods = product.core.list_namespaced_pod(namespace, label_selector=component(deployment)).items
    for pod in pods:
        kill_containers(product, namespace, pod.metadata.name)
    product.kubectl("rollout", "status", f"deployment/{deployment}", "-n", namespace, "--timeout=60s")


@contextmanager
def scale(product: Product, namespace: str, deployment: str, replicas: int) -> Iterator[None]:
    """Scale a deployment while the block runs, then back to one."""
    product.kubectl("scale", f"deployment/{deployment}", "-n", namespace, f"--replicas={replicas}")
    product.kubectl("wait", "pod", "-l", component(deployment), "-n", namespace, "--for=delete", "--timeout=150s")
    try:
        yield
    finally:
        product.kubectl("scale", f"deployment/{deployment}", "-n", namespace, "--replicas=1")
        product.kubectl("rollout", "status", f"deployment/{deployment}", "-n", namespace, "--timeout=60s")


def component(deployment: str) -> str:
    """Return the label selector of one of the product's deployments."""
    return f"app.kubernetes.io/component={deployment.removeprefix('agentsessions-')}"
