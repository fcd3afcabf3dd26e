"""What users of five earlier systems did over HTTP, done here: one walk through each, on real pods.

The words are ours (docs/lifecycle.md has the table); what each walk asks for is what that system's guide shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.product import Product
from tests.e2e.seeds import Api, a_user

pytestmark = pytest.mark.e2e

ECHO = {"answer": {"text": "You said: ${text}"}}
SLOW = {"answer": {"text": "Still at it.", "delayMilliseconds": 600_000}}
EARLY_EVENTS = ["session_start", "step_start"]


@pytest.fixture
def api(product: Product, namespace: str) -> Iterator[Api]:
    with a_user(product, namespace) as api:
        yield api


def an_agent(**fields: object) -> list[dict[str, object]]:
    return [{"name": "agent", **fields}]


@pytest.mark.requirement("OPS-1")
@pytest.mark.requirement("OBJ-5")
def test_operations_sessions_of_two_types_are_made_found_counted_and_deleted(api: Api) -> None:
    """S0: typed sessions with an id of one's own, an objective and a context."""
    body = {"sessionId": "sim-ops-2026-001", "type": "Custom", "goal": "Simulate incident detection."}
    made = {"Custom": api.create(**body, context={"json": {"policy": "ops", "agents": ["Detection"]}})}
    rounds = {"intervalSeconds": 1, "durationSeconds": 2}
    made["Metrics"] = api.create(sessionId="metrics-001", type="Metrics", goal="Collect metrics.", schedule=rounds)
    assert [one["sessionId"] for one in made.values()] == ["sim-ops-2026-001", "metrics-001"]
    again = api.send("POST", "agent-sessions", 409, {"sessionId": "metrics-001", "goal": "Again."})
    assert again["code"] == "duplicate_id"

    for one in made.values():
        api.await_phase(one["name"], "Completed")
    found = api.get("agent-sessions", type="Metrics", phase="Completed")
    assert [one["name"] for one in found["items"]] == [made["Metrics"]["name"]]
    assert found["total"] == 1
    stats = api.get("stats")
    assert stats["total"] == 2
    assert stats["byType"] == {"Custom": 1, "Metrics": 1}
    assert stats["byPhase"] == {"Completed": 2}

    name = made["Custom"]["name"]
    refused = api.send("PATCH", f"agent-sessions/{name}", 422, {"phase": "Failed"})
    assert "phase" in refused["detail"], "a state is not set, it is reached"
    api.send("DELETE", f"agent-sessions/{name}", 204)
    assert api.send("GET", "agent-sessions/no-such-session", 404)["code"] == "not_found"
    assert api.send("POST", "agent-sessions", 422, {"type": "Nonsense", "goal": "No."})["code"] == "invalid_request"


@pytest.mark.requirement("OPS-9")
@pytest.mark.requirement("LIFE-2")
def test_analysis_sessions_are_titled_paged_paused_and_resumed(api: Api, product: Product, namespace: str) -> None:
    """S1: modes, title and metadata, lists in pages, pause and resume, and refusals that say why."""
    product.create_script(namespace, "slow", SLOW)
    agents = an_agent(model={"providerRef": {"name": "slow"}})
    body = {"mode": "FullAutonomy", "goal": "Analyse.", "metadata": {"department": "finance"}, "agents": agents}
    names = [api.create(**body, title=f"Monthly sales {n}")["name"] for n in range(3)]

    page = api.get("agent-sessions", text="monthly sales", limit=2, offset=0, sort="name")
    assert (len(page["items"]), page["total"], page["limit"]) == (2, 3, 2)
    rest = api.get("agent-sessions", text="monthly sales", limit=2, offset=2, sort="name")
    assert [one["name"] for one in page["items"] + rest["items"]] == names

    first = names[0]
    patched = api.send("PATCH", f"agent-sessions/{first}", 200, {"title": "Sales", "metadata": {"department": "hr"}})
    assert (patched["title"], patched["metadata"]) == ("Sales", {"department": "hr"})
    api.await_phase(first, "Running")
    api.act("POST", f"agent-sessions/{first}/pause")
    api.await_phase(first, "Paused")
    api.act("POST", f"agent-sessions/{first}/resume")
    api.await_phase(first, "Running")
    for name in names:
        api.act("POST", f"agent-sessions/{name}/cancel")
        api.await_phase(name, "Cancelled")
    refused = api.send("POST", f"agent-sessions/{first}/pause", 409)
    assert refused["code"] == "illegal_state"
    assert "Cancelled" in refused["detail"]
    kubectl = product.kubectl(
        *("patch", "agentsession", first, "-n", namespace, "--type=merge", "-p", '{"spec":{"operatingMode":"Paused"}}'),
        check=False,
    )
    reason = kubectl.stderr.partition("Invalid value: ")[2].partition(": ")[2].strip()
    assert reason
    assert reason in refused["detail"], "kubectl and HTTP say the same"


