"""People of a company's identity provider: the API server takes their tokens, and so does the gateway.

The local cluster's API server reads its list of issuers anew when the file changes; the test puts its own there.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.crds_cluster import Kubectl
from tests.integration.gateway_process import PATH, GatewayProcess, a_namespace, create_session, eventually
from tests.integration.oidc_issuer import Issuer, an_issuer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400), pytest.mark.requirement("ID-1")]


@pytest.fixture(scope="module")
def issuer(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    file = Path(cluster.kubeconfig).parent / "configs" / "authentication.json"
    assert file.exists(), f"{file}: the local cluster is needed, `make cluster-up` makes it"
    before = file.read_text()
    url = cluster("config", "view", "--output=jsonpath={.clusters[0].cluster.server}")
    with an_issuer(url, tmp_path_factory.mktemp("issuer")) as issuer:
        file.write_text(json.dumps(issuer.configuration()))
        try:
            yield issuer
        finally:
            file.write_text(before)


@pytest.fixture(scope="module")
def gateway(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with a_namespace(cluster, "oidc-install") as kubectl:
        gateway = GatewayProcess(kubectl, tmp_path_factory.mktemp("gateway"))
        gateway.start()
        yield gateway
        gateway.kill()


@pytest.fixture(scope="module")
def home(cluster: Kubectl) -> Iterator[Kubectl]:
    with a_namespace(cluster, "oidc-home") as kubectl:
        create_session(kubectl, "talk", conversation={"open": True})
        names = ("agentsessions", "agentsessions/messages", "agentsessions/audit")
        resources = ",".join(name.replace("agentsessions", "agentsessions.agentsessions.dev", 1) for name in names)
        kubectl("create", "role", "people", "--verb=get,list,send", f"--resource={resources}")
        kubectl("create", "rolebinding", "alice", "--role=people", "--user=oidc:alice")
        kubectl("create", "rolebinding", "analysts", "--role=people", "--group=oidc:analysts")
        yield kubectl


def test_people_of_an_oidc_issuer_are_who_the_api_server_says(
    gateway: GatewayProcess, home: Kubectl, issuer: Issuer
) -> None:
    with (
        gateway.client(issuer.token("alice"), namespace=home.namespace) as alice,
        gateway.client(issuer.token("ben", "analysts"), namespace=home.namespace) as ben,
        gateway.client(issuer.token("mallory"), namespace=home.namespace) as mallory,
    ):
        eventually(lambda: alice.get(f"{PATH}/talk").is_success, "the API server trusts the issuer")
        assert alice.post(f"{PATH}/talk/messages", json={"content": "hello"}).status_code == 201
        assert ben.post(f"{PATH}/talk/messages", json={"content": "hello"}).status_code == 201
        refused = mallory.post(f"{PATH}/talk/messages", json={"content": "hello"})
        assert refused.status_code == 403
        assert "'oidc:mallory'" in refused.json()["detail"]
        records = alice.get("/api/v1/audit", params={"act": "message_create"}).json()["items"]
    found = [(one["actor"], one["outcome"]) for one in records]
    assert found == [("oidc:mallory", "refused"), ("oidc:ben", "done"), ("oidc:alice", "done")]
    for token in (issuer.token("alice", lives_seconds=-30), issuer.token("alice", audience="another")):
        with gateway.client(token, namespace=home.namespace) as stale:
            assert stale.get(f"{PATH}/talk").status_code == 401
