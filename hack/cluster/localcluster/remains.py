"""What a cluster leaves on the machine besides its recorded processes: containers, mounts, cgroups, CNI files, links.

Everything here is found by what only this cluster uses (its marker, its cgroup, its directories), so that it works on
half-dead state and after a crash, and touches nothing of another cluster or of the machine.
"""

import contextlib
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Final

from . import network, processes
from .layout import Layout
from .shell import succeeds

_CNI_RESULTS: Final = Path("/var/lib/cni/results")
_LOG_LINKS: Final = Path("/var/log/containers")
_DEVICE_PLUGINS: Final = Path("/var/lib/kubelet/device-plugins")
_END_SECONDS: Final = 15


def remove_runtime(layout: Layout) -> None:
    """End every process and remove every trace of the running cluster; its state directory stays as it is."""
    end_processes(layout)
    _unmount_below([layout.state, layout.run])
    remove_cgroups(layout)
    network.remove(layout)
    _remove_cni_results(layout)
    _remove_log_links(layout)
    shutil.rmtree(layout.run, ignore_errors=True)
    with contextlib.suppress(OSError):
        layout.run.parent.rmdir()


def remove_last_traces() -> None:
    """Remove what kubelet makes at fixed places; only for when no cluster is left."""
    with contextlib.suppress(OSError):
        if {entry.name for entry in _DEVICE_PLUGINS.iterdir()} <= {
            "kubelet.sock",
            "kubelet_internal_checkpoint",
            "DEPRECATION",
        }:
            shutil.rmtree(_DEVICE_PLUGINS)
            _DEVICE_PLUGINS.parent.rmdir()


def end_processes(layout: Layout) -> None:
    """Kill all programs of the cluster, and what runs in its containers, until none is left."""
    recorded = [processes.read_record(path) for path in layout.records.glob("*") if path.suffix == ""]
    processes.end([identity for identity in recorded if identity], patience_seconds=0)

    def sweep() -> bool:
        left = [*processes.find_marked(layout), *processes.identify_all(_cgroup_pids(layout))]
        for identity in left:
            processes.send(identity, signal.SIGKILL)
        return not left

    processes.wait_until(sweep, _END_SECONDS)


def _hierarchies() -> list[Path]:
    """Return where cgroup file systems are mounted: one per controller (version 1), or a single one."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]


def _cgroup_pids(layout: Layout) -> set[int]:
    pids: set[int] = set()
    for hierarchy in _hierarchies():
        for directory, _, _ in os.walk(hierarchy / layout.cgroup):
            with contextlib.suppress(OSError):
                pids.update(map(int, (Path(directory) / "cgroup.procs").read_text().split()))
    return pids


def create_cgroups(layout: Layout) -> None:
    """Make the cgroup below which kubelet keeps this cluster's pods."""
    for hierarchy in _hierarchies():
        directory = hierarchy / layout.cgroup
        for controller in (
            "cpu",
            "cpuset",
            "memory",
            "pids",
            "io",
            "hugetlb",
        ):  # version 2 only; a missing one is refused
            with contextlib.suppress(OSError):
                (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")
        directory.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1: a new cpuset is empty and would take no process
            with contextlib.suppress(OSError):
                if not (directory / name).read_text().strip():
                    (directory / name).write_text((hierarchy / name).read_text())


def remove_cgroups(layout: Layout) -> None:
    """Remove the cluster's cgroups; the kernel may need a moment after the last process."""

    def attempt() -> bool:
        for hierarchy in _hierarchies():
            for directory, _, _ in os.walk(hierarchy / layout.cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()
        return not any((hierarchy / layout.cgroup).exists() for hierarchy in _hierarchies())

    processes.wait_until(attempt, _END_SECONDS)


def mounts_below(directories: list[Path]) -> list[str]:
    """Return the mount points below some directories, innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    prefixes = tuple(f"{directory}/" for directory in directories)
    return sorted((point for point in points if point.startswith(prefixes)), reverse=True)


def _unmount_below(directories: list[Path]) -> None:
    for point in mounts_below(directories):
        if not succeeds(["umount", point]):
            succeeds(["umount", "--lazy", point])


def _remove_cni_results(layout: Layout) -> None:
    ours = re.compile(re.escape(layout.netns) + r"-([0-9a-f]{64})-\w+")
    for path in _CNI_RESULTS.glob(f"{layout.netns}-*"):
        if found := ours.fullmatch(path.name):
            path.unlink(missing_ok=True)
            path.with_name(f"cni-loopback-{found[1]}-lo").unlink(missing_ok=True)


def _remove_log_links(layout: Layout) -> None:
    for path in _LOG_LINKS.glob("*.log"):
        with contextlib.suppress(OSError):
            if path.is_symlink() and path.readlink().is_relative_to(layout.pod_logs):
                path.unlink()
