"""What figures were taken on, and what one process of it used."""

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What processes have used since they started: CPU in seconds, memory in MiB now and at most."""

    cpu_seconds: float
    rss_mib: float
    peak_rss_mib: float


def describe_machine() -> str:
    """Return cores, memory, processor, load over 1, 5 and 15 minutes, and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, {memory:.1f} GiB, {processor()}, load {load}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def processor() -> str:
    """Return the processor's name, or the architecture where Linux tells no name."""
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def processes_of(container_id: str) -> list[int]:
    """Return the ids of a container's processes as this machine sees them; none when it runs elsewhere."""
    found = []
    for cgroup in PROC.glob("[0-9]*/cgroup"):
        with suppress(OSError):  # it ended while we looked
            if container_id in cgroup.read_text():
                found.append(int(cgroup.parent.name))
    return found


def read_usage(processes: list[int]) -> Usage:
    """Return what processes have used so far, together."""
    cpu, rss, peak = 0.0, 0.0, 0.0
    for process in processes:
        # The name, in parentheses, may hold spaces: the numbered fields begin after it.
        fields = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / TICKS
        rss += _kibibytes(process, "VmRSS") / 1024
        peak += _kibibytes(process, "VmHWM") / 1024
    return Usage(cpu, rss, peak)


def _kibibytes(process: int, field: str) -> int:
    for line in (PROC / str(process) / "status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(f"process {process} tells no {field}")
