"""The gateway's routes against a real API server: who may read what, and what is read."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.integration.crds_cluster import Kubectl
from tests.integration.gateway_process import (
    AUDIENCE,
    PATH,
    GatewayProcess,
    a_namespace,
    create_account,
    create_session,
    eventually,
    grant,
    mint,
    mint_for_pod,
    write_status,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
READER = "reader"
STRANGER = "stranger"
READS = ("", "/steps", "/messages", "/events", "/verify")
"""What is read of one session, below its path."""


@pytest.fixture(scope="module")
def gateway(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with a_namespace(cluster, "gateway-test") as kubectl:
        gateway = GatewayProcess(kubectl, tmp_path_factory.mktemp("gateway"))
        create_account(kubectl, "agentsessions-operator")
        gateway.start()
        yield gateway
        gateway.kill()


@pytest.fixture(scope="module")
def home(cluster: Kubectl) -> Iterator[Kubectl]:
    """A namespace with an account that may read sessions in it, and one that may not."""
    with a_namespace(cluster, "gateway-home") as kubectl:
        for account in (READER, STRANGER):
            create_account(kubectl, account)
        grant(kubectl, READER, "get,list", "agentsessions,agentsessions/messages,agentsessions/events")
        yield kubectl


@pytest.fixture(scope="module")
def reader(gateway: GatewayProcess, home: Kubectl) -> Iterator[httpx2.Client]:
    with gateway.client(mint(home, READER), namespace=home.namespace) as client:
        eventually(lambda: client.get(PATH).status_code == 200, "the binding is known")
        yield client


@pytest.fixture(scope="module")
def stranger(gateway: GatewayProcess, home: Kubectl) -> Iterator[httpx2.Client]:
    with gateway.client(mint(home, STRANGER), namespace=home.namespace) as client:
        yield client


def wait_for(client: httpx2.Client, name: str, **want: Any) -> dict[str, Any]:
    """Read a session until it is as wanted."""

    def read() -> dict[str, Any] | None:
        response = client.get(f"{PATH}/{name}")
        found: dict[str, Any] = response.json()
        is_wanted = response.status_code == 200 and all(found.get(key) == value for key, value in want.items())
        return found if is_wanted else None

    found: dict[str, Any] = eventually(read, f"session {name} with {want}")
    return found


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize("path", [PATH, *(f"{PATH}/any{tail}" for tail in READS)])
def test_no_user_route_answers_without_a_token(gateway: GatewayProcess, path: str) -> None:
    with gateway.client() as nobody, gateway.client("not-a-token") as forger:
        for response in (nobody.get(path), forger.get(path)):
            assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
            assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.requirement("ID-1")
def test_a_token_for_agent_pods_opens_no_user_route(gateway: GatewayProcess, home: Kubectl) -> None:
    with gateway.client(mint(home, READER, "--audience", AUDIENCE), namespace=home.namespace) as pod:
        assert pod.get(PATH).status_code == 401


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize(
    ("path", "right"),
    [
        pytest.param(PATH, "list agentsessions.agentsessions.dev", id="a list"),
        pytest.param(f"{PATH}/any", "get agentsessions.agentsessions.dev", id="a session"),
        pytest.param(f"{PATH}/any/steps", "get agentsessions/messages.agentsessions.dev", id="steps"),
        pytest.param(f"{PATH}/any/messages", "get agentsessions/messages.agentsessions.dev", id="messages"),
        pytest.param(f"{PATH}/any/events", "get agentsessions/events.agentsessions.dev", id="events"),
    ],
)
def test_a_refusal_names_the_missing_right(stranger: httpx2.Client, path: str, right: str) -> None:
    response = stranger.get(path)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert right in response.json()["detail"]


@pytest.mark.requirement("ID-1")
def test_a_list_of_all_namespaces_needs_the_right_in_all(reader: httpx2.Client) -> None:
    response = reader.get(PATH, params={"namespace": "*"})
    assert response.status_code == 403
    assert "ClusterRole" in response.json()["detail"]


def test_a_right_counts_within_seconds(gateway: GatewayProcess, home: Kubectl) -> None:
    create_account(home, "late")
    with gateway.client(mint(home, "late"), namespace=home.namespace) as late:
        assert late.get(PATH).status_code == 403
        grant(home, "late", "list", "agentsessions")
        eventually(lambda: late.get(PATH).status_code == 200, "the new right is known")


@pytest.mark.requirement("OPS-9")
def test_sessions_are_listed_filtered_and_paged(reader: httpx2.Client, home: Kubectl) -> None:
    for number in range(3):
        create_session(home, f"paged-{number}", title=f"Number {number}")
        wait_for(reader, f"paged-{number}")
    page = reader.get(PATH, params={"text": "paged-", "sort": "name", "limit": 2}).json()
    assert [item["name"] for item in page["items"]] == ["paged-0", "paged-1"]
    assert (page["total"], page["limit"], page["offset"]) == (3, 2, 0)
    rest = reader.get(PATH, params={"text": "paged-", "sort": "name", "limit": 2, "offset": 2}).json()
    assert [item["name"] for item in rest["items"]] == ["paged-2"]
    assert reader.get(PATH, params={"text": "paged-", "phase": "Running"}).json()["total"] == 0
    assert [i["name"] for i in reader.get(PATH, params={"text": "number 1"}).json()["items"]] == ["paged-1"]


@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(
    "query",
    [{"limit": 1001}, {"limit": 0}, {"sort": "secret"}, {"phase": "Resting"}, {"namespace": "../kube-system"}],
    ids=["a page too large", "an empty page", "an unknown order", "an unknown phase", "no namespace's name"],
)
def test_a_list_that_is_asked_wrongly_is_refused(reader: httpx2.Client, query: dict[str, Any]) -> None:
    response = reader.get(PATH, params=query)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert next(iter(query)) in response.json()["detail"]


def test_a_session_that_is_not_there_is_not_found(reader: httpx2.Client) -> None:
    response = reader.get(f"{PATH}/nobody")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_a_session_of_another_namespace_is_not_found_by_its_uid(reader: httpx2.Client, gateway: GatewayProcess) -> None:
    uid = create_session(gateway.kubectl, "elsewhere")
    create_session(gateway.kubectl, "later")
    assert reader.get(f"{PATH}/{uid}").status_code == 404


@pytest.mark.requirement("STEP-3")
def test_history_outlives_the_resource(reader: httpx2.Client, home: Kubectl) -> None:
    uid = create_session(home, "short-lived")
    write_status(home, "short-lived", "Starting")
    wait_for(reader, "short-lived", phase="Starting")
    home("delete", "agentsession", "short-lived")
    by_name = eventually(lambda: _deleted(reader, "short-lived"), "the deletion is known")
    assert by_name["uid"] == uid
    assert reader.get(f"{PATH}/{uid}").json() == by_name
    assert reader.get(PATH, params={"text": "short-lived"}).json()["total"] == 0
    again = create_session(home, "short-lived")
    eventually(lambda: reader.get(f"{PATH}/short-lived").json()["uid"] == again, "the name means the newest")
    assert reader.get(f"{PATH}/{uid}").json()["uid"] == uid


def _deleted(client: httpx2.Client, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] = client.get(f"{PATH}/{name}").json()
    return found if "deletedAt" in found else None


def test_a_namespace_of_the_same_name_does_not_show_what_happened_in_the_one_before(
    cluster: Kubectl, gateway: GatewayProcess
) -> None:
    with a_namespace(cluster, "gateway-reborn") as first:
        uid = create_session(first, "secret")
        create_account(first, READER)
        grant(first, READER, "get", "agentsessions")
        with gateway.client(mint(first, READER), namespace=first.namespace) as client:
            wait_for(client, "secret")
        first("delete", "namespace", first.namespace)
        first("create", "namespace", first.namespace)
        create_account(first, READER)
        grant(first, READER, "get", "agentsessions")
        with gateway.client(mint(first, READER), namespace=first.namespace) as client:
            eventually(lambda: client.get(f"{PATH}/any").status_code == 404, "the binding is known")
            assert client.get(f"{PATH}/secret").status_code == 404
            assert client.get(f"{PATH}/{uid}").status_code == 404


@pytest.mark.requirement("STEP-5")
def test_a_sound_journal_verifies(reader: httpx2.Client, home: Kubectl) -> None:
    create_session(home, "sound")
    write_status(home, "sound", "Starting")
    wait_for(reader, "sound", phase="Starting")
    found = reader.get(f"{PATH}/sound/verify").json()
    assert (found["ok"], found["problems"]) == (True, [])
    assert found["head"] >= 3


def test_levels_are_for_the_operator_alone(gateway: GatewayProcess, home: Kubectl) -> None:
    path = "/internal/v1/levels"
    operator = mint(gateway.kubectl, "agentsessions-operator", "--audience", AUDIENCE)
    namesake = "agentsessions-operator"
    create_account(home, namesake)
    with gateway.client(operator) as client:
        assert client.get(f"{path}/none").status_code == 404
        with client.stream("GET", path) as response:
            assert response.headers["content-type"].startswith("application/x-ndjson")
            lines = response.iter_lines()
            while "synced" not in (line := json.loads(next(lines))):
                assert "sessionUID" in line["level"]
        usage = client.get("/internal/v1/usage", params={"namespace": ["default", home.namespace]})
        assert usage.json()["namespaces"].keys() == {"default", home.namespace}
    with gateway.client(mint(home, namesake, "--audience", AUDIENCE)) as client:
        assert client.get(path).status_code == 403
        assert client.get("/internal/v1/usage", params={"namespace": "default"}).status_code == 403
    with gateway.client(mint(gateway.kubectl, "agentsessions-operator")) as client:
        assert client.get(path).status_code == 401


def test_a_pod_speaks_for_an_agent_only_while_status_names_it(
    gateway: GatewayProcess, home: Kubectl, reader: httpx2.Client
) -> None:
    create_session(home, "fenced")
    create_account(home, "agentsessions-runner")
    first_uid, first_token = mint_for_pod(home, "agentsessions-runner", "fenced-1")
    second_uid, second_token = mint_for_pod(home, "agentsessions-runner", "fenced-2")

    def codes(token: str) -> tuple[int, str]:
        with gateway.client(token) as pod:
            response = pod.get("/runner/v1/turn")
        return response.status_code, response.json().get("code", "")

    assert codes(mint(home, READER)) == (401, "unauthenticated")
    assert codes(mint(home, "agentsessions-runner", "--audience", AUDIENCE)) == (401, "unauthenticated")
    assert codes(first_token) == (425, "not_fenced")
    row = {"name": "agent", "state": "Starting"}
    write_status(home, "fenced", "Starting", agents=[row | {"epoch": 1, "podUID": first_uid}])
    eventually(lambda: codes(first_token)[0] not in {425, 412}, "the first pod may speak")
    write_status(home, "fenced", "Starting", agents=[row | {"epoch": 2, "podUID": second_uid}])
    eventually(lambda: codes(first_token) == (412, "stale_epoch"), "the first pod is fenced off")
    assert codes(second_token)[0] not in {425, 412}
    write_status(home, "fenced", "Failed", stopReason="Timeout")
    eventually(lambda: codes(second_token) == (412, "session_finished"), "the session is over")
    wait_for(reader, "fenced", phase="Failed", stopReason="Timeout")


@pytest.mark.requirement("STEP-2")
def test_a_viewer_sees_each_event_once_over_a_killed_gateway(
    gateway: GatewayProcess, reader: httpx2.Client, home: Kubectl
) -> None:
    create_session(home, "followed")
    write_status(home, "followed", "Starting")
    wait_for(reader, "followed", phase="Starting")
    seen = follow(reader, "followed", 0, until="state")
    gateway.kill()
    write_status(home, "followed", "Running")
    write_status(home, "followed", "Completed", stopReason="GoalReached")
    gateway.start()
    seen += follow(reader, "followed", seen[-1]["seq"], until="done")
    assert [entry["seq"] for entry in seen] == list(range(1, len(seen) + 1))
    assert [entry["type"] for entry in seen] == ["session_start", "message", "state", "state", "done"]
    assert seen[-1]["body"]["stopReason"] == "GoalReached"
    headers = {"Last-Event-ID": str(seen[-1]["seq"])}
    assert reader.get(f"{PATH}/followed/events", headers=headers).status_code == 204


def follow(client: httpx2.Client, name: str, after: int, *, until: str) -> list[dict[str, Any]]:
    """Return the data of events up to one of a type."""
    entries: list[dict[str, Any]] = []
    with client.stream("GET", f"{PATH}/{name}/events", headers={"Last-Event-ID": str(after)}) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                entries.append(json.loads(line.removeprefix("data: ")))
                if entries[-1]["type"] == until:
                    return entries
    raise AssertionError(f"the stream ended before {until}: {entries}")


def test_sessions_that_are_deleted_while_the_gateway_is_away_are_noticed(
    gateway: GatewayProcess, reader: httpx2.Client, home: Kubectl
) -> None:
    create_session(home, "missed")
    wait_for(reader, "missed")
    gateway.kill()
    home("delete", "agentsession", "missed")
    gateway.start()
    eventually(lambda: _deleted(reader, "missed"), "the deletion is known")


def test_a_stop_is_orderly_and_the_next_gateway_serves_under_the_same_ca(
    gateway: GatewayProcess, reader: httpx2.Client
) -> None:
    ca = gateway.ca()
    assert gateway.stop() == 0, gateway.log()
    gateway.start()
    assert gateway.ca() == ca
    assert reader.get(PATH).status_code == 200


def test_health_and_metrics_are_served_in_plain(gateway: GatewayProcess, reader: httpx2.Client) -> None:
    reader.get(f"{PATH}/nobody")
    assert gateway.health("/healthz").status_code == 200
    text = gateway.health("/metrics").text
    assert 'agentsession_gateway_requests_total{method="GET",route="/api/v1/agent-sessions/{session}"' in text
    assert "agentsession_gateway_watch_age_seconds" in text
    assert "nobody" not in text


def test_the_openapi_document_describes_the_user_routes_in_camel_case(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        found = client.get("/api/v1/openapi.json").json()
    acts = ("/pause", "/resume", "/cancel", "/shutdown", "/activate", "/deactivate")
    of_messages = ("/messages/recent", "/messages/count", "/messages/{message}")
    assert set(found["paths"]) == {
        PATH,
        "/api/v1/audit",
        "/api/v1/audit/verify",
        *(f"{PATH}/{{session}}{tail}" for tail in ("/export", "/health", "/metrics", "/replay")),
        *(f"/api/v1/{name}" for name in ("approvals", "compare", "import", "metrics", "stats", "templates")),
        *(f"/api/v1/approvals/{{approval}}/{answer}" for answer in ("approve", "deny", "happened", "run-again")),
        *(f"{PATH}/{{session}}{tail}" for tail in ("/clone", "/mailbox")),
        *(f"{PATH}/{{session}}{tail}" for tail in (*READS, *acts, *of_messages)),
        "/api/v1/conversation",
    }
    fields = {name for schema in found["components"]["schemas"].values() for name in schema.get("properties", ())}
    assert {"phaseStartedAt", "stopReason", "inputTokens"} <= fields
    assert not [name for name in fields if "_" in name]


@pytest.mark.requirement("CONV-1")
@pytest.mark.requirement("ID-1")
def test_who_may_read_a_session_may_not_talk_with_it_until_allowed(
    gateway: GatewayProcess, reader: httpx2.Client, home: Kubectl
) -> None:
    create_session(home, "talkative", conversation={"open": True})
    wait_for(reader, "talkative")
    path = f"{PATH}/talkative/messages"
    refused = reader.post(path, json={"content": "hello"})
    assert refused.status_code == 403
    assert "send agentsessions" in refused.json()["detail"]

    create_account(home, "talker")
    grant(home, "talker", "send", "agentsessions")
    with gateway.client(mint(home, "talker"), namespace=home.namespace) as talker:
        hello = {"content": "hello", "idempotencyKey": "once"}
        eventually(lambda: talker.post(path, json=hello).is_success, "the new right is known")
        sent = talker.post(path, json=hello)
    assert sent.status_code == 201
    assert sent.json()["actor"] == f"system:serviceaccount:{home.namespace}:talker"
    listed = reader.get(path).json()["items"]
    assert [(item["content"], item["state"]) for item in listed] == [("hello", "queued")]
    assert reader.get(f"{path}/{sent.json()['id']}").json() == listed[0]

    write_status(home, "talkative", "Cancelled")
    wait_for(reader, "talkative", phase="Cancelled")
    with gateway.client(mint(home, "talker"), namespace=home.namespace) as talker:
        late = talker.post(path, json={"content": "anybody?"})
    assert (late.status_code, late.json()["code"]) == (409, "session_finished")
