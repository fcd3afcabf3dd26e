"""Where the programs of PostgreSQL are. Debian keeps them out of PATH, in a folder per version."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

VERSIONS: Final = Path("/usr/lib/postgresql")
PACKAGES: Final = ("postgresql", "postgresql-client")
_INSTALL: Final = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
_CREATE_NO_CLUSTER: Final = Path("/etc/postgresql-common/createcluster.d/agentsessions.conf")


class ProgramsMissing(Exception):  # noqa: N818  # read aloud: the programs are missing
    """There is no PostgreSQL, and it cannot be installed here; the text says what to do."""


def find_programs() -> Path | None:
    """Return the folder of the newest version's programs, if there is one."""
    found = [path.parent for path in VERSIONS.glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path and shutil.which("initdb") else None


def ensure_programs() -> Path:
    """Return the folder of the programs; install the Debian packages where there are none.

    Raises:
        ProgramsMissing: This is not a Debian where we may install.
    """
    found = find_programs()
    if found is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ProgramsMissing(f"missing: install what your system calls the Debian package {PACKAGES[0]}")
    _install()
    found = find_programs()
    if found is None:
        raise ProgramsMissing(f"not there after its installation; try `apt-get install {PACKAGES[0]}`")
    return found


def _install() -> None:
    print(f"installing Debian packages: {' '.join(PACKAGES)}", flush=True)
    # The package makes a server for the whole machine, and starts it, unless it is told not to.
    _CREATE_NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    _CREATE_NO_CLUSTER.write_text("create_main_cluster = false\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        if subprocess.run([*_INSTALL, "--download-only", *PACKAGES], check=False).returncode != 0:
            subprocess.run(["apt-get", "update", "--quiet"], env=environment, check=True)
        subprocess.run([*_INSTALL, *PACKAGES], env=environment, check=True)
    finally:
        _CREATE_NO_CLUSTER.unlink(missing_ok=True)
