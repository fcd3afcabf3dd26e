"""The gateway does what its OpenAPI document says, whatever is sent: schemathesis against a running one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.crds_cluster import ROOT, Kubectl, an_approval
from tests.integration.gateway_process import (
    PATH,
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
LISTED = ("agentsessions.agentsessions.dev", "agentsessions.agentsessions.dev/audit")
SESSIONS = ("open", "finished", "new")
SPARE = tuple(f"spare-{number}" for number in range(12))
"""Sessions that may be cancelled and deleted."""
ASKED = tuple(f"asked-{number}" for number in range(8))
IN_DOUBT = tuple(f"in-doubt-{number}" for number in range(8))
"""Calls that wait to be approved, and calls of which nobody knows whether they happened. Each is decided once."""
UNLIMITED = {"AGENTSESSIONS_SESSIONS_PER_MINUTE": "0", "AGENTSESSIONS_MESSAGES_PER_MINUTE": "0"}
SEED = 1
"""Of what every change is tested with: a finding is to come from the change."""
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
CONFIGURATION = """\
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""
"""What schemathesis takes for a refusal, and 413: a wrong body may be too large besides, which is seen first."""
ENDLESS = r"/(events|ws)$"
"""A stream of a session that goes on does not end; these routes have tests of their own."""


@pytest.fixture(scope="module")
def gateway(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with a_namespace(cluster, "schema-test") as kubectl:
        gateway = GatewayProcess(kubectl, tmp_path_factory.mktemp("gateway"), settings=UNLIMITED)
        create_account(kubectl, "agentsessions-operator")
        gateway.start()
        yield gateway
        gateway.kill()


@pytest.fixture(scope="module")
def home(cluster: Kubectl, gateway: GatewayProcess) -> Iterator[Kubectl]:
    """A namespace with sessions, and an account that may do all with them, and read those of others."""
    with a_namespace(cluster, "schema-home") as kubectl:
        create_account(kubectl, ACCOUNT)
        grant(kubectl, ACCOUNT, "*", "*")
        reader = f"{kubectl.namespace}-reader"
        kubectl("create", "clusterrole", reader, "--verb=list", f"--resource={','.join(LISTED)}")
        kubectl(
            "create",
            "clusterrolebinding",
            reader,
            f"--clusterrole={reader}",
            f"--serviceaccount={kubectl.namespace}:{ACCOUNT}",
        )
        uids = {name: create_session(kubectl, name, goal="Say hello.") for name in (*SESSIONS, *SPARE)}
        for kind, names in {"Approval": ASKED, "Doubt": IN_DOUBT}.items():
            for name in names:
                ask(kubectl, name, kind, uids["open"])
        write_status(kubectl, "finished", "Completed")
        write_status(kubectl, "open", "Running")
        with gateway.client(mint(kubectl, ACCOUNT), namespace=kubectl.namespace) as client:
            total = len(SESSIONS) + len(SPARE)
            eventually(lambda: client.get(PATH).json().get("total") == total, "all there")
        yield kubectl
        kubectl("delete", "clusterrole,clusterrolebinding", reader)


def ask(kubectl: Kubectl, name: str, kind: str, session_uid: str) -> None:
    """Ask people about a call of a session, as the operator does."""
    question = an_approval(name, kind=kind)
    owner = {"apiVersion": question["apiVersion"], "kind": "AgentSession", "name": "open", "uid": session_uid}
    question["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    kubectl("create", "-f", "-", manifest=question)


@pytest.mark.requirement("OPS-8")
@pytest.mark.timeout(1200)
def test_no_request_gets_what_the_document_does_not_say(gateway: GatewayProcess, home: Kubectl, tmp_path: Path) -> None:
    run_schemathesis(gateway, home, tmp_path, examples=5, seed=SEED)


@pytest.mark.slow
@pytest.mark.requirement("OPS-8")
@pytest.mark.timeout(4 * 3600)
def test_no_request_of_very_many_gets_what_the_document_does_not_say(
    gateway: GatewayProcess, home: Kubectl, tmp_path: Path
) -> None:
    run_schemathesis(gateway, home, tmp_path, examples=int(os.environ.get("AGENTSESSIONS_TEST_EXAMPLES", "500")))


def run_schemathesis(
    gateway: GatewayProcess, home: Kubectl, folder: Path, *, examples: int, seed: int | None = None
) -> None:
    """Send what the document allows, and what it does not, in every phase that schemathesis has.

    Args:
        gateway: Where.
        home: Namespace of the sessions.
        folder: For its files.
        examples: For each operation.
        seed: The same requests each time; by default others each time.
    """
    ca, document, configuration = folder / "ca.crt", folder / "openapi.json", folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    ca.write_text(gateway.ca())
    token = mint(home, ACCOUNT, "--duration=12h")
    with gateway.client(token, namespace=home.namespace) as client:
        document.write_text(client.get("/api/v1/openapi.json").text)
        said = [
            client.post(f"{PATH}/{SESSIONS[0]}/messages", json={"content": "Hello."}).json()["id"] for _ in range(8)
        ]
    words = (
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(configuration)),
        *("run", str(document)),
        *("--url", f"https://localhost:{gateway.port}", "--tls-verify", str(ca)),
        *("--header", f"Authorization: Bearer {token}", "--header", f"X-Namespace: {home.namespace}"),
        *("--checks", ",".join(CHECKS), "--exclude-path-regex", ENDLESS),
        *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(examples)),
        *("--mode", "all", "--request-timeout", "20", "--generation-database", "none", "--no-color"),
        *(("--seed", str(seed)) if seed is not None else ()),
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.integration.gateway_hooks",
        "AGENTSESSIONS_TEST_SESSIONS": ",".join(SESSIONS),
        "AGENTSESSIONS_TEST_NAMESPACE": home.namespace,
        "AGENTSESSIONS_TEST_MESSAGES": ",".join(said),
        "AGENTSESSIONS_TEST_SPARE_SESSIONS": ",".join(SPARE),
        "AGENTSESSIONS_TEST_ASKED": ",".join(ASKED),
        "AGENTSESSIONS_TEST_IN_DOUBT": ",".join(IN_DOUBT),
    }
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    (folder / "report.txt").write_text(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
