"""Where everything of one cluster is: directories, addresses, names. Two clusters share none of them.

A cluster has a network namespace of its own, with the bridge, kube-proxy's rules and every listening port inside. Two
kube-proxies in one namespace would overwrite each other's chains, and a removed namespace leaves no rule behind.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME_VARIABLE: Final = "AGENTSESSIONS_CLUSTER"
DEFAULT_NAME: Final = os.environ.get(NAME_VARIABLE) or "agentsessions"
"""Name of the cluster when `--name` gives none."""
MAX_CLUSTERS: Final = 11
"""Pod networks are 10.244.0.0/16 to 10.254.0.0/16."""
DOMAIN: Final = "cluster.local"
API_PORT: Final = 6443
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def state_root() -> Path:
    """Return the directory that has one directory per cluster."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base).absolute() / "agentsessions" / "clusters"


def cache_root() -> Path:
    """Return the directory of what is built once: binaries by version, base images by content."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "agentsessions"


def repository_root() -> Path:
    """Return the root of the work tree that this file is part of."""
    return Path(__file__).resolve().parents[3]


def is_name(name: str) -> bool:
    """Return whether `name` fits into file, interface and node names."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths and addresses of one cluster, all derived from its name and its index."""

    name: str
    index: int
    state: Path

    @property
    def run(self) -> Path:
        """Sockets and other state that a reboot makes void; short, since a socket's path has at most 107 bytes."""
        return Path("/run/agentsessions") / self.name

    @property
    def certificates(self) -> Path:
        """Certificates, keys, and a kubeconfig per client."""
        return self.state / "certificates"

    @property
    def configs(self) -> Path:
        """Configuration files of the programs."""
        return self.state / "configs"

    @property
    def records(self) -> Path:
        """One file per started program: which process it is."""
        return self.state / "processes"

    @property
    def logs(self) -> Path:
        """One log per program."""
        return self.state / "logs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON object per line."""
        return self.logs / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def containerd_root(self) -> Path:
        """Images and containers."""
        return self.state / "containerd"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd.sock"

    @property
    def kubelet_root(self) -> Path:
        """Pods' volumes."""
        return self.state / "kubelet"

    @property
    def pod_logs(self) -> Path:
        """Containers' logs."""
        return self.logs / "pods"

    @property
    def volumes(self) -> Path:
        """One directory per persistent volume."""
        return self.state / "volumes"

    @property
    def netns(self) -> str:
        """The network namespace; also the name of the pod network."""
        return f"ags-{self.name}"

    @property
    def netns_file(self) -> Path:
        """The network namespace as a file."""
        return Path("/run/netns") / self.netns

    @property
    def host_link(self) -> str:
        """The machine's interface into the namespace: at most 15 characters."""
        return f"ags{self.index}"

    @property
    def bridge(self) -> str:
        """The pods' bridge, in the namespace."""
        return f"agsbr{self.index}"

    @property
    def cgroup(self) -> str:
        """The cgroup, in every hierarchy, above those of the pods."""
        return f"ags-{self.name}"

    @property
    def node_name(self) -> str:
        """The only node."""
        return f"{self.name}-node"

    @property
    def pod_cidr(self) -> str:
        """Addresses of the bridge and the pods."""
        return f"10.{244 + self.index}.0.0/16"

    @property
    def bridge_ip(self) -> str:
        """The node's address: the API server, kubelet and DNS listen here."""
        return f"10.{244 + self.index}.0.1"

    @property
    def service_cidr(self) -> str:
        """Addresses of services; the link's are above them in the same /16."""
        return f"10.{96 + self.index}.0.0/20"

    @property
    def service_ip(self) -> str:
        """The address of the service `kubernetes`."""
        return f"10.{96 + self.index}.0.1"

    @property
    def host_ip(self) -> str:
        """The machine's end of the link into the cluster's namespace."""
        return f"10.{96 + self.index}.255.1"

    @property
    def uplink_ip(self) -> str:
        """The cluster's end of the link to the machine."""
        return f"10.{96 + self.index}.255.2"

    @property
    def api_url(self) -> str:
        """Where the API server listens, also for the machine."""
        return f"https://{self.bridge_ip}:{API_PORT}"
