"""The configuration files of every component, as pure functions of the layout."""

import json
from pathlib import Path
from typing import Final

from .layout import DOMAIN, Layout

PAUSE_IMAGE: Final = "localhost/pause:1"
AUTHENTICATION: Final = "authentication.json"
"""Who issues tokens besides the cluster: nobody. The API server reads it anew when it changes: tests add an issuer."""
STORAGE_CLASS: Final[dict[str, object]] = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "agentsessions.dev/local-directory",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
}


def render_all(layout: Layout, nameservers: list[str]) -> dict[Path, str]:
    """Return the content of every configuration file by its path."""
    directory = layout.configs
    return {
        directory / "audit-policy.json": _as_json(_audit_policy()),
        directory / AUTHENTICATION: _as_json(_authentication()),
        directory / "containerd.toml": _containerd(layout),
        directory / "cni" / "10-bridge.conflist": _as_json(_cni(layout)),
        directory / "kubelet.json": _as_json(_kubelet(layout)),
        directory / "kube-proxy.json": _as_json(_kube_proxy(layout)),
        directory / "Corefile": _corefile(layout, nameservers),
        directory / "resolv.conf": "".join(f"nameserver {address}\n" for address in nameservers),
    }


def usable_nameservers(resolv_conf: str) -> list[str]:
    """Return the name servers that can be reached from the cluster's namespace: those not on a loopback address."""
    lines = (line.split() for line in resolv_conf.splitlines())
    found = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    return [address for address in found if not address.startswith("127.") and ":" not in address][:3]


def _as_json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


def _audit_policy() -> dict[str, object]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }


def _authentication() -> dict[str, object]:
    return {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": []}


def _containerd(layout: Layout) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc dies with "can't get final child's PID from pipe: EOF".
    # netns_mounts_under_state_dir: so that all mounts of one cluster have one prefix.
    return f"""version = 2
root = "{layout.containerd_root}"
state = "{layout.run}/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  max_concurrent_downloads = 10
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{layout.configs}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def _cni(layout: Layout) -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": layout.pod_cidr, "gateway": layout.bridge_ip}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{layout.run}/addresses",
    }
    bridge = {"type": "bridge", "bridge": layout.bridge, "isGateway": True, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": layout.netns, "plugins": [bridge, portmap]}


def _kubelet(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.bridge_ip,
        "healthzBindAddress": layout.bridge_ip,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.certificates}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.certificates}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{layout.certificates}/kubelet-server.key",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "clusterDNS": [layout.bridge_ip],
        "clusterDomain": DOMAIN,
        "resolvConf": f"{layout.configs}/resolv.conf",
        "podLogsDir": str(layout.pod_logs),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",  # two kubelets under one root delete each other's pods as orphans
        "failCgroupV1": False,
        "failSwapOn": False,
        "maxPods": 250,
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        "imageGCHighThresholdPercent": 100,  # images are imported by hand: a deleted one would not come back
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "eventRecordQPS": 100,
        "eventBurst": 200,
        "logging": {"flushFrequency": "1s"},
    }


def _kube_proxy(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "bindAddress": layout.bridge_ip,
        "healthzBindAddress": f"{layout.bridge_ip}:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": layout.node_name,
        "clusterCIDR": layout.pod_cidr,
        "clientConnection": {"kubeconfig": f"{layout.certificates}/kube-proxy.kubeconfig"},
        "conntrack": {"maxPerCore": 0, "min": 0},  # these limits belong to the machine, not to a network namespace
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms", "masqueradeAll": False},
    }


def _corefile(layout: Layout, nameservers: list[str]) -> str:
    forward = f"    forward . {' '.join(nameservers)}\n" if nameservers else ""
    return f""".:53 {{
    bind {layout.bridge_ip}
    health {layout.bridge_ip}:8080
    ready {layout.bridge_ip}:8181
    errors
    cache 30 {{
        disable success {DOMAIN}
        disable denial {DOMAIN}
    }}
    loadbalance
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {layout.kubeconfig}
        pods insecure
        ttl 5
        fallthrough in-addr.arpa ip6.arpa
    }}
{forward}}}
"""
