"""Whether the cluster holds agents to their network policy: inferred from its node agents, or tried with two pods.

One pod is under the policy, as agents are, and one is not. Only what the second reaches and the first does not is
proof: an address that nobody answers at would otherwise look like a policy that is enforced.
"""

import json
import time
import uuid
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from agentsessions.api import names
from agentsessions.cli.connection import Connection
from agentsessions.cli.findings import Finding, Level
from agentsessions.cli.kube import DEPLOYMENTS, Json, Kind, KubeError

DAEMONS: Final = Kind("/apis/apps/v1", "daemonsets", "DaemonSet")
PODS: Final = Kind("/api/v1", "pods", "Pod")
SERVICES: Final = Kind("/api/v1", "services", "Service")
POLICIES: Final = Kind("/apis/networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
ENFORCERS: Final = (
    "calico",
    "cilium",
    "canal",
    "anetd",
    "antrea",
    "kube-router",
    "kube-network-policies",
    "weave",
    "ovn",
    "kindnet",
    "azure-npm",
)
"""Names of node agents that enforce NetworkPolicy, where it is not switched off."""
OPERATOR: Final = "agentsessions-operator"
OPERATOR_PODS: Final = "app.kubernetes.io/name=agentsessions,app.kubernetes.io/component=operator"
OPERATOR_PORT: Final = 8080
GATEWAY: Final = "agentsessions-gateway"
GATEWAY_PORT: Final = 443
RUNNER_IMAGE, PULL_POLICY = "AGENTSESSIONS_RUNNER_IMAGE", "AGENTSESSIONS_RUNNER_PULL_POLICY"
PATIENCE_SECONDS: Final = 15
"""How long the first pod waits for its policy: network plugins write their rules a moment after a pod has begun."""
POD_SECONDS: Final = 90
PAUSE_SECONDS: Final = 0.5


def check_network_policies(connection: Connection) -> Finding:
    """Something on the nodes enforces NetworkPolicy, as far as one can see from here."""
    todo = f"kubectl agentsession doctor --probe -n {connection.namespace} (tries it, with two pods for some seconds)"
    text = "nothing known to enforce NetworkPolicy is seen; without it agents reach whatever other pods reach"
    try:
        daemons = connection.kube.list_objects(DAEMONS, None)[0]
    except KubeError as error:
        text = f"you may not see what enforces NetworkPolicy ({error.reason}); agents' egress may be open"
        return Finding(Level.WARNING, text, (todo,))
    seen = [one["metadata"]["name"] for one in daemons]
    found = [name for name in seen if any(word in name for word in ENFORCERS)]
    if not found:
        return Finding(Level.WARNING, text, (todo,))
    return Finding(Level.GOOD, f"{', '.join(found)} should enforce NetworkPolicy; --probe tries it")


def probe_network_policies(connection: Connection) -> Finding:
    """A pod under the agents' policy reaches the gateway, and not what a pod without it reaches."""
    if connection.kube.find(POLICIES, connection.namespace, names.NETWORK_POLICY) is None:
        text = f"no session has begun in namespace {connection.namespace}, so it has no policy yet"
        return Finding(Level.WARNING, text, ("kubectl agentsession doctor --probe -n NAMESPACE, with one that has",))
    try:
        place = _find_place(connection)
    except KubeError as error:
        text = f"you may not look at the product's objects in {connection.system_namespace} ({error.reason})"
        return Finding(Level.WARNING, text, ("ask an administrator to run this",))
    if place is None:
        return Finding(Level.WARNING, "cannot be tried while operator and gateway are not installed and running")
    made: list[str] = []
    try:
        for is_held in (True, False):  # one by one: those that were made are deleted, whatever happens to the next
            name = _create(connection, place, is_held=is_held)
            made.append(name)
        held, free = (_await_seen(connection, name) for name in made)
    except KubeError as error:
        return Finding(Level.WARNING, f"the pods that try it were refused: {error}")
    finally:
        for name in made:
            connection.kube.request("DELETE", PODS.path(connection.namespace, name))
    return judge(held, free, place.other)


@dataclass(frozen=True, slots=True)
class Place:
    """What the pods try, and how they are made."""

    gateway: tuple[str, int]
    other: tuple[str, int]
    """A port of the operator's: each pod of the cluster reaches it, but for policies."""
    image: str
    pull_policy: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a pod reached."""

    gateway: bool
    other: bool


def judge(held: Seen | None, free: Seen | None, other: tuple[str, int]) -> Finding:
    """Say what two pods prove: `held` is under the agents' policy. None: the pod did not get to it."""
    where = f"the operator's {other[0]}:{other[1]}"
    if held is None or free is None:
        todo = "kubectl get events: why does a pod not start there?"
        return Finding(Level.WARNING, f"a pod that tries it did not end within {POD_SECONDS} s", (todo,))
    if not free.other:
        text = f"cannot be tried: a pod without the agents' policy does not reach {where} either"
        return Finding(Level.WARNING, text, ("look for another policy that holds all pods",))
    if held.other:
        text = f"NOT enforced: under the agents' policy a pod reached {where}. Agents reach whatever other pods reach"
        todo = "use a network plugin that enforces NetworkPolicy (Calico, Cilium, …), or switch that on"
        return Finding(Level.BAD, text, (todo,))
    if not held.gateway:
        return Finding(Level.BAD, "enforced, but agents do not reach the gateway", ("look for another policy",))
    return Finding(Level.GOOD, f"enforced: under the agents' policy a pod reached the gateway, and not {where}")


def _find_place(connection: Connection) -> Place | None:
    """Return what to try; None while the operator has no pod with an address, or the gateway no Service.

    Raises:
        KubeError: The user may not look at the product's objects.
    """
    kube, system = connection.kube, connection.system_namespace
    deployment, service = kube.find(DEPLOYMENTS, system, OPERATOR), kube.find(SERVICES, system, GATEWAY)
    pods = kube.list_objects(PODS, system, labelSelector=OPERATOR_PODS)[0]
    addresses = [ip for pod in pods if (ip := pod.get("status", {}).get("podIP"))]
    if deployment is None or service is None or not addresses:
        return None
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value", "") for one in container.get("env", ())}
    return Place(
        gateway=(service["spec"]["clusterIP"], GATEWAY_PORT),
        other=(addresses[0], OPERATOR_PORT),
        image=env.get(RUNNER_IMAGE, container["image"]),
        pull_policy=env.get(PULL_POLICY, ""),
    )


def _create(connection: Connection, place: Place, *, is_held: bool) -> str:
    name = f"agentsessions-probe-{uuid.uuid4().hex[:8]}"
    connection.kube.create(PODS, connection.namespace, build_probe(name, place, is_held=is_held))
    return name


def build_probe(name: str, place: Place, *, is_held: bool) -> Json:
    """Return a pod that tries to connect; `is_held` puts it under the agents' policy."""
    labels = {names.LABEL_MANAGED_BY: names.MANAGER} if is_held else {}
    task = json.dumps([place.gateway, place.other, PATIENCE_SECONDS if is_held else 0])
    container: dict[str, Any] = {
        "name": "probe",
        "image": place.image,
        "command": ["python3", "-c", files("agentsessions.cli").joinpath("attempt.py").read_text(), task],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if place.pull_policy:
        container["imagePullPolicy"] = place.pull_policy
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": POD_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": names.RUNNER_UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def _await_seen(connection: Connection, name: str) -> Seen | None:
    """Return what the pod saw; it is written where the kubelet makes it part of the pod's status."""
    ends_at = time.monotonic() + POD_SECONDS
    while time.monotonic() < ends_at:
        status = connection.kube.get(PODS, connection.namespace, name).get("status", {})
        if status.get("phase") in {"Succeeded", "Failed"}:
            ended = [one["state"].get("terminated", {}) for one in status.get("containerStatuses") or ()]
            message = "".join(one.get("message", "") for one in ended)
            return Seen(*json.loads(message)) if message.startswith("[") else None
        time.sleep(PAUSE_SECONDS)
    return None
