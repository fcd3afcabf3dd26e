"""Several agents in one session, on real pods: what dies, what fails, what changes hands, what is done again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.commandline import ACCOUNT, let_speak
from tests.e2e.faults import kill_containers, until
from tests.e2e.product import Json, Product

pytestmark = pytest.mark.e2e

OTHERS = ("north", "east", "south", "west")
ORDER = (*OTHERS, "north")
NAME = "crew"


def ask(step: int, agent: str) -> Json:
    call = {"name": "delegate", "arguments": {"agent": agent, "task": f"task {step}"}}
    return {"when": {"agent": "director", "step": step}, "answer": {"toolCalls": [call]}}


RULES: tuple[Json, ...] = (
    *(ask(step, agent) for step, agent in enumerate(ORDER, 1)),
    {"when": {"agent": "director"}, "answer": {"text": "All ${result[-1]}"}},
    {"when": {"step": 1}, "answer": {"toolCalls": [{"name": "shell", "arguments": {"command": "sleep 3; echo ok"}}]}},
    {"answer": {"text": "did ${text}"}},
)


def at_work(agent: str) -> Callable[[Json], bool]:
    """Return whether an agent's pod runs."""

    def holds(session: Json) -> bool:
        rows = session.get("status", {}).get("agents") or []
        return any(row["name"] == agent and row["state"] == "Running" for row in rows)

    return holds


@pytest.mark.requirement("AG-3")
@pytest.mark.requirement("OBJ-7")
@pytest.mark.slow
def test_every_task_is_given_and_answered_once_although_pods_of_two_agents_die(
    product: Product, namespace: str
) -> None:
    product.create_script(namespace, "script", *RULES)
    agents: list[Any] = [{"name": "director", "tools": []}, *({"name": name} for name in OTHERS)]
    product.create_session(
        namespace,
        NAME,
        goal="Have it done.",
        agents=[{**agent, "model": {"providerRef": {"name": "script"}}} for agent in agents],
        coordination={"strategy": "Director", "maxHandoffs": 10},
        limits={"maxSteps": 40, "timeoutSeconds": 600},
        retry={"initialBackoffSeconds": 1},
    )
    seen = product.wait_for(namespace, NAME, at_work("east"), "with agent east at work")
    pods = {row["name"]: row["podName"] for row in seen["status"]["agents"]}
    for agent in ("director", "east"):
        kill_containers(product, namespace, pods[agent])
    done = product.wait_phase(namespace, NAME, "Completed", seconds=600)
    assert done["status"]["result"] == "All did task 5"
    entries = product.entries(namespace, NAME)
    told = [(e["agent"], e["body"]["content"]) for e in entries if e["type"] == "message" and e["agent"]]
    assert told == [(agent, f"task {step}") for step, agent in enumerate(ORDER, 1)]
    answers = [e["body"] for e in entries if e["type"] == "tool_result" and e["agent"] == "director"]
    assert [body["output"] for body in answers] == [f"did task {step}" for step in range(1, 6)]
    assert len({body["callId"] for body in answers}) == len(ORDER)
    rows = {row["name"]: row for row in done["status"]["agents"]}
    assert list(rows) == ["director", *OTHERS]
    assert (rows["director"]["epoch"], rows["east"]["epoch"]) == (2, 2)
    assert (rows["north"]["epoch"], rows["south"]["epoch"], rows["west"]["epoch"]) == (2, 1, 1)
    assert sum(row["steps"] for row in rows.values()) == done["status"]["usage"]["steps"]
    assert sum(row["tokens"] for row in rows.values()) == done["status"]["usage"]["totalTokens"]


PASS_ON: Json = {"name": "transfer_to_engineer", "arguments": {}}
TEAM: tuple[Json, ...] = (
    {"when": {"agent": "broken"}, "answer": {"error": {"status": 400, "message": "no such model"}}},
    {"when": {"agent": "sum"}, "answer": {"text": "Sum of: ${text}"}},
    {"when": {"agent": "desk", "text": "broken"}, "answer": {"toolCalls": [PASS_ON]}},
    {"when": {"agent": "engineer"}, "answer": {"text": "I looked at: ${text}"}},
    {"when": {"step": 1}, "answer": {"toolCalls": [{"name": "shell", "arguments": {"command": "echo ok"}}]}},
    {"answer": {"text": "fine"}},
)


def named(*names: str, **more: Any) -> list[Json]:
    return [{"name": name, "model": {"providerRef": {"name": "team"}}, **more.get(name, {})} for name in names]


@pytest.mark.requirement("AG-3")
@pytest.mark.requirement("STEP-4")
def test_team_goes_on_without_one_passes_a_conversation_on_and_is_replayed(product: Product, namespace: str) -> None:
    product.create_script(namespace, "team", *TEAM)
    both = named("good", "sum", sum={"dependsOn": ["good"]})
    beside: Json = {"coordination": {"strategy": "Parallel"}, "agents": both}
    product.create_session(namespace, "whole", goal="Go.", **beside)
    product.create_session(
        namespace,
        "tolerant",
        goal="Go.",
        coordination={"strategy": "Parallel", "onFailure": "Continue"},
        agents=named("good", "broken", "sum", sum={"dependsOn": ["good", "broken"]}),
        retry={"maxRetries": 0},
    )
    product.create_session(
        namespace,
        "talk",
        conversation={"open": True, "idleSeconds": 2},
        coordination={"strategy": "Handoff"},
        agents=named("desk", "engineer"),
    )
    check_conversation(product, namespace)

    done = product.wait_phase(namespace, "tolerant", "Completed")
    assert done["status"]["result"].startswith("Sum of: ## good\n\nfine\n\n## broken\n\n(agent broken failed: ")
    states = {row["name"]: row["state"] for row in done["status"]["agents"]}
    assert states == {"good": "Ended", "broken": "Failed", "sum": "Ended"}

    product.wait_phase(namespace, "whole", "Completed")
    product.create_session(namespace, "again", replay={"of": {"name": "whole"}}, **beside)
    again = product.wait_phase(namespace, "again", "Completed")
    assert again["status"]["result"] == "Recorded replay of whole: 3 steps, no difference"
    assert again["status"]["usage"].get("totalTokens", 0) == 0


def check_conversation(product: Product, namespace: str) -> None:
    """The desk answers, passes on what it cannot do, and who has the conversation keeps it, also over an idle time."""
    let_speak(product, namespace)
    with product.gateway(product.token_of(namespace, ACCOUNT)) as gateway:

        def say(text: str) -> str:
            body = {"session": "talk", "message": text, "waitSeconds": 120}
            answer = gateway.http.post("/api/v1/conversation", params={"namespace": namespace}, json=body)
            assert answer.status_code == 200, answer.text  # OK
            return str(answer.json()["reply"])

        where = {"params": {"namespace": namespace}}
        until(lambda: gateway.http.get("/api/v1/agent-sessions/talk", **where).is_success, "the gateway knows it")
        assert say("Hello.") == "fine"
        assert say("It is broken.") == "I looked at: It is broken."
        product.wait_phase(namespace, "talk", "Idle")
        assert say("Still?") == "I looked at: Still?"
    product.patch_session(namespace, "talk", conversation={"open": False})
    product.wait_phase(namespace, "talk", "Completed")