@pytest.mark.requirement("OPS-2")
@pytest.mark.requirement("LIFE-7")
def test_orchestrated_sessions_are_found_by_label_watched_and_shut_down(api: Api) -> None:
    """S2: domains, search, health, statistics, performance, graceful and forced shutdown."""
    open_talk = {"conversation": {"open": True, "idleSeconds": 600}, "goal": "Be ready."}
    director = api.create(name="main-director", metadata={"version": "1.0.0"}, **open_talk)["name"]
    names = [director]
    names += [api.create(name=f"data-{n}", labels={"domain": "data"}, **open_talk)["name"] for n in (1, 2)]
    for name in names:
        api.await_session(name, lambda session: session["usage"]["turns"] >= 1, "answering")

    departments = api.get("agent-sessions", label="domain=data", phase="Running", sort="name")
    assert [one["name"] for one in departments["items"]] == ["data-1", "data-2"]
    assert [one["name"] for one in api.get("agent-sessions", text="director")["items"]] == ["main-director"]
    health = api.get(f"agent-sessions/{director}/health")
    assert health["status"] == "healthy"
    assert health["messageQueue"] == 0
    assert health["uptimeSeconds"] >= 0
    assert health["lastActivity"]
    performance = api.get(f"agent-sessions/{director}/metrics")
    assert performance["errorRate"] == 0
    assert api.get("stats")["byRole"] == {"Worker": 3}

    for name in names[1:]:
        body = {"mode": "graceful", "gracePeriodSeconds": 10, "reason": "completed-work"}
        api.act("POST", f"agent-sessions/{name}/shutdown", body)
    api.act("POST", f"agent-sessions/{director}/shutdown", {"mode": "forced", "reason": "orchestration-complete"})
    ended = [api.await_phase(name, "Cancelled") for name in names]
    assert [one["spec"]["shutdown"]["reason"] for one in ended] == ["orchestration-complete", *["completed-work"] * 2]


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

    messages = api.get(f"{path}/messages")["items"]
    assert [one["role"] for one in messages] == ["user", "assistant"] * 2
    note = {"role": "system", "content": "Speak plainly.", "extraData": {"edited": False}}
    stored = api.send("POST", f"{path}/messages", 201, note)
    assert api.get(f"{path}/messages/{stored['id']}")["extraData"] == {"edited": False}
    changed = {"content": "Speak very plainly.", "extraData": {"edited": True}}
    assert api.send("PATCH", f"{path}/messages/{stored['id']}", 200, changed)["content"] == "Speak very plainly."
    assert api.get(f"{path}/messages/count")["count"] == 5
    assert [one["content"] for one in api.get(f"{path}/messages/recent", count=1)["items"]] == ["Speak very plainly."]
    api.send("DELETE", f"{path}/messages/{stored['id']}", 204)
    assert api.send("DELETE", f"{path}/messages", 200) == {"deleted": 4, "kept": 0}
    assert api.get(f"{path}/messages/count")["count"] == 0
    assert api.get(f"{path}/verify")["ok"]
    api.send("DELETE", path, 204)


@pytest.mark.requirement("STEP-1")
@pytest.mark.requirement("STEP-2")
@pytest.mark.requirement("CONV-3")
def test_goals_with_context_and_limits_are_executed_streamed_measured_and_cancelled(
    api: Api, product: Product, namespace: str
) -> None:
    """S4: goal, context, limits; steps, events, metrics; conversations with options; cancellation."""
    product.create_script(namespace, "echo", ECHO)
    product.create_script(namespace, "slow", SLOW)
    limits = {"maxSteps": 20, "maxTokens": 80_000, "timeoutSeconds": 300}
    made = api.create(
        goal="Summarize this document",
        context={"json": {"document": "Long text.", "format": "bullet_points"}},
        agents=an_agent(model={"providerRef": {"name": "echo"}}),
        limits=limits,
    )
    events = list(api.events(f"agent-sessions/{made['name']}/events"))
    names = [name for name, _ in events if name != "delta"]
    assert names[0] == "session_start"
    assert names[-1] == "done"
    assert {"message", "step_start", "output", "step_complete", "state"} <= set(names)
    assert json.loads(events[-1][1])["body"]["phase"] == "Completed"
    (step,) = [one for one in api.get(f"agent-sessions/{made['name']}/steps")["items"] if one["type"] == "output"]
    assert step["number"] == 1
    assert "Summarize this document" in step["output"]
    assert step["durationMilliseconds"] >= 0
    done = api.get(f"agent-sessions/{made['name']}")
    assert done["usage"]["totalTokens"] == done["usage"]["inputTokens"] + done["usage"]["outputTokens"] > 0

    options = {
        "sessionId": "coding",
        "systemOverride": "You are a helpful coding assistant.",
        "maxHistory": 10,
        "context": {"json": {"user_name": "Alice", "preferences": {"language": "Python"}}},
        "agents": an_agent(model={"providerRef": {"name": "echo"}}),
        "waitSeconds": 110,
    }
    for question in ("What is machine learning?", "Can you give me an example?"):
        assert question in api.send("POST", "conversation", 200, {**options, "message": question})["reply"]
    talk = api.get("agent-sessions", sessionId="coding")["items"][0]["name"]
    assert len(api.get(f"agent-sessions/{talk}/messages", role="assistant")["items"]) == 2
    api.send("PATCH", f"agent-sessions/{talk}", 200, {"conversation": {"open": False}})
    api.await_phase(talk, "Completed")

    long = api.create(goal="Very long task", agents=an_agent(model={"providerRef": {"name": "slow"}}))["name"]
    api.await_phase(long, "Running")
    api.act("POST", f"agent-sessions/{long}/cancel")
    api.await_phase(long, "Cancelled")
    metrics = api.get("metrics", period="7d")
    assert metrics["sessions"] == 3
    assert 0 < metrics["successRate"] < 1
    assert metrics["averageDurationMilliseconds"] > 0
