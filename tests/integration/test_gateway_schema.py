"""The gateway does what its OpenAPI document says, whatever is sent: schemathesis against a running one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.crds_cluster import Kubectl
from tests.integration.gateway_process import (
    GatewayProcess,
    a_namespace,
    create_account,
    create_session,
    eventually,
    grant,
    mint,
    write_status,
)

pytestmark = pytest.mark.cluster
ACCOUNT = "anyone"
SESSIONS = ("finished", "open", "new")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
ENDLESS = r"/(events|ws)$"
"""A stream of a session that goes on does not end; these routes have tests of their own."""


@pytest.fixture(scope="module")
def gateway(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with a_namespace(cluster, "schema-test") as kubectl:
        gateway = GatewayProcess(kubectl, tmp_path_factory.mktemp("gateway"))
        create_account(kubectl, "agentsessions-operator")
        gateway.start()
        yield gateway
        gateway.kill()


@pytest.fixture(scope="module")
def home(cluster: Kubectl, gateway: GatewayProcess) -> Iterator[Kubectl]:
    """A namespace with sessions, and an account that may do all with them."""
    with a_namespace(cluster, "schema-home") as kubectl:
        create_account(kubectl, ACCOUNT)
        grant(kubectl, ACCOUNT, "*", "*")
        for name in SESSIONS:
            create_session(kubectl, name, goal="Say hello.")
        write_status(kubectl, "finished", "Completed")
        write_status(kubectl, "open", "Running")
        with gateway.client(mint(kubectl, ACCOUNT), namespace=kubectl.namespace) as client:
            eventually(lambda: client.get("/api/v1/agent-sessions").json().get("total") == len(SESSIONS), "all there")
        yield kubectl


@pytest.mark.requirement("OPS-8")
@pytest.mark.timeout(1200)
def test_no_request_gets_what_the_document_does_not_say(gateway: GatewayProcess, home: Kubectl, tmp_path: Path) -> None:
    run_schemathesis(gateway, home, tmp_path, examples=5)


@pytest.mark.slow
@pytest.mark.requirement("OPS-8")
@pytest.mark.timeout(4 * 3600)
def test_no_request_of_very_many_gets_what_the_document_does_not_say(
    gateway: GatewayProcess, home: Kubectl, tmp_path: Path
) -> None:
    run_schemathesis(gateway, home, tmp_path, examples=500)


def run_schemathesis(gateway: GatewayProcess, home: Kubectl, folder: Path, *, examples: int) -> None:
    """Send what the document allows, and what it does not, in every phase that schemathesis has."""
    ca, document = folder / "ca.crt", folder / "openapi.json"
    ca.write_text(gateway.ca())
    with gateway.client() as client:
        document.write_text(client.get("/api/v1/openapi.json").text)
    words = (
        *(str(Path(sys.executable).with_name("schemathesis")), "run", str(document)),
        *("--url", f"https://localhost:{gateway.port}", "--tls-verify", str(ca)),
        *("--header", f"Authorization: Bearer {mint(home, ACCOUNT)}", "--header", f"X-Namespace: {home.namespace}"),
        *("--checks", ",".join(CHECKS), "--exclude-path-regex", ENDLESS),
        *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(examples)),
        *("--mode", "all", "--request-timeout", "20", "--generation-database", "none", "--no-color"),
    )
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.integration.gateway_hooks",
        "AGENTSESSIONS_TEST_SESSIONS": ",".join(SESSIONS),
    }
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
