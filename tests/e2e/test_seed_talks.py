"""What users of two earlier systems did over HTTP, done here on real pods: talk to agents, and have goals executed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.product import Json, Product
from tests.e2e.seeds import Api, an_agent

pytestmark = pytest.mark.e2e

ECHO = {"answer": {"text": "You said: ${text}"}}
SLOW = {"answer": {"text": "Still at it.", "delayMilliseconds": 600_000}}


@pytest.mark.requirement("CONV-1")
@pytest.mark.requirement("CONV-2")
@pytest.mark.requirement("LIFE-6")
def test_conversations_keep_messages_that_can_be_read_corrected_and_cleared(
    api: Api, product: Product, namespace: str
) -> None:
    """S3: sessions, their messages, activation, and the conversation in one call."""
    product.create_script(namespace, "echo", ECHO)
    agents = an_agent(instructions="You plan projects.", model={"providerRef": {"name": "echo"}})
    made = api.create(
        sessionId="my-session-001",
        title="Project Planning Chat",
        description="AI assistant for project planning tasks",
        agents=agents,
        conversation={"open": True, "idleSeconds": 600},
    )
    path = f"agent-sessions/{made['name']}"
    assert api.get(path)["sessionId"] == "my-session-001"
    mine = api.get("agent-sessions", owner=made["owner"], limit=10)
    assert ([one["uid"] for one in mine["items"]], mine["total"]) == ([made["uid"]], 1)
    patched = api.send("PATCH", path, 200, {"title": "Updated", "description": "Updated description"})
    assert (patched["title"], patched["description"]) == ("Updated", "Updated description")
    api.act("PUT", f"{path}/deactivate")
    api.await_phase(made["name"], "Paused")
    api.act("PUT", f"{path}/activate")

    talk = {"sessionId": "my-session-001", "messages": [{"role": "user", "content": "Hello, help me plan."}]}
    first = api.send("POST", "conversation", 200, {**talk, "waitSeconds": 110})
    assert first["reply"] == "You said: Hello, help me plan."
    assert (first["uid"], first["messagesCount"]) == (made["uid"], 2)
    again = api.send("POST", "conversation", 200, {"sessionId": "my-session-001", "message": "And then?"})
    assert (again["reply"], again["messagesCount"]) == ("You said: And then?", 4)
    check_messages(api, path)
    check_strangers(api, product, namespace, path)
    assert api.get(f"{path}/verify")["ok"]
    api.send("DELETE", path, 204)


def check_messages(api: Api, path: str) -> None:
    """Do all that can be done with the messages of a session that has four."""
    messages = api.get(f"{path}/messages")["items"]
    assert [one["role"] for one in messages] == ["user", "assistant"] * 2
    note = {"role": "system", "content": "Speak plainly.", "extraData": {"edited": False}}
    stored = api.send("POST", f"{path}/messages", 201, note)
    assert api.get(f"{path}/messages/{stored['id']}")["extraData"] == {"edited": False}
    result = {"role": "tool", "content": "12 tasks", "toolCallId": "call_1", "toolName": "count_tasks"}
    called = api.send("POST", f"{path}/messages", 201, result)
    assert (called["toolCallId"], called["toolName"]) == ("call_1", "count_tasks")
    api.send("DELETE", f"{path}/messages/{called['id']}", 204)
    changed = {"content": "Speak very plainly.", "extraData": {"edited": True}}
    assert api.send("PATCH", f"{path}/messages/{stored['id']}", 200, changed)["content"] == "Speak very plainly."
    assert api.get(f"{path}/messages/count")["count"] == 5
    assert [one["content"] for one in api.get(f"{path}/messages/recent", count=1)["items"]] == ["Speak very plainly."]
    api.send("DELETE", f"{path}/messages/{stored['id']}", 204)
    assert api.send("DELETE", f"{path}/messages", 200) == {"deleted": 4, "kept": 0}
    assert api.get(f"{path}/messages/count")["count"] == 0


def check_strangers(api: Api, product: Product, namespace: str, path: str) -> None:
    """Who has the same rights in the namespace, and is not the owner, changes nothing; who has none reads nothing."""
    said = {"content": "Let me in."}
    for account, role in {"colleague": "edit", "stranger": ""}.items():
        product.kubectl("create", "serviceaccount", account, "-n", namespace)
        if role:
            grant = (f"--clusterrole={role}", f"--serviceaccount={namespace}:{account}")
            product.kubectl("create", "rolebinding", account, "-n", namespace, *grant)
        with product.gateway(product.token_of(namespace, account)) as gateway:
            other = Api(gateway.http, namespace)
            assert other.send("POST", f"{path}/messages", 403, said)["code"] == "forbidden"
            assert other.send("DELETE", path, 403)["code"] == "forbidden"
            if not role:
                assert other.send("GET", f"{path}/messages", 403)["code"] == "forbidden"
    assert api.get(path)["phase"] != "Cancelled"


RESEARCH: list[Json] = [
    {
        "when": {"lastResult": "^"},
        "answer": {"text": "Found: ${result[-1]}"},
    },
    {
        "when": {"text": "^Research"},
        "answer": {
            "text": "I look it up.",
            "toolCalls": [{"name": "shell", "arguments": {"command": "cat notes.txt"}}],
        },
    },
    {
        "when": {"text": "for ever"},
        "answer": {"text": "Again.", "toolCalls": [{"name": "shell", "arguments": {"command": "true"}}]},
    },
    {"when": {"text": "^Fail"}, "answer": {"error": {"status": 400, "code": "invalid_api_key", "message": "bad key"}}},
    {"answer": {"text": "You said: ${text}"}},
]


@pytest.mark.requirement("STEP-1")
@pytest.mark.requirement("STEP-2")
@pytest.mark.requirement("STEP-4")
def test_goals_with_context_and_tools_are_executed_streamed_and_told_again(
    api: Api, product: Product, namespace: str
) -> None:
    """S4: a goal with a file and tools, its events as they come, its steps, its metrics; what stops it."""
    product.create_script(namespace, "research", *RESEARCH)
    product.kubectl("create", "configmap", "notes", "-n", namespace, "--from-literal=notes.txt=agents everywhere")
    file = {"path": "notes.txt", "configMapKeyRef": {"name": "notes", "key": "notes.txt"}}
    made = api.create(
        goal="Research AI trends for 2026",
        context={"files": [file]},
        agents=an_agent(model={"providerRef": {"name": "research"}}, tools=[{"builtin": "Shell"}]),
        limits={"maxSteps": 20, "maxTokens": 80_000, "timeoutSeconds": 300},
    )
    path = f"agent-sessions/{made['name']}"
    events = list(api.events(f"{path}/events"))
    names = [name for name, _ in events if name not in {"delta", "state"}]
    step = ["step_start", "thinking", "tool_call", "tool_result", "step_complete"]
    assert [name for name in names if name in {*step, "output", "session_start", "done"}] == [
        "session_start", *step, "step_start", "output", "step_complete", "done",
    ]  # fmt: skip
    assert json.loads(events[-1][1])["body"]["phase"] == "Completed"

    check_steps(api.get(f"{path}/steps")["items"])
    done = api.get(path)
    assert (done["phase"], "agents everywhere" in done["result"]) == ("Completed", True)
    assert done["usage"]["totalTokens"] == done["usage"]["inputTokens"] + done["usage"]["outputTokens"] > 0
    assert (done["usage"]["steps"], done["usage"]["toolCalls"]) == (2, 1)
    assert api.get(f"{path}/metrics")["durationMilliseconds"] > 0
    told = [name for name, _ in api.events(f"{path}/replay", speed=0) if name != "state"]
    assert told == [*names, "end"]

    endless = api.create(goal="Go on for ever", agents=an_agent(model={"providerRef": {"name": "research"}}),
                         limits={"maxSteps": 2})["name"]  # fmt: skip
    failing = api.create(goal="Fail", agents=an_agent(model={"providerRef": {"name": "research"}}))["name"]
    assert api.await_phase(endless, "Failed")["stopReason"] == "StepLimit"
    failed = api.await_phase(failing, "Failed")
    assert (failed["error"]["code"], "bad key" in failed["error"]["message"]) == ("model_error", True)
    recent = api.get("agent-sessions", phase="Completed", limit=50)["items"]
    assert [(one["uid"], one["goal"]) for one in recent] == [(made["uid"], "Research AI trends for 2026")]
    metrics = api.get("metrics", period="7d")
    assert (metrics["sessions"], metrics["successRate"]) == (3, 0.3333)
    assert metrics["averageDurationMilliseconds"] > 0
    assert api.get("metrics", period="7d", text="research")["successRate"] == 1


def check_steps(steps: list[Json]) -> None:
    """Look at what is known of each step."""
    assert [(one["number"], one["type"]) for one in steps] == [
        (1, "thinking"), (1, "tool_call"), (1, "tool_result"), (2, "output"),
    ]  # fmt: skip
    _, call, result, output = steps
    assert (call["input"]["name"], json.loads(call["input"]["arguments"])) == ("shell", {"command": "cat notes.txt"})
    assert result["output"] == "agents everywhere\n[exit code 0]"
    assert output["output"] == f"Found: {result['output']}"
    assert all(one["durationMilliseconds"] >= 0 for one in steps)
    assert output["inputTokens"] > 0


@pytest.mark.requirement("CONV-3")
def test_conversations_keep_their_context_until_they_are_closed_or_cancelled(
    api: Api, product: Product, namespace: str
) -> None:
    """S4: conversations with options, their history, their end; cancellation and its figures."""
    product.create_script(namespace, "echo", ECHO)
    product.create_script(namespace, "slow", SLOW)
    options: dict[str, Any] = {
        "sessionId": "coding",
        "systemOverride": "You are a helpful coding assistant.",
        "maxHistory": 10,
        "context": {"json": {"user_name": "Alice", "preferences": {"language": "Python"}}},
        "agents": an_agent(model={"providerRef": {"name": "echo"}}),
        "waitSeconds": 110,
    }
    questions = ("What is machine learning?", "Can you give me an example?", "How is it used in healthcare?")
    for question in questions:
        assert question in api.send("POST", "conversation", 200, {**options, "message": question})["reply"]
    talk = api.get("agent-sessions", sessionId="coding")["items"][0]["name"]
    history = api.get(f"agent-sessions/{talk}/messages")["items"]
    assert [one["content"] for one in history if one["role"] == "user"][-3:] == list(questions)
    assert [one["role"] for one in history].count("assistant") == len(questions)
    api.send("PATCH", f"agent-sessions/{talk}", 200, {"conversation": {"open": False}})
    api.await_phase(talk, "Completed")
    ended = {**options, "session": talk, "message": "Still there?"}
    del ended["sessionId"]
    assert api.send("POST", "conversation", 409, ended)["code"] == "session_finished"

    slow = an_agent(model={"providerRef": {"name": "slow"}})
    long = api.create(goal="Very long task", agents=slow)["name"]
    hasty = api.create(goal="Task", agents=slow, limits={"timeoutSeconds": 3})["name"]
    api.await_phase(long, "Running")
    api.act("POST", f"agent-sessions/{long}/cancel")
    api.await_phase(long, "Cancelled")
    assert api.await_phase(hasty, "Failed")["stopReason"] == "Timeout"
