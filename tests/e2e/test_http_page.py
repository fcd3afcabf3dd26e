"""docs/http.md: its commands run as they stand."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.product import LONG_SECONDS, Product

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "http.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMESPACE = "http-demo"
PORT = "8443"


def test_each_command_of_the_page_succeeds(product: Product, tmp_path: Path) -> None:
    script = "".join(BLOCK.findall(PAGE.read_text())).replace(PORT, str(find_port()))
    setup = f"set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n{script}"
    environment = os.environ | {
        "KUBECONFIG": product.kubeconfig,
        "PATH": f"{Path(product.kubectl_program).parent}:{os.environ['PATH']}",
    }
    try:
        done = subprocess.run(
            ["bash", "-x"],
            input=setup,
            text=True,
            capture_output=True,
            check=False,
            cwd=tmp_path,
            env=environment,
            timeout=LONG_SECONDS,
        )
    finally:
        product.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"


def find_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
