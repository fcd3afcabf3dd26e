"""What is remembered about a cluster between commands, and the locks that keep two commands apart."""

import contextlib
import fcntl
import ipaddress
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .layout import MAX_CLUSTERS, Layout, is_name, state_root
from .report import ClusterError, say
from .shell import run

_RECORD: Final = "cluster.json"


@dataclass(frozen=True, slots=True)
class Remembered:
    """The choice that the first `up` made for a name."""

    provider: str
    kubeconfig: str = ""
    index: int = 0


def write_text(path: Path, content: str, mode: int = 0o600) -> None:
    """Replace a file as one act, so that a reader or a crash never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(content)
    temporary.replace(path)


@contextlib.contextmanager
def locked(path: Path, why: str) -> Iterator[None]:
    """Hold an exclusive lock; the kernel drops it when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another command that {why}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cluster_directory(name: str) -> Path:
    """Return the state directory of the cluster `name`.

    Raises:
        ClusterError: the name cannot be used.
    """
    if not is_name(name):
        raise ClusterError(f"{name!r} is no cluster name: use at most 32 of a-z, 0-9 and '-', not '-' at an end")
    return state_root() / name


def cluster_lock(name: str) -> contextlib.AbstractContextManager[None]:
    """Hold the lock of one cluster; it lies beside the state directory, which `down` deletes."""
    directory = cluster_directory(name)
    return locked(directory.with_name(f".{name}.lock"), f"works on the cluster {name!r}")


def read_remembered(name: str) -> Remembered | None:
    """Return what was chosen for `name`, or None where there is no such cluster, or its record is damaged."""
    try:
        content = json.loads((cluster_directory(name) / _RECORD).read_text())
        return Remembered(str(content["provider"]), str(content["kubeconfig"]), int(content["index"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def remember(name: str, choice: Remembered) -> None:
    """Write down the choice for `name`."""
    content = {"provider": choice.provider, "kubeconfig": choice.kubeconfig, "index": choice.index}
    write_text(cluster_directory(name) / _RECORD, json.dumps(content) + "\n")


def layout_of(name: str, remembered: Remembered) -> Layout:
    """Return the layout of a remembered local cluster."""
    return Layout(name, remembered.index, cluster_directory(name))


def allocate(name: str) -> Remembered:
    """Give `name` the lowest index whose networks nobody on this machine uses, and remember it."""
    with locked(state_root() / ".index.lock", "chooses networks"):
        taken = {
            entry.index for entry in map(read_remembered, _other_names(name)) if entry and entry.provider == "local"
        }
        routes = _foreign_routes()
        for index in range(MAX_CLUSTERS):
            layout = Layout(name, index, cluster_directory(name))
            if index not in taken and not _overlaps(layout, routes):
                choice = Remembered("local", index=index)
                remember(name, choice)
                return choice
    raise ClusterError(f"no free network for the cluster {name!r}: end another one with `down --name …`")


def _other_names(name: str) -> list[str]:
    return [path.parent.name for path in state_root().glob(f"*/{_RECORD}") if path.parent.name != name]


def _foreign_routes() -> list[ipaddress.IPv4Network]:
    routes = json.loads(run(["ip", "-json", "-4", "route", "show"]) or "[]")
    return [ipaddress.IPv4Network(route["dst"]) for route in routes if route["dst"] != "default"]


def _overlaps(layout: Layout, routes: list[ipaddress.IPv4Network]) -> bool:
    services = ipaddress.IPv4Network(layout.service_cidr).supernet(new_prefix=16)
    ours = (ipaddress.IPv4Network(layout.pod_cidr), services)
    return any(route.overlaps(network) for route in routes for network in ours)
