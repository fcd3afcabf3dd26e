"""Go programs, built once and kept by the digest of what they are built from."""

import functools
import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .layout import cache_root
from .report import ClusterError, say
from .store import locked

KUBERNETES_VERSION: Final = "v1.34.4"
TOOLS: Final = {
    "helm": "helm.sh/helm/v3/cmd/helm@v3.19.0",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok@v0.7.0",
}
_OUTPUTS: Final = (
    ("kubernetes", "kubernetes", "."),
    ("kubernetes", "kubectl", "./kubectl"),
    ("dns", "dns", "."),
    ("kubernetes", "pause", "./pause"),
)
"""Go module, name of the program, package in the module: in the order of `Binaries`."""
_SOURCES: Final = Path(__file__).resolve().parent.parent
_VERSION_PACKAGE: Final = "k8s.io/component-base/version"
_LINK_VERSION: Final = (
    f"-s -w -X {_VERSION_PACKAGE}.gitVersion={KUBERNETES_VERSION} "
    f"-X {_VERSION_PACKAGE}.gitMajor=1 -X {_VERSION_PACKAGE}.gitMinor=34"
)
_LINK: Final = {"kubernetes": _LINK_VERSION, "kubectl": _LINK_VERSION}
_PROGRESS_SECONDS: Final = 15
_ROOMY_BYTES: Final = 8 << 30


@dataclass(frozen=True, slots=True)
class Binaries:
    """The built programs."""

    kubernetes: Path
    kubectl: Path
    dns: Path
    pause: Path

    @property
    def directory(self) -> Path:
        """A directory for PATH: it has `kubectl`."""
        return self.kubectl.parent


def ensure_binaries() -> Binaries:
    """Return the cluster's programs, and build what is not in the cache: about six minutes on two cores."""
    if are_cached():
        return Binaries(*(_output(*output) for output in _OUTPUTS))
    with locked(cache_root() / "go.lock", "builds programs"):
        return Binaries(*(_ensure_built(*output) for output in _OUTPUTS))


def are_cached() -> bool:
    """Return whether `ensure_binaries` has nothing to build."""
    return all(_output(*output).exists() for output in _OUTPUTS)


def ensure_tool(name: str) -> Path:
    """Return a tool of the pinned version, and build it first where it is missing.

    Raises:
        ClusterError: no such tool.
    """
    if name not in TOOLS:
        raise ClusterError(f"no tool {name!r}: there are {', '.join(TOOLS)}")
    package = TOOLS[name]
    directory = cache_root() / "tools" / f"{name}-{package.rpartition('@')[2]}"
    with locked(cache_root() / "go.lock", "builds programs"):
        if not (directory / name).exists():
            say(f"building {name} ({package}), once")
            _go(["install", "-trimpath", "-v", package], name, {"GOBIN": f"{directory}.new"}, Path("/"))
            shutil.rmtree(directory, ignore_errors=True)
            Path(f"{directory}.new").rename(directory)
    return directory / name


def _ensure_built(module: str, name: str, package: str) -> Path:
    output = _output(module, name, package)
    if output.exists():
        return output
    say(f"building {name} from its Go module, once; this is the long part of a first start")
    temporary = output.with_name(output.name + ".new")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    link = _LINK.get(name, "-s -w")
    arguments = ["build", "-mod=readonly", "-trimpath", "-v", f"-ldflags={link}", "-o", str(temporary), package]
    _go(arguments, name, {}, _SOURCES / module)
    temporary.replace(output)
    return output


@functools.cache
def _output(module: str, name: str, package: str) -> Path:
    directory = _SOURCES / module
    files = [directory / "go.mod", directory / "go.sum", *sorted((directory / package).glob("*.go"))]
    digest = hashlib.sha256(_LINK.get(name, "").encode())
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    version = f"{KUBERNETES_VERSION}-" if name in _LINK else ""
    return cache_root() / name / f"{version}{digest.hexdigest()[:12]}" / name


def _go(arguments: Sequence[str], name: str, env: Mapping[str, str], cwd: Path) -> None:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise ClusterError(
            "Go 1.24 or newer is missing: install it so that `go` is on PATH (the cluster is built from its modules)"
        )
    environment = {**os.environ, "CGO_ENABLED": "0", **_collector(), **env}
    argv = ["nice", "-n", "5", go, *arguments]
    with subprocess.Popen(
        argv, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as build:
        tail = _follow(build, name)
    if build.returncode != 0:
        raise ClusterError(f"building {name} failed:\n" + "\n".join(tail))
    say(f"{name} is built")


def _follow(build: subprocess.Popen[str], name: str) -> list[str]:
    """Read the build's messages, report progress, and return the last of them."""
    messages = build.stderr or ()
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(messages), daemon=True)
    reader.start()
    started_at = said_at = time.monotonic()
    while build.poll() is None:
        time.sleep(0.1)
        if time.monotonic() - said_at >= _PROGRESS_SECONDS:
            said_at = time.monotonic()
            downloads = sum(line.startswith("go: downloading") for line in list(lines))
            done = len(lines) - downloads
            what = f"{done} packages compiled" if done else f"{downloads} modules downloaded"
            say(f"  building {name}: {said_at - started_at:.0f} s, {what}")
    reader.join()
    return lines[-25:]


def _collector() -> dict[str, str]:
    """Let the compiler trade memory for time where there is enough of it."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"GOGC": "400"} if memory >= _ROOMY_BYTES and "GOGC" not in os.environ else {}
