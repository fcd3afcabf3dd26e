"""Processes that outlive the command that started them, known again by id, start time and boot.

- The record is written by the process itself, before it becomes the program: a command that dies right after the fork
  leaves no process that nobody knows.
- A process is signalled through a pidfd, after its start time was compared: a recycled id is never hit.
- Every process carries MARKER in its environment, as do the shims and plugins that containerd starts, but no container.
"""

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .layout import Layout

MARKER: Final = "AGENTSESSIONS_CLUSTER_STATE"
_RECORD_SELF: Final = (
    "read -r stat </proc/$$/stat; read -r boot </proc/sys/kernel/random/boot_id; "
    'printf "%s\\n%s\\n" "$stat" "$boot" >"$0.tmp" && mv "$0.tmp" "$0" && exec "$@"'
)
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for ever: ids come back, an id with its start time does not within a boot."""

    pid: int
    start_ticks: int


def _parse_stat(stat: str) -> tuple[Identity, str]:
    pid, _, rest = stat.partition(" (")
    fields = rest.rpartition(")")[2].split()
    return Identity(int(pid), int(fields[19])), fields[0]


def boot_id() -> str:
    """Return the id of the machine's current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_record(path: Path) -> Identity | None:
    """Return the recorded process, or None where the record is missing, damaged or of another boot."""
    try:
        stat, boot = path.read_text().splitlines()
        return _parse_stat(stat)[0] if boot == boot_id() else None
    except (FileNotFoundError, ValueError, IndexError):
        return None


def is_running(identity: Identity | None) -> bool:
    """Return whether this very process runs; a zombie does not."""
    if identity is None:
        return False
    try:
        found, state = _parse_stat(Path(f"/proc/{identity.pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        return False
    return found == identity and state not in "ZX"


def send(identity: Identity, number: signal.Signals) -> None:
    """Signal this very process; nothing happens when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(identity.pid)
        try:
            if is_running(identity):
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def end(identities: Iterable[Identity], *, patience_seconds: float) -> None:
    """Ask processes to end, then make them; returns when all are gone."""
    alive = [identity for identity in identities if is_running(identity)]
    first = signal.SIGTERM if patience_seconds > 0 else signal.SIGKILL
    for identity in alive:
        send(identity, first)
    if not wait_until(lambda: not any(map(is_running, alive)), patience_seconds):
        for identity in alive:
            send(identity, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, alive)), 10)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until the condition holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def start(layout: Layout, name: str, argv: Sequence[str], fingerprint: str) -> None:
    """Start a program in the cluster's network namespace, detached from this command."""
    layout.records.mkdir(parents=True, exist_ok=True, mode=0o700)
    layout.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = layout.logs / f"{name}.log"
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_suffix(".previous.log"))
    (layout.records / f"{name}.fingerprint").write_text(fingerprint)
    record = layout.records / name
    record.unlink(missing_ok=True)
    wrapped = ["nsenter", f"--net={layout.netns_file}", "--", *argv]
    with log.open("ab") as output:
        subprocess.Popen(
            ["sh", "-c", _RECORD_SELF, str(record), *wrapped],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_environment(layout),
            start_new_session=True,
        )
    wait_until(record.exists, 5)


def _environment(layout: Layout) -> dict[str, str]:
    # Not the caller's: a proxy or a GOGC set in somebody's shell would change the cluster until its next start.
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": "/root", MARKER: str(layout.state)}


def fingerprint(argv: Sequence[str], files: Iterable[Path]) -> str:
    """Return a digest that changes when the command line or the content of one of its files does."""
    digest = hashlib.sha256("\0".join(argv).encode())
    for path in files:
        digest.update(b"\0" + path.read_bytes())
    return digest.hexdigest()


def read_fingerprint(layout: Layout, name: str) -> str:
    """Return the fingerprint with which the component was last started."""
    try:
        return (layout.records / f"{name}.fingerprint").read_text()
    except FileNotFoundError:
        return ""


def find_marked(layout: Layout) -> list[Identity]:
    """Return every running process that carries this cluster's marker."""
    wanted = f"{MARKER}={layout.state}".encode()
    return [found for pid in _all_pids() if (found := _identify(pid)) and wanted in _environ(pid)]


def identify_all(pids: Iterable[int]) -> list[Identity]:
    """Return the identities of those processes that run."""
    return [found for pid in pids if (found := _identify(pid))]


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _identify(pid: int) -> Identity | None:
    try:
        identity, state = _parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (OSError, ValueError, IndexError):
        return None
    return None if state in "ZX" else identity


def _environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
