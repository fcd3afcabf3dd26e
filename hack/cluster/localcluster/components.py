"""The programs that make a cluster: command lines, what asks for a restart, and how to see that they work."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .configs import AUTHENTICATION
from .layout import API_PORT, DOMAIN, Layout
from .toolchain import Binaries

CONTROL_PLANE: Final = ("etcd", "kube-apiserver")
"""What must work before the rest can start without waiting out its own back-off."""


@dataclass(frozen=True, slots=True)
class Component:
    """One program: `files` are those whose change asks for a restart; `probe` answers 200 when it works."""

    name: str
    argv: tuple[str, ...]
    files: tuple[Path, ...] = ()
    probe: str = ""


def components(layout: Layout, binaries: Binaries) -> list[Component]:
    """Return all components in the order in which they start."""
    built = str(binaries.kubernetes)
    return [
        _containerd(layout),
        _etcd(layout, built),
        _apiserver(layout, built),
        _controller_manager(layout, built),
        _scheduler(layout, built),
        _kubelet(layout, built),
        _kube_proxy(layout, built),
        _storage(layout, built),
        _dns(layout, str(binaries.dns)),
    ]


def _containerd(layout: Layout) -> Component:
    config = layout.configs / "containerd.toml"
    return Component(
        "containerd", ("containerd", "--config", str(config)), (config, layout.configs / "cni" / "10-bridge.conflist")
    )


def _etcd(layout: Layout, built: str) -> Component:
    # Plain HTTP on loopback: of the cluster's own network namespace, which no user of the machine and no pod is in.
    argv = (
        built,
        "etcd",
        f"--data-dir={layout.state}/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=default=http://127.0.0.1:2380",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
    )
    return Component("etcd", argv)


def _apiserver(layout: Layout, built: str) -> Component:
    certificates = layout.certificates
    policy = layout.configs / "audit-policy.json"
    argv = (
        built,
        "kube-apiserver",
        f"--bind-address={layout.bridge_ip}",
        f"--advertise-address={layout.bridge_ip}",
        f"--secure-port={API_PORT}",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--service-cluster-ip-range={layout.service_cidr}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={certificates}/ca.crt",
        f"--tls-cert-file={certificates}/kube-apiserver.crt",
        f"--tls-private-key-file={certificates}/kube-apiserver.key",
        f"--kubelet-certificate-authority={certificates}/ca.crt",
        f"--kubelet-client-certificate={certificates}/kubelet-client.crt",
        f"--kubelet-client-key={certificates}/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
        f"--service-account-key-file={certificates}/service-accounts.key",
        f"--service-account-signing-key-file={certificates}/service-accounts.key",
        f"--authentication-config={layout.configs / AUTHENTICATION}",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=200",
        "--audit-log-maxbackup=2",
    )
    files = (
        policy,
        certificates / "ca.crt",
        certificates / "kube-apiserver.crt",
        certificates / "service-accounts.key",
    )
    return Component("kube-apiserver", argv, files, f"{layout.api_url}/readyz")


def _controller_manager(layout: Layout, built: str) -> Component:
    certificates = layout.certificates
    kubeconfig = certificates / "kube-controller-manager.kubeconfig"
    argv = (
        built,
        "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={certificates}/service-accounts.key",
        f"--root-ca-file={certificates}/ca.crt",
        f"--cluster-signing-cert-file={certificates}/ca.crt",
        f"--cluster-signing-key-file={certificates}/ca.key",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    )
    return Component("kube-controller-manager", argv, (kubeconfig,))


def _scheduler(layout: Layout, built: str) -> Component:
    kubeconfig = layout.certificates / "kube-scheduler.kubeconfig"
    argv = (
        built,
        "kube-scheduler",
        f"--kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    )
    return Component("kube-scheduler", argv, (kubeconfig,))


def _kubelet(layout: Layout, built: str) -> Component:
    config, kubeconfig = layout.configs / "kubelet.json", layout.certificates / "kubelet.kubeconfig"
    argv = (
        built,
        "kubelet",
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={layout.kubelet_root}",
        f"--cert-dir={layout.kubelet_root}/pki",
        f"--hostname-override={layout.node_name}",
        f"--node-ip={layout.bridge_ip}",
    )
    files = (config, kubeconfig, layout.configs / "resolv.conf", layout.certificates / "kubelet-server.crt")
    return Component("kubelet", argv, files, f"http://{layout.bridge_ip}:10248/healthz")


def _kube_proxy(layout: Layout, built: str) -> Component:
    config = layout.configs / "kube-proxy.json"
    files = (config, layout.certificates / "kube-proxy.kubeconfig")
    return Component(
        "kube-proxy", (built, "kube-proxy", f"--config={config}"), files, f"http://{layout.bridge_ip}:10256/healthz"
    )


def _storage(layout: Layout, built: str) -> Component:
    argv = (
        built,
        "storage",
        f"--kubeconfig={layout.kubeconfig}",
        f"--directory={layout.volumes}",
        f"--node={layout.node_name}",
    )
    return Component("storage", argv, (layout.kubeconfig,))


def _dns(layout: Layout, built: str) -> Component:
    config = layout.configs / "Corefile"
    argv = (built, "-conf", str(config), "-quiet")
    return Component("dns", argv, (config, layout.kubeconfig), f"http://{layout.bridge_ip}:8181/ready")
