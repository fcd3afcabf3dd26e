"""Each act has one record: over HTTP with the actor, past the gateway with what Kubernetes tells."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.integration.crds_cluster import Kubectl
from tests.integration.gateway_process import (
    PATH,
    GatewayProcess,
    a_namespace,
    create_account,
    create_session,
    eventually,
    grant,
    mint,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.requirement("ID-4")]

AUDIT = "/api/v1/audit"
RIGHTS = "agentsessions,agentsessions/messages,agentsessions/audit"


@pytest.fixture(scope="module")
def gateway(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with a_namespace(cluster, "audit-install") as kubectl:
        gateway = GatewayProcess(kubectl, tmp_path_factory.mktemp("gateway"))
        gateway.start()
        yield gateway
        gateway.kill()


@pytest.fixture(scope="module")
def home(cluster: Kubectl) -> Iterator[Kubectl]:
    with a_namespace(cluster, "audit-home") as kubectl:
        create_account(kubectl, "talker")
        grant(kubectl, "talker", "get,list,send", RIGHTS)
        create_account(kubectl, "stranger")
        yield kubectl


@pytest.fixture(scope="module")
def talker(gateway: GatewayProcess, home: Kubectl) -> Iterator[httpx2.Client]:
    with gateway.client(mint(home, "talker"), namespace=home.namespace) as client:
        eventually(lambda: client.get(AUDIT).status_code == 200, "the binding is known")
        yield client


def records(client: httpx2.Client, **query: Any) -> list[dict[str, Any]]:
    """Return records, oldest first."""
    response = client.get(AUDIT, params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found[::-1]


def acts(client: httpx2.Client, session: str) -> list[tuple[str, str, int | None]]:
    return [(one["act"], one["by"], one.get("generation")) for one in records(client, session=session)]


def chatty(talker: httpx2.Client, home: Kubectl, name: str) -> str:
    """Create a session that takes messages, and wait until the gateway knows it."""
    uid = create_session(home, name, conversation={"open": True})
    eventually(lambda: talker.get(f"{PATH}/{name}").is_success, "the session is known")
    return uid


def test_a_message_has_one_record_with_its_sender_and_never_its_content(talker: httpx2.Client, home: Kubectl) -> None:
    uid = chatty(talker, home, "chatty")
    message = {"content": "the secret", "idempotencyKey": "once"}
    sent = talker.post(f"{PATH}/chatty/messages", json=message, headers={"X-Request-Id": "r-1"})
    again = talker.post(f"{PATH}/{uid}/messages", json=message)
    assert (sent.status_code, again.json()["id"]) == (201, sent.json()["id"])
    (found,) = records(talker, act="message_create", session=uid)
    assert found["actor"] == f"system:serviceaccount:{home.namespace}:talker"
    assert (found["sessionName"], found["namespace"], found["requestId"]) == ("chatty", home.namespace, "r-1")
    assert (found["by"], found["outcome"], found["detail"]) == ("gateway", "done", {"message": sent.json()["id"]})
    assert "secret" not in json.dumps(found)


def test_a_refused_message_is_recorded_with_who_tried(
    gateway: GatewayProcess, talker: httpx2.Client, home: Kubectl
) -> None:
    with gateway.client(mint(home, "stranger"), namespace=home.namespace) as stranger, gateway.client() as nobody:
        assert stranger.post(f"{PATH}/any/messages", json={"content": "hello"}).status_code == 403
        assert nobody.post(f"{PATH}/any/messages", json={"content": "hello"}).status_code == 401
        assert stranger.get(AUDIT).status_code == 403
    (found,) = records(talker, outcome="refused")
    assert found["actor"] == f"system:serviceaccount:{home.namespace}:stranger"
    assert (found["act"], found["code"], found["sessionName"]) == ("message_create", "forbidden", "any")
    assert "sessionUid" not in found


def test_each_act_by_manifest_has_one_record_with_what_kubernetes_tells(
    gateway: GatewayProcess, talker: httpx2.Client, home: Kubectl
) -> None:
    uid = create_session(home, "declared")
    for words in (
        ("patch", "agentsession", "declared", "--type=merge", "-p", '{"spec":{"operatingMode":"Paused"}}'),
        ("annotate", "agentsession", "declared", "note=no-change-of-the-spec"),
        ("patch", "agentsession", "declared", "--type=merge", "-p", '{"spec":{"title":"New"}}'),
    ):
        home(*words, "--field-manager=gitops")
    want = [("create", "manifest", 1), ("pause", "manifest", 2), ("update", "manifest", 3)]
    eventually(lambda: acts(talker, uid) == want, "three records")
    created, paused, _ = records(talker, session=uid)
    assert (created["fieldManager"], paused["fieldManager"]) == ("kubectl-create", "gitops")
    assert "actor" not in paused
    gateway.kill()
    gateway.start()
    home("delete", "agentsession", "declared")
    eventually(lambda: acts(talker, uid) == [*want, ("delete", "manifest", None)], "the deletion, nothing twice")


def test_a_change_that_claims_to_be_the_gateway_s_is_recorded_without_an_actor(
    talker: httpx2.Client, home: Kubectl
) -> None:
    uid = create_session(home, "forged")
    patch = ("patch", "agentsession", "forged", "--type=merge", "-p", '{"spec":{"operatingMode":"Cancelled"}}')
    home(*patch, "--field-manager=agentsessions-gateway")
    want = [("create", "manifest", 1), ("cancel", "manifest", 2)]
    eventually(lambda: acts(talker, uid) == want, "the change is recorded after a while")
    assert records(talker, session=uid)[1]["fieldManager"] == "agentsessions-gateway"


def test_a_page_goes_on_where_the_one_before_ended(talker: httpx2.Client, home: Kubectl) -> None:
    chatty(talker, home, "paged")
    for number in range(3):
        talker.post(f"{PATH}/paged/messages", json={"content": f"{number}"})
    first = talker.get(AUDIT, params={"session": "paged", "limit": 2}).json()
    rest = talker.get(AUDIT, params={"session": "paged", "limit": 2, "before": first["next"]}).json()
    numbers = [item["number"] for item in (*first["items"], *rest["items"])]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 4
    assert "next" not in rest


def test_the_audit_verifies(gateway: GatewayProcess) -> None:
    admin = gateway.kubectl
    create_account(admin, "auditor")
    name = f"{admin.namespace}-auditor"
    admin("create", "clusterrole", name, "--verb=list", "--resource=agentsessions.agentsessions.dev/audit")
    try:
        who = f"--serviceaccount={admin.namespace}:auditor"
        admin("create", "clusterrolebinding", name, f"--clusterrole={name}", who)
        with gateway.client(mint(admin, "auditor")) as auditor:
            eventually(lambda: auditor.get(f"{AUDIT}/verify").is_success, "the binding is known")
            found = auditor.get(f"{AUDIT}/verify").json()
            assert (found["ok"], found["problems"]) == (True, [])
            hashes = {one["number"]: one["hash"] for one in records(auditor, namespace="*", limit=1000)}
            assert hashes[found["head"]] == found["digest"], "it may have grown since"
    finally:
        admin.run("delete", "clusterrolebinding", name)
        admin.run("delete", "clusterrole", name)
