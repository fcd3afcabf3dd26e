"""Sessions made, changed, steered and deleted through the gateway: the API server decides by the caller's own token."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.integration.crds_chart import private_policies
from tests.integration.crds_cluster import Kubectl, a_session, a_template
from tests.integration.gateway_process import (
    PATH,
    WAIT_SECONDS,
    GatewayProcess,
    a_namespace,
    create_account,
    create_session,
    eventually,
    grant,
    mint,
    write_status,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
TALK = "/api/v1/conversation"
MESSAGES = "agentsessions/messages"
JSON_MERGE = ("--type=merge", "-p")


@pytest.fixture(scope="module")
def home(cluster: Kubectl) -> Iterator[Kubectl]:
    """A namespace with the chart's policies, and people of all kinds; blind is who may talk but not watch."""
    with a_namespace(cluster, "changes") as kubectl:
        bundle = private_policies(kubectl.namespace)
        kubectl("create", "-f", "-", manifest=bundle)
        for account in ("alice", "bob", "viewer", "boss"):
            create_account(kubectl, account)
            grant(kubectl, account, "get,list", f"agentsessions,{MESSAGES},agentsessions/events")
        for account in ("alice", "bob", "boss"):
            grant(kubectl, account, "create,patch,delete,pause,resume,cancel,send", "agentsessions")
            grant(kubectl, account, "update,delete", MESSAGES)
        grant(kubectl, "boss", "own", "agentsessions")
        create_account(kubectl, "blind")
        grant(kubectl, "blind", "create,get,list,send", "agentsessions")
        grant(kubectl, "blind", "get", MESSAGES)
        try:
            yield kubectl
        finally:
            kubectl.run("delete", "-f", "-", manifest=bundle)


