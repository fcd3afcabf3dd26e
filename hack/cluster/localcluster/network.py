"""The cluster's network namespace, its bridge, and the link that joins it to the machine.

    machine ── ags0 ══ uplink ─┐ namespace ags-NAME: API server, kubelet, containerd, kube-proxy, DNS
      10.96.255.1   10.96.255.2└─ agsbr0 10.244.0.1 ── pods 10.244.0.0/16

Programs join the namespace with `nsenter --net`, not with `ip netns exec`: that one also makes a mount namespace for
each program, and kubelet's volumes would be invisible to containerd.
"""

import json
import shlex
from pathlib import Path
from typing import Final

from .layout import Layout
from .processes import wait_until
from .report import ClusterError
from .shell import run, succeeds

_SYSCTLS: Final = {
    "net/ipv4/ip_forward": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/ipv4/neigh/default/gc_thresh3": "8192",
}
_GONE_SECONDS: Final = 5
_BRIDGE_NETFILTER: Final = Path("/proc/sys/net/bridge")


def is_present(layout: Layout) -> bool:
    """Return whether the namespace, both ends of the link, the bridge and the machine's rules are all there."""
    if not layout.netns_file.exists():
        return False
    return (
        _has_address(("ip", "-json"), layout.host_link, layout.host_ip)
        and _has_address(("ip", "-json", "-n", layout.netns), layout.bridge, layout.bridge_ip)
        and _has_address(("ip", "-json", "-n", layout.netns), "uplink", layout.uplink_ip)
        and all(succeeds(_iptables("-C", rule)) for rule in _rules(layout))
    )


def _has_address(ip: tuple[str, ...], link: str, address: str) -> bool:
    if not succeeds([*ip, "link", "show", "dev", link]):
        return False
    links = json.loads(run([*ip, "-4", "address", "show", "dev", link, "up"]) or "[]")
    return any(info["local"] == address for entry in links for info in entry.get("addr_info", []))


def create(layout: Layout) -> None:
    """Make the namespace and everything in it; what an earlier attempt left must be gone (`remove`)."""
    if not _BRIDGE_NETFILTER.exists():
        succeeds(["modprobe", "br_netfilter"])
    # The kernel removes the link of a removed namespace a moment later.
    wait_until(lambda: not succeeds(["ip", "link", "show", "dev", layout.host_link]), _GONE_SECONDS)
    run(["ip", "netns", "add", layout.netns])
    run(["ip", "-batch", "-"], text=_machine_side(layout))
    run(["ip", "-n", layout.netns, "-batch", "-"], text=_cluster_side(layout))
    inside = ["nsenter", f"--net={layout.netns_file}", "--"]
    for name, value in _SYSCTLS.items():
        succeeds([*inside, "sh", "-c", f"echo {value} >/proc/sys/{name}"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for rule in _rules(layout):
        run(_iptables("-I", rule))


def remove(layout: Layout) -> None:
    """Remove the namespace and the machine's rules; finds them by the cluster's name alone, and nothing is no fault."""
    for table in ("nat", "filter"):
        for line in _saved_rules(table):
            if _tag(layout) in (words := shlex.split(line)):
                succeeds(["iptables", "-w", "-t", table, "-D", *words[1:]])
    if layout.netns_file.exists():
        succeeds(["ip", "-n", layout.netns, "link", "delete", "uplink"])
        succeeds(["ip", "netns", "delete", layout.netns])
    namespaces = layout.netns_file.parent
    if namespaces.is_dir() and not any(namespaces.iterdir()):
        succeeds(["umount", namespaces])  # `ip netns` binds the directory onto itself and never takes that back.


def _saved_rules(table: str) -> list[str]:
    try:
        return [line for line in run(["iptables-save", "-t", table]).splitlines() if line.startswith("-A ")]
    except ClusterError:
        return []  # no iptables on this machine, so no rules of ours


def _tag(layout: Layout) -> str:
    return f"agentsessions cluster {layout.name}"


def _machine_side(layout: Layout) -> str:
    return f"""
link add {layout.host_link} type veth peer name uplink netns {layout.netns}
address add {layout.host_ip}/30 dev {layout.host_link}
link set {layout.host_link} up
route add {layout.pod_cidr} via {layout.uplink_ip} dev {layout.host_link} onlink
route add {layout.service_cidr} via {layout.uplink_ip} dev {layout.host_link} onlink
""".lstrip()


def _cluster_side(layout: Layout) -> str:
    return f"""
link set lo up
address add {layout.uplink_ip}/30 dev uplink
link set uplink up
route add default via {layout.host_ip}
link add {layout.bridge} type bridge
address add {layout.bridge_ip}/16 dev {layout.bridge}
link set {layout.bridge} up
""".lstrip()


def _rules(layout: Layout) -> list[list[str]]:
    """Return the machine's rules: pods may go out through it, and the machine may reach pods under a DROP policy."""
    tag = ["-m", "comment", "--comment", _tag(layout)]
    link, pods = layout.host_link, layout.pod_cidr
    return [
        ["nat", "POSTROUTING", "-s", pods, "!", "-o", link, *tag, "-j", "MASQUERADE"],
        ["nat", "POSTROUTING", "-s", f"{layout.uplink_ip}/32", "!", "-o", link, *tag, "-j", "MASQUERADE"],
        ["filter", "FORWARD", "-i", link, *tag, "-j", "ACCEPT"],
        ["filter", "FORWARD", "-o", link, *tag, "-j", "ACCEPT"],
    ]


def _iptables(action: str, rule: list[str]) -> list[str]:
    table, chain, *matches = rule
    return ["iptables", "-w", "-t", table, action, chain, *matches]
