"""What the machine must have: root, and programs from Debian packages, which are installed where that is possible."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .report import ClusterError, say
from .shell import run, succeeds
from .store import locked

NODE_PACKAGES: Final = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "conntrack": "conntrack",
    "mount": "mount",
    "openssl": "openssl",
}
"""Program or file that is looked for, and the Debian package that has it."""
IMAGE_PACKAGES: Final = {
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_INSTALL: Final = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")


def require_root() -> None:
    """Refuse to go on without root.

    Raises:
        ClusterError: always, for another user.
    """
    if os.geteuid() != 0:
        raise ClusterError(
            "the local cluster needs root (network namespaces, mounts, cgroups): run it with sudo, "
            "or start docker or podman and install kind, or pass --kubeconfig FILE of a cluster you have"
        )


def ensure_packages(wanted: dict[str, str]) -> None:
    """Install the packages of the programs that are missing.

    Raises:
        ClusterError: this is not a Debian where we may install; the text has the command.
    """
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    with locked(Path("/run/lock/agentsessions-packages.lock"), "installs packages"):
        missing = _missing(wanted)
        if not missing:
            return
        if shutil.which("apt-get") is None:
            raise ClusterError(f"missing: install what your system calls the Debian packages {' '.join(missing)}")
        _install(missing)
        if still := _missing(wanted):
            raise ClusterError(
                f"not there after their installation: {' '.join(still)}; try `apt-get install {' '.join(still)}`"
            )


def _missing(wanted: dict[str, str]) -> list[str]:
    return sorted(package for program, package in wanted.items() if not _exists(program))


def _exists(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None


def _install(packages: Iterable[str]) -> None:
    names = list(packages)
    say(f"installing Debian packages: {' '.join(names)}")
    blocked = _block_services()
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        if not succeeds([*_INSTALL, "--download-only", *names]):
            run(["apt-get", "update", "--quiet"], env=environment)
        run([*_INSTALL, *names], env=environment)
    finally:
        if blocked:
            _POLICY.unlink(missing_ok=True)
    say("packages installed")


def _block_services() -> bool:
    """Keep the packages from starting their services; return whether we put the policy there."""
    try:
        with _POLICY.open("x") as file:
            file.write("#!/bin/sh\n# agentsessions hack/cluster, while it installs packages\nexit 101\n")
    except FileExistsError:
        return False
    _POLICY.chmod(0o755)
    return True
