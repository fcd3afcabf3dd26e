"""Faults as a cluster has them: processes killed without warning, deployments scaled away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.product import LONG_SECONDS, PATIENCE, Product


def kill_containers(product: Product, namespace: str, pod: str) -> None:
    """SIGKILL the first process of every container of a pod, from outside its pid namespace."""
    containers = product.core.read_namespaced_pod(pod, namespace).status.container_statuses or []
    for status in containers:
        for process in processes_of(status.container_id.removeprefix("containerd://")):
            with suppress(ProcessLookupError):  # it ended with its parent
                os.kill(process, signal.SIGKILL)


@contextmanager
def frozen(product: Product, namespace: str, deployment: str) -> Iterator[None]:
    """Stop a deployment's processes while the block runs, so that what is seen in it stays so; kills still kill."""
    stopped = []
    for pod in product.core.list_namespaced_pod(namespace, label_selector=component(deployment)).items:
        for status in pod.status.container_statuses or []:
            stopped += processes_of(status.container_id.removeprefix("containerd://"))
    send(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        send(stopped, signal.SIGCONT)


def send(processes: list[int], number: signal.Signals) -> None:
    """Send a signal to processes, those that have ended apart."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def processes_of(container_id: str) -> list[int]:
    """Return the ids of a container's processes as the node, which is this machine, sees them."""
    found = []
    for cgroup in Path("/proc").glob("[0-9]*/cgroup"):
        with suppress(OSError):  # it ended while we looked
            if container_id in cgroup.read_text():
                found.append(int(cgroup.parent.name))
    return found


def until(holds: Callable[[], bool], what: str, *, seconds: float = LONG_SECONDS) -> None:
    """Look again and again until `holds`; for what cannot be watched."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {seconds} s: {what}")
        time.sleep(0.05)


def replace(product: Product, namespace: str, deployment: str) -> None:
    """SIGKILL a deployment's processes, and wait for a new pod: a restarted container waits longer each time."""
    kill_and_delete(product, namespace, deployment)
    await_ready(product, namespace, deployment)


def await_ready(product: Product, namespace: str, deployment: str) -> None:
    """Wait until a deployment's pods are ready."""
    selector = component(deployment)
    product.kubectl("wait", "pod", "-l", selector, "-n", namespace, "--for=condition=Ready", PATIENCE)


def kill_and_delete(product: Product, namespace: str, deployment: str) -> None:
    """SIGKILL a deployment's processes and remove its pods; return as soon as new pods exist."""
    old = product.core.list_namespaced_pod(namespace, label_selector=component(deployment)).items
    for pod in old:
        kill_containers(product, namespace, pod.metadata.name)
        product.core.delete_namespaced_pod(pod.metadata.name, namespace, grace_period_seconds=0)
    gone = {pod.metadata.uid for pod in old}

    def are_new() -> bool:
        pods = product.core.list_namespaced_pod(namespace, label_selector=component(deployment)).items
        return bool(pods) and not gone & {pod.metadata.uid for pod in pods}

    until(are_new, f"a new pod of {deployment}")


def crash(product: Product, namespace: str, deployment: str) -> None:
    """SIGKILL a deployment's pods' processes, and wait until it is ready again."""
    pods = product.core.list_namespaced_pod(namespace, label_selector=component(deployment)).items
    for pod in pods:
        kill_containers(product, namespace, pod.metadata.name)
    product.kubectl("rollout", "status", f"deployment/{deployment}", "-n", namespace, PATIENCE)


@contextmanager
def scale(product: Product, namespace: str, deployment: str, replicas: int) -> Iterator[None]:
    """Scale a deployment while the block runs, then back to one."""
    product.kubectl("scale", f"deployment/{deployment}", "-n", namespace, f"--replicas={replicas}")
    product.kubectl("wait", "pod", "-l", component(deployment), "-n", namespace, "--for=delete", PATIENCE)
    try:
        yield
    finally:
        product.kubectl("scale", f"deployment/{deployment}", "-n", namespace, "--replicas=1")
        product.kubectl("rollout", "status", f"deployment/{deployment}", "-n", namespace, PATIENCE)


def component(deployment: str) -> str:
    """Return the label selector of one of the product's deployments."""
    return f"app.kubernetes.io/component={deployment.removeprefix('agentsessions-')}"
