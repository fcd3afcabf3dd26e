"""The conversation call and the messages' routes, as a program uses them: real pods, a scripted model."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import httpx2
import pytest

from tests.e2e.faults import until
from tests.e2e.product import LONG_SECONDS, Json, Product

pytestmark = pytest.mark.e2e

TALK = "/api/v1/conversation"
SESSIONS = "/api/v1/agent-sessions"
SPEAKER = "speaker"
RULES = [
    {"when": {"text": "slow"}, "answer": {"text": "${text}: at last", "delayMilliseconds": 3000}},
    {"when": {"step": 1}, "answer": {"text": "first: ${text}"}},
    {"when": {"step": 2}, "answer": {"text": "second: ${text}"}},
    {"answer": {"text": "later: ${text}"}},
]
"""A step is one more than the answers that the model is shown: it tells whether the context was kept."""


@pytest.fixture
def person(product: Product, namespace: str) -> Iterator[httpx2.Client]:
    """Somebody who may talk and make sessions in the namespace, and a model there."""
    product.create_script(namespace, "steps", *RULES)
    product.kubectl("create", "serviceaccount", SPEAKER, "-n", namespace)
    binding = ("create", "rolebinding", SPEAKER, "--clusterrole=edit", f"--serviceaccount={namespace}:{SPEAKER}")
    product.kubectl(*binding, "-n", namespace)
    with product.gateway(product.token_of(namespace, SPEAKER)) as gateway:
        gateway.http.headers["X-Namespace"] = namespace
        gateway.http.timeout = LONG_SECONDS
        until(lambda: gateway.http.get(SESSIONS).status_code == 200, "the binding is known")
        yield gateway.http


def asking(message: str, **more: object) -> Json:
    """Return the body of a call."""
    agent = {"name": "helper", "model": {"providerRef": {"name": "steps"}}, "tools": []}
    body: Json = {"sessionId": "planning", "title": "Planning chat", "agent": agent, "message": message}
    return body | {"waitSeconds": 120, "limits": {"maxSteps": 100}} | more


def say(person: httpx2.Client, message: str, **more: object) -> Json:
    answer = person.post(TALK, json=asking(message, **more))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def close(product: Product, namespace: str, person: httpx2.Client, name: str) -> None:
    """End a conversation, and wait until it is Completed."""
    assert person.patch(f"{SESSIONS}/{name}", json={"conversation": {"open": False}}).status_code == 200
    product.wait_phase(namespace, name, "Completed")


@pytest.mark.requirement("CONV-2")
@pytest.mark.requirement("CONV-3")
def test_conversation_begins_with_one_call_and_goes_on_with_the_next(
    product: Product, namespace: str, person: httpx2.Client
) -> None:
    first = say(person, "one", idempotencyKey="k1")
    second = say(person, "two")
    assert (first["reply"], second["reply"]) == ("first: one", "second: two")
    assert first["uid"] == second["uid"]
    assert (second["messagesCount"], second["sessionId"], second["usage"]["steps"]) == (4, "planning", 2)
    repeated = say(person, "one", idempotencyKey="k1")
    assert (repeated["messageId"], repeated["reply"]) == (first["messageId"], first["reply"])
    name = first["session"]
    (agent,) = product.session(namespace, name)["status"]["agents"]
    assert agent["epoch"] == 1
    close(product, namespace, person, name)
    said = [(item["role"], item["content"]) for item in person.get(f"{SESSIONS}/{name}/messages").json()["items"]]
    assert said == [("user", "one"), ("assistant", "first: one"), ("user", "two"), ("assistant", "second: two")]
    late = person.post(TALK, json=asking("three"))
    assert (late.status_code, late.json()["code"]) == (409, "session_finished")


@pytest.mark.requirement("CONV-2")
def test_answer_that_takes_longer_is_found_where_the_call_points_to(
    product: Product, namespace: str, person: httpx2.Client
) -> None:
    name = say(person, "one")["session"]
    body = asking("slow", waitSeconds=1, idempotencyKey="k")
    answer = person.post(TALK, json=body)
    assert answer.status_code == 202
    until(lambda: person.get(answer.headers["Location"]).json()["state"] == "answered", "the message is answered")
    assert person.post(TALK, json=body).json()["reply"] == "slow: at last"
    close(product, namespace, person, name)


@pytest.mark.requirement("CONV-2")
@pytest.mark.requirement("STEP-2")
def test_answer_is_streamed(product: Product, namespace: str, person: httpx2.Client) -> None:
    events: list[str] = []
    headers = {"Accept": "text/event-stream"}
    with person.stream("POST", TALK, json=asking("one"), headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("event: "):
                events.append(line.removeprefix("event: "))
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
    assert [event for event in events if event != "delta"][-4:] == ["step_start", "output", "step_complete", "reply"]
    assert "delta" not in events[events.index("output") :], "what is under way is not told behind what is written"
    assert data["reply"] == "first: one"
    close(product, namespace, person, data["session"])


@pytest.mark.requirement("CONV-1")
@pytest.mark.requirement("STEP-5")
def test_what_was_said_is_changed_and_later_turns_are_shown_what_is_left(
    product: Product, namespace: str, person: httpx2.Client
) -> None:
    first = say(person, "my number is 12345")
    path = f"{SESSIONS}/{first['session']}/messages"
    edited = person.patch(f"{path}/{first['messageId']}", json={"content": "my number is a secret"})
    assert edited.json()["content"] == "my number is a secret"
    reply = person.get(path, params={"role": "assistant"}).json()["items"][0]
    assert person.delete(f"{path}/{reply['id']}").status_code == 204
    assert say(person, "and now?")["reply"] == "first: and now?", "no answer of its own is left"
    result = {"content": "42 rows", "role": "tool", "toolCallId": "mine", "toolName": "count_rows"}
    assert person.post(path, json=result).status_code == 201
    assert person.post(path, json={"content": "Be brief.", "role": "system"}).status_code == 201
    assert say(person, "go on")["reply"] == "second: go on", "the model takes a result that was sent"
    listed = person.get(path).json()["items"]
    assert "12345" not in json.dumps(listed)
    assert "12345" not in json.dumps(product.entries(namespace, first["session"]))
    assert person.delete(path).json()["kept"] == 0
    assert say(person, "hello?")["reply"] == "first: hello?"
    verified = person.get(f"{SESSIONS}/{first['session']}/verify").json()
    assert (verified["ok"], verified["problems"]) == (True, [])
    close(product, namespace, person, first["session"])


@pytest.mark.requirement("LIFE-6")
@pytest.mark.requirement("LIFE-7")
def test_session_is_made_steered_and_deleted_over_http(product: Product, namespace: str, person: httpx2.Client) -> None:
    name = f"steered-{uuid.uuid4().hex[:6]}"
    agents = [{"name": "helper", "model": {"providerRef": {"name": "steps"}}, "tools": []}]
    body = {"name": name, "conversation": {"open": True}, "agents": agents, "title": "Steered"}
    created = person.post(SESSIONS, json=body)
    assert created.status_code == 201, created.text
    path = f"{SESSIONS}/{name}"
    assert person.put(f"{path}/deactivate").json()["operatingMode"] == "Paused"
    product.wait_phase(namespace, name, "Paused")
    assert person.post(f"{path}/messages", json={"content": "one"}).status_code == 201
    assert person.put(f"{path}/activate").json()["operatingMode"] == "Running"
    until(lambda: person.get(f"{path}/messages/recent").json()["items"][-1]["role"] == "assistant", "it is answered")
    ended = person.post(f"{path}/shutdown", json={"mode": "forced", "reason": "enough"})
    assert ended.status_code == 202
    cancelled = product.wait_phase(namespace, name, "Cancelled")
    assert cancelled["status"]["podsRemaining"] == 0
    refused = person.post(f"{path}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_state")
    assert person.delete(path).status_code == 204
    assert person.get(f"{path}/messages/count").json() == {"count": 2}