@pytest.fixture(scope="module")
def gateway(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with a_namespace(cluster, "gateway-test") as kubectl:
        gateway = GatewayProcess(kubectl, tmp_path_factory.mktemp("gateway"))
        create_account(kubectl, "agentsessions-operator")
        gateway.start()
        yield gateway
        gateway.kill()


def name_of(home: Kubectl, account: str) -> str:
    return f"system:serviceaccount:{home.namespace}:{account}"


@pytest.fixture(scope="module")
def people(gateway: GatewayProcess, home: Kubectl) -> Iterator[dict[str, httpx2.Client]]:
    """Clients with the accounts' tokens, once rights and policies are known to the API server."""
    clients = {
        who: gateway.client(mint(home, who), namespace=home.namespace) for who in ("alice", "bob", "viewer", "boss")
    }
    foreign = {"goal": "x", "owner": "somebody", "name": "early"}

    def is_bound() -> bool:
        answer = clients["alice"].post(PATH, json=foreign)
        if answer.status_code == 201:
            home("delete", "ags", "early")
        return "spec.owner is somebody" in answer.text

    eventually(is_bound, "the policies bind")
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def alice(people: dict[str, httpx2.Client]) -> httpx2.Client:
    return people["alice"]


def made(person: httpx2.Client, **body: Any) -> dict[str, Any]:
    """Create a session; return its detail."""
    answer = person.post(PATH, json={"goal": "Say hello."} | body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def problem(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def resource(home: Kubectl, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(home("get", "ags", name, "--show-managed-fields", "-o", "json"))
    return found


# Creating.


@pytest.mark.requirement("OBJ-5")
@pytest.mark.requirement("ID-2")
def test_session_is_created_in_the_callers_name_and_found_at_once(alice: httpx2.Client, home: Kubectl) -> None:
    body = {
        "goal": "Say hello.",
        "title": "Hello, World!",
        "labels": {"team": "a"},
        "annotations": {"why": "to see"},
        "limits": {"maxSteps": 3},
        "metadata": {"ticket": "1"},
    }
    answer = alice.post(PATH, json=body)
    assert answer.status_code == 201
    session = answer.json()
    assert session["name"].startswith("hello-world-")
    assert alice.get(answer.headers["Location"]).json() == session
    assert alice.get(f"{PATH}/{session['name']}").json()["uid"] == session["uid"]
    assert session["spec"]["owner"] == name_of(home, "alice")
    assert (session["limits"]["maxSteps"], session["spec"]["metadata"]) == (3, {"ticket": "1"})
    stored = resource(home, session["name"])
    assert (stored["metadata"]["labels"], stored["metadata"]["annotations"]) == (body["labels"], body["annotations"])
    assert {one["manager"] for one in stored["metadata"]["managedFields"]} == {"agentsessions-gateway"}


@pytest.mark.requirement("ID-1")
@pytest.mark.requirement("ID-2")
def test_right_to_create_and_the_owner_are_the_api_servers_to_judge(
    people: dict[str, httpx2.Client], home: Kubectl
) -> None:
    refused = people["viewer"].post(PATH, json={"goal": "x"})
    assert problem(refused) == (403, "forbidden")
    assert "viewer" in refused.json()["detail"]
    theirs = {"goal": "x", "owner": name_of(home, "bob")}
    refused = people["alice"].post(PATH, json=theirs)
    assert problem(refused) == (403, "forbidden")
    assert "name yourself, leave it out, or ask for the verb own" in refused.json()["detail"]
    assert made(people["boss"], owner=name_of(home, "bob"))["spec"]["owner"] == name_of(home, "bob")
    assert "owner" not in made(people["alice"], owner=None)["spec"]


@pytest.mark.requirement("OBJ-5")
def test_own_id_is_one_sessions_even_when_two_come_at_the_same_time(people: dict[str, httpx2.Client]) -> None:
    body = {"goal": "x", "sessionId": "My/Id-1"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: people["alice"].post(PATH, json=body), range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {problem(answer) for answer in answers if answer.status_code != 201} == {(409, "duplicate_id")}
    assert people["bob"].post(PATH, json=body).status_code == 201
    named = people["alice"].post(PATH, json=body | {"name": "another-name"})
    assert problem(named) == (409, "duplicate_id")


def test_name_that_is_taken_is_told(alice: httpx2.Client) -> None:
    made(alice, name="taken")
    assert problem(alice.post(PATH, json={"goal": "x", "name": "taken"})) == (409, "already_exists")


@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(
    ("body", "names"),
    [
        pytest.param({}, "give spec.goal, or set spec.conversation.open to true", id="a rule of the CRD"),
        pytest.param({"goal": "x", "limits": {"maxSteps": 0}}, "maxSteps", id="a number out of range"),
        pytest.param({"goal": "x", "colour": "red"}, "colour", id="an unknown field"),
        pytest.param({"goal": "x", "name": "Not A Name"}, "name", id="a name that is none"),
        pytest.param({"goal": "x", "labels": {"a b": "c"}}, "a b", id="a label that is none"),
    ],
)
def test_session_that_is_not_valid_is_refused_by_name(alice: httpx2.Client, body: dict[str, Any], names: str) -> None:
    answer = alice.post(PATH, json=body)
    assert problem(answer) == (422, "invalid_request")
    assert names in answer.json()["detail"]


@pytest.mark.requirement("OPS-8")
def test_namespace_that_is_not_there_is_told(people: dict[str, httpx2.Client]) -> None:
    for namespace, want in (("*", (422, "invalid_request")), ("no-such", (403, "forbidden"))):
        assert problem(people["alice"].post(PATH, json={"goal": "x"}, params={"namespace": namespace})) == want


# Changing.


@pytest.mark.requirement("OBJ-5")
def test_what_may_change_is_merged(alice: httpx2.Client, home: Kubectl) -> None:
    session = made(alice, title="old", description="gone", limits={"maxSteps": 3, "maxTokens": 500}, labels={"a": "b"})
    patch = {"title": "new", "description": None, "limits": {"maxSteps": 5}, "labels": {"a": None, "c": "d"}}
    answer = alice.patch(f"{PATH}/{session['uid']}", json=patch)
    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["title"], changed["limits"]["maxSteps"], changed["limits"]["maxTokens"]) == ("new", 5, 500)
    assert "description" not in changed["spec"]
    assert alice.get(f"{PATH}/{session['uid']}").json() == changed
    assert resource(home, session["name"])["metadata"]["labels"] == {"c": "d"}


@pytest.mark.requirement("LIFE-2")
@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(
    ("patch", "says"),
    [
        pytest.param({"goal": "another"}, "goal cannot change after creation", id="what is immutable"),
        pytest.param({"sessionId": None}, "sessionId cannot change after creation", id="what is immutable, removed"),
        pytest.param({"colour": "red"}, "colour", id="what there is not"),
        pytest.param({"operatingMode": "Asleep"}, "operatingMode", id="a mode there is not"),
    ],
)
def test_change_that_is_not_possible_is_refused_by_name(alice: httpx2.Client, patch: dict[str, Any], says: str) -> None:
    session = made(alice)
    answer = alice.patch(f"{PATH}/{session['uid']}", json=patch)
    assert problem(answer) == (422, "invalid_request")
    assert says in answer.json()["detail"]


@pytest.mark.requirement("LIFE-2")
def test_rules_of_the_crd_say_the_same_over_http_and_kubectl(alice: httpx2.Client, home: Kubectl) -> None:
    session = made(alice, conversation={"open": True, "idleSeconds": 5})
    patch = {"conversation": {"idleSeconds": 6}}
    answer = alice.patch(f"{PATH}/{session['uid']}", json=patch)
    assert problem(answer) == (422, "invalid_request")
    sentence = "spec.conversation.idleSeconds cannot change after creation: create a new session"
    assert sentence in answer.json()["detail"]
    assert sentence in home.refusal("patch", "ags", session["name"], *JSON_MERGE, json.dumps({"spec": patch}))


@pytest.mark.requirement("ID-2")
def test_session_of_another_is_left_alone(people: dict[str, httpx2.Client], home: Kubectl) -> None:
    session = made(people["alice"], conversation={"open": True})
    path = f"{PATH}/{session['uid']}"

    def attempts(person: httpx2.Client) -> list[httpx2.Response]:
        return [
            person.patch(path, json={"title": "mine"}),
            *(person.post(f"{path}/{act}") for act in ("pause", "resume", "cancel", "shutdown")),
            *(person.put(f"{path}/{act}") for act in ("activate", "deactivate")),
            person.post(f"{path}/messages", json={"content": "hello"}),
            person.delete(f"{path}/messages"),
            person.delete(path),
        ]

    for answer in attempts(people["bob"]):
        assert problem(answer) == (403, "forbidden")
        assert f"belongs to {name_of(home, 'alice')}" in answer.json()["detail"]
    for answer in attempts(people["viewer"]):
        assert problem(answer) == (403, "forbidden")
    assert people["alice"].get(path).json() == session
    assert people["boss"].patch(path, json={"title": "bosses"}).status_code == 200
    assert people["boss"].delete(path).status_code == 204


def test_change_means_the_session_that_was_found_and_no_later_one_of_its_name(
    alice: httpx2.Client, home: Kubectl
) -> None:
    session = made(alice, name="twice")
    wrong = json.dumps({"metadata": {"uid": "another"}, "spec": {"title": "x"}})
    assert "uid" in home.refusal("patch", "ags", "twice", *JSON_MERGE, wrong)
    home("delete", "ags", "twice")
    made(alice, name="twice")
    answer = alice.patch(f"{PATH}/{session['uid']}", json={"title": "x"})
    assert problem(answer) in {(409, "session_finished"), (422, "invalid_request"), (404, "not_found")}
    assert "title" not in resource(home, "twice")["spec"]


# Acts.


@pytest.mark.requirement("LIFE-2")
@pytest.mark.requirement("LIFE-6")
def test_acts_ask_for_a_mode_and_tell_when_it_is_reached(alice: httpx2.Client, home: Kubectl) -> None:
    session = made(alice)
    name, path = session["name"], f"{PATH}/{session['uid']}"
    write_status(home, name, "Running")
    for answer in (alice.post(f"{path}/pause"), alice.put(f"{path}/deactivate")):
        assert (answer.status_code, answer.json()["operatingMode"]) == (202, "Paused")
    write_status(home, name, "Pausing")
    write_status(home, name, "Paused")
    assert alice.post(f"{path}/pause").status_code == 200
    for answer in (alice.post(f"{path}/resume"), alice.put(f"{path}/activate")):
        assert (answer.status_code, answer.json()["operatingMode"]) == (202, "Running")
    write_status(home, name, "Starting")
    assert alice.put(f"{path}/activate").status_code == 200

    shutdown = {"mode": "forced", "reason": "enough"}
    answer = alice.post(f"{path}/shutdown", json=shutdown)
    assert (answer.status_code, answer.json()["operatingMode"]) == (202, "Cancelled")
    assert answer.json()["spec"]["shutdown"] == {"gracePeriodSeconds": 0, "reason": "enough"}
    write_status(home, name, "Cancelled", stopReason="UserCancelled")
    answers = alice.post(f"{path}/cancel"), alice.post(f"{path}/shutdown", json=shutdown)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert problem(alice.post(f"{path}/shutdown", json=shutdown | {"gracePeriodSeconds": 5}))[0] == 422


@pytest.mark.requirement("LIFE-2")
@pytest.mark.parametrize("act", ["pause", "resume"])
def test_cancelled_session_stays_so_in_the_same_words_by_http_and_kubectl(
    alice: httpx2.Client, home: Kubectl, act: str
) -> None:
    session = made(alice)
    assert alice.post(f"{PATH}/{session['uid']}/cancel").status_code == 202
    answer = alice.post(f"{PATH}/{session['uid']}/{act}")
    assert problem(answer) == (409, "illegal_state")
    sentence = "a cancelled session stays cancelled: create a new session instead"
    assert sentence in answer.json()["detail"]
    by_kubectl = home.refusal("patch", "ags", session["name"], *JSON_MERGE, '{"spec": {"operatingMode": "Running"}}')
    assert sentence in by_kubectl


@pytest.mark.requirement("LIFE-2")
def test_finished_session_takes_no_acts_in_the_same_words_by_http_and_kubectl(
    alice: httpx2.Client, home: Kubectl
) -> None:
    session = made(alice)
    path = f"{PATH}/{session['uid']}"
    for phase in ("Running", "Completed"):
        write_status(home, session["name"], phase)
    sentence = "session is finished (Completed): operatingMode cannot change; create a new session"
    for answer in (
        *(alice.post(f"{path}/{act}") for act in ("pause", "resume", "cancel", "shutdown")),
        *(alice.put(f"{path}/{act}") for act in ("activate", "deactivate")),
        alice.patch(path, json={"operatingMode": "Paused"}),
    ):
        assert problem(answer) == (409, "illegal_state")
        assert sentence in answer.json()["detail"]
    patch = '{"spec": {"operatingMode": "Paused"}}'
    assert sentence in home.refusal("patch", "ags", session["name"], *JSON_MERGE, patch)
    assert alice.patch(path, json={"title": "still mine to name"}).status_code == 200


# Deleting.


@pytest.mark.requirement("STEP-3")
def test_deleted_session_leaves_its_journal(alice: httpx2.Client, home: Kubectl) -> None:
    session = made(alice, name="leaves")
    path = f"{PATH}/{session['uid']}"
    assert alice.delete(f"{PATH}/leaves").status_code == 204
    assert "NotFound" in home.refusal("get", "ags", "leaves")
    assert "deletedAt" in alice.get(path).json()
    for answer in (alice.delete(path), alice.patch(path, json={"title": "x"}), alice.post(f"{path}/pause")):
        assert problem(answer) == (409, "session_finished")
    assert made(alice, name="leaves")["uid"] != session["uid"]


def test_session_with_a_finalizer_is_accepted_for_deletion(alice: httpx2.Client, home: Kubectl) -> None:
    held = a_session("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    home("create", "-f", "-", manifest=held)
    eventually(lambda: alice.get(f"{PATH}/held").status_code == 200, "the session is known")
    assert alice.delete(f"{PATH}/held").status_code == 202
    home("patch", "ags", "held", *JSON_MERGE, '{"metadata": {"finalizers": null}}')


# Talking.


@pytest.mark.requirement("CONV-2")
@pytest.mark.requirement("CONV-3")
def test_conversation_is_made_once_for_an_id(alice: httpx2.Client, home: Kubectl) -> None:
    body = {
        "sessionId": "chat-1",
        "message": "Hello",
        "title": "Planning",
        "agent": {"name": "planner", "model": {"name": "m"}},
        "systemOverride": "You plan.",
        "maxHistory": 10,
        "context": {"json": {"user": "Alice"}},
        "waitSeconds": 0,
    }
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda n: alice.post(TALK, json=body | {"message": f"Hello {n}"}), range(3)))
    assert [answer.status_code for answer in answers] == [202] * 3, [answer.text for answer in answers]
    (uid,) = {answer.json()["uid"] for answer in answers}
    found = alice.get(f"{PATH}/{uid}").json()
    assert found["spec"]["conversation"] == {"open": True, "maxHistory": 10}
    assert found["spec"]["agents"] == [{"name": "planner", "model": {"name": "m"}, "instructions": "You plan."}]
    assert found["spec"]["owner"] == name_of(home, "alice")
    assert alice.get(f"{PATH}/{uid}/messages/count").json() == {"count": 3}
    message = alice.get(answers[0].headers["Location"]).json()
    assert (message["content"], message["state"]) == ("Hello 0", "queued")

    later = alice.post(
        TALK, json={"sessionId": "chat-1", "message": "More", "waitSeconds": 0, "systemOverride": "Now!"}
    )
    assert later.json()["uid"] == uid
    assert later.json()["messagesCount"] == 5
    assert [item["role"] for item in alice.get(f"{PATH}/{uid}/messages").json()["items"]][-2:] == ["system", "user"]


@pytest.mark.requirement("CONV-2")
def test_call_without_an_id_makes_one_session_for_a_key(alice: httpx2.Client) -> None:
    body = {"message": "Hello", "waitSeconds": 0}
    keyed = [alice.post(TALK, json=body, headers={"Idempotency-Key": "same"}).json() for _ in range(2)]
    assert keyed[0] == keyed[1]
    fresh = {alice.post(TALK, json=body).json()["uid"] for _ in range(2)}
    assert len(fresh | {keyed[0]["uid"]}) == 3


@pytest.mark.requirement("CONV-2")
@pytest.mark.requirement("ID-2")
def test_conversations_of_others_are_others(people: dict[str, httpx2.Client]) -> None:
    body = {"sessionId": "private", "message": "Hello", "waitSeconds": 0}
    uids = {who: people[who].post(TALK, json=body).json()["uid"] for who in ("alice", "bob")}
    assert uids["alice"] != uids["bob"]
    refused = people["bob"].post(TALK, json={"session": uids["alice"], "message": "Hi", "waitSeconds": 0})
    assert problem(refused) == (403, "forbidden")
    refused = people["viewer"].post(TALK, json=body)
    assert problem(refused) == (403, "forbidden")
    assert "send agentsessions" in refused.json()["detail"]


@pytest.mark.requirement("CONV-2")
@pytest.mark.requirement("ID-1")
def test_who_may_not_watch_is_refused_a_stream_before_anything_is_made_or_said(
    gateway: GatewayProcess, home: Kubectl, people: dict[str, httpx2.Client]
) -> None:
    there = made(people["alice"], goal=None, owner=None, conversation={"open": True})
    with gateway.client(mint(home, "blind"), namespace=home.namespace) as blind:
        for meant in ({"sessionId": "unseen"}, {"session": there["uid"]}):
            refused = blind.post(TALK, json=meant | {"message": "Hello", "stream": True})
            assert problem(refused) == (403, "forbidden")
            assert "get agentsessions/events" in refused.json()["detail"]
        assert blind.get(PATH, params={"text": "unseen"}).json()["items"] == []
        assert blind.get(f"{PATH}/{there['uid']}/messages/count").json()["count"] == 0


@pytest.mark.requirement("CONV-2")
def test_call_that_waits_hears_of_the_sessions_end_at_once(alice: httpx2.Client, home: Kubectl) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        body = {"sessionId": "doomed", "message": "Hello", "waitSeconds": 15}
        waiting = pool.submit(alice.post, TALK, json=body)
        found = eventually(lambda: alice.get(PATH, params={"text": "doomed"}).json()["items"], "the session is made")
        alice.post(f"{PATH}/{found[0]['uid']}/cancel")
        write_status(home, found[0]["name"], "Cancelled", stopReason="UserCancelled")
        answer = waiting.result(WAIT_SECONDS)
    assert problem(answer) == (409, "not_answered")
    assert "Cancelled (UserCancelled)" in answer.json()["detail"]
    assert time.monotonic() - began < 15


def test_kubectls_sessions_are_changed_alike(alice: httpx2.Client, home: Kubectl) -> None:
    uid = create_session(home, "by-kubectl")
    eventually(lambda: alice.get(f"{PATH}/{uid}").status_code == 200, "the session is known")
    assert alice.post(f"{PATH}/by-kubectl/pause").json()["operatingMode"] == "Paused"
    assert resource(home, "by-kubectl")["spec"]["operatingMode"] == "Paused"


@pytest.mark.requirement("OPS-9")
@pytest.mark.requirement("AG-6")
def test_templates_are_listed_in_pages_to_who_may_list_them(people: dict[str, httpx2.Client], home: Kubectl) -> None:
    grant(home, "alice", "list", "agentsessiontemplates")
    env = [{"name": "LOG_LEVEL", "value": "info"}]
    for name in ("writer", "analyst", "editor"):
        session = {"agents": [{"name": name}]}
        home("create", "-f", "-", manifest=a_template(name, session=session, overridable=["limits"], env=env))

    def pages() -> list[Any]:
        query = {"limit": 2}
        found = [people["alice"].get("/api/v1/templates", params={**query, "offset": offset}) for offset in (0, 2)]
        return [one.json() for one in found if one.is_success]

    eventually(lambda: len(pages()) == 2, "the right is known")
    first, rest = pages()
    assert [one["name"] for one in first["items"] + rest["items"]] == ["analyst", "editor", "writer"]
    assert (first["total"], first["limit"], rest["offset"]) == (3, 2, 2)
    analyst = first["items"][0]
    assert (analyst["session"], analyst["env"]) == ({"agents": [{"name": "analyst"}]}, {"LOG_LEVEL": "info"})
    assert analyst["overridable"] == ["limits"]
    refused = people["bob"].get("/api/v1/templates")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
