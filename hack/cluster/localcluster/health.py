"""Whether a cluster works: one list of checks, for `status`, and for `up` to see what to mend and when it is done."""

import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from . import network, processes
from .api import Api, Json, answers
from .components import Component
from .configs import STORAGE_CLASS
from .layout import DOMAIN, Layout

_DNS_TIMEOUT_SECONDS: Final = 1.0
_CORDONED: Final = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: `detail` says what is there, or what is wrong."""

    name: str
    is_fine: bool
    detail: str


def check_all(layout: Layout, components: Sequence[Component]) -> list[Check]:
    """Return every finding about the cluster; at most a few seconds, whatever is broken."""
    checks = [check_network(layout)]
    checks += [check_component(layout, component) for component in components]
    return checks + check_cluster(layout)


def check_network(layout: Layout) -> Check:
    """Look at the network namespace and its links."""
    fine = network.is_present(layout)
    return Check(
        "network", fine, f"namespace {layout.netns}, bridge {layout.bridge_ip}" if fine else "missing or incomplete"
    )


def check_component(layout: Layout, component: Component) -> Check:
    """Look at one program: its process, the namespace that it is in, and its own health page."""
    identity = processes.read_record(layout.records / component.name)
    if identity is None or not processes.is_running(identity):
        return Check(component.name, False, "not running")
    if not _is_inside(layout, identity.pid):
        return Check(component.name, False, f"process {identity.pid} is in a network namespace that is gone")
    if component.probe.startswith("http:") and not answers(component.probe):
        return Check(component.name, False, f"process {identity.pid} does not answer at {component.probe}")
    return Check(component.name, True, f"process {identity.pid}")


def is_current(layout: Layout, component: Component) -> bool:
    """Return whether the program runs, where it should, with the command line and the files that it should have."""
    identity = processes.read_record(layout.records / component.name)
    if identity is None or not processes.is_running(identity) or not _is_inside(layout, identity.pid):
        return False
    return processes.read_fingerprint(layout, component.name) == processes.fingerprint(component.argv, component.files)


def _is_inside(layout: Layout, pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == layout.netns_file.stat().st_ino
    except OSError:
        return False


def check_cluster(layout: Layout) -> list[Check]:
    """Look at what users of the cluster need from it."""
    if not layout.kubeconfig.exists():
        return [Check("cluster", False, "there is no kubeconfig")]
    api = Api(layout.kubeconfig)
    if not api.is_ready():
        return [Check("api", False, f"{layout.api_url} is not ready")]
    storage = cast(Json, STORAGE_CLASS["metadata"])["name"]
    wanted: list[tuple[str, Callable[[], bool], str]] = [
        ("node", lambda: is_node_ready(api, layout), f"{layout.node_name} Ready"),
        ("pods", lambda: _knows_its_pods(api, layout), "the node answers for its pods"),
        ("service account", lambda: bool(api.get("/api/v1/namespaces/default/serviceaccounts/default")), "default"),
        ("storage class", lambda: bool(api.get(f"/apis/storage.k8s.io/v1/storageclasses/{storage}")), f"{storage}"),
        ("name service", lambda: resolves(layout), f"{layout.bridge_ip} resolves kubernetes.default.svc.{DOMAIN}"),
    ]
    found = ((name, test(), detail) for name, test, detail in wanted)
    return [
        Check("api", True, layout.api_url),
        *(Check(name, ok, detail if ok else f"not yet: {detail}") for name, ok, detail in found),
    ]


def is_node_ready(api: Api, layout: Layout) -> bool:
    """Return whether the node is Ready, and free of the taints that it starts with; one who cordons it wants it so."""
    node = api.get(f"/api/v1/nodes/{layout.node_name}")
    status, spec = cast(Json, node.get("status", {})), cast(Json, node.get("spec", {}))
    conditions = cast(list[Json], status.get("conditions", []))
    taints = {taint["key"] for taint in cast(list[Json], spec.get("taints") or [])}
    return not taints - {_CORDONED} and any(
        entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions
    )


def _knows_its_pods(api: Api, layout: Layout) -> bool:
    """Return whether the kubelet has read which pods it has: before that, exec and logs know none of them."""
    running = f"/api/v1/pods?limit=1&fieldSelector=spec.nodeName%3D{layout.node_name},status.phase%3DRunning"
    if not api.get(running).get("items"):
        return True
    return bool(api.get(f"/api/v1/nodes/{layout.node_name}/proxy/pods").get("items"))


def resolves(layout: Layout) -> bool:
    """Ask the cluster's name server for the API server's own name; it must answer with the service's address."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in f"kubernetes.default.svc.{DOMAIN}".split("."))
    query = struct.pack(">6H", 0x2A2A, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(_DNS_TIMEOUT_SECONDS)
            asking.sendto(query, (layout.bridge_ip, 53))
            return asking.recv(512).endswith(socket.inet_aton(layout.service_ip))
    except OSError:
        return False
