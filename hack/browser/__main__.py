"""The browser that tests and pictures use: `python3 hack/browser install|path`. Standard library alone.

It is the system's own Chromium, as Debian packages it: nothing else is downloaded.
"""

import argparse
import os
import shutil
import subprocess
import sys
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGES: Final = ("chromium", "fonts-dejavu-core")
INSTALL: Final = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")


def find() -> str | None:
    """Return the path of the browser, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install() -> str | None:
    """Install the Debian packages; return the path of the browser."""
    print(f"installing Debian packages: {' '.join(PACKAGES)}", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run([*INSTALL, "--download-only", *PACKAGES], check=False).returncode != 0:
        subprocess.run(["apt-get", "update", "--quiet"], env=environment, check=True)
    subprocess.run([*INSTALL, *PACKAGES], env=environment, check=True)
    return find()


def main(words: list[str]) -> int:
    """Run one verb and return the exit status."""
    found = argparse.ArgumentParser(prog="python3 hack/browser", description="The browser that tests use.")
    found.add_argument("verb", choices=("install", "path"))
    verb = found.parse_args(words).verb
    path = find()
    if path is None and verb == "install" and os.geteuid() == 0 and shutil.which("apt-get"):
        path = install()
    if path is None:
        print("there is no browser: install what your system calls the Debian package chromium", file=sys.stderr)
        return 1
    if verb == "path":
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
