"""Several agents in one session, on real pods: what dies, what fails, what changes hands, what is done again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.commandline import ACCOUNT, let_speak
from tests.e2e.faults import kill_containers, until
from tests.e2e.product import Json, Product
from tests.e2e.stage import GO, WAIT_FOR_GO, WAITING
from tests.e2e.volumes import lines_of, workspace_of

pytestmark = pytest.mark.e2e

NAME = "crew"
OTHERS = ("north", "east", "south", "west")
ORDER = (*OTHERS, "east", "north")
"""Who gets tasks 1 to 6: the first four are calls of one answer, the others of the next."""
TASKS = tuple(enumerate(ORDER, 1))
STRUCK = "east"
EPOCHS = {"director": 2, "north": 2, "east": 3, "south": 1, "west": 1}
"""One for each time that an agent had something to do, and one more for who was struck."""


def ask(step: int, *numbers: int) -> Json:
    calls = [
        {"name": "delegate", "arguments": {"agent": ORDER[number - 1], "task": f"task {number}"}} for number in numbers
    ]
    return {"when": {"agent": "director", "step": step}, "answer": {"toolCalls": calls}}


def run(agent: str, step: int, command: str) -> Json:
    call = {"name": "shell", "arguments": {"command": command}}
    return {"when": {"agent": agent, "step": step}, "answer": {"toolCalls": [call]}}


WORK = "echo '${text}' >> effects; echo ok"
RULES: tuple[Json, ...] = (
    ask(1, 1, 2, 3, 4),
    ask(2, 5, 6),
    {"when": {"agent": "director"}, "answer": {"text": "All ${result[-1]}"}},
    run(".", 1, WORK),
    run(STRUCK, 2, WAIT_FOR_GO),
    run(STRUCK, 4, WORK),
    run("north", 3, WORK),
    {"answer": {"text": "did ${text}"}},
)


@pytest.mark.requirement("AG-3")
@pytest.mark.requirement("LIFE-11")
@pytest.mark.requirement("OBJ-7")
def test_every_task_is_given_and_answered_once_although_pods_of_two_agents_die(
    product: Product, namespace: str
) -> None:
    product.create_script(namespace, "script", *RULES)
    model = {"providerRef": {"name": "script"}}
    product.create_session(
        namespace,
        NAME,
        goal="Have it done.",
        agents=[{"name": "director", "tools": [], "model": model}, *({"name": one, "model": model} for one in OTHERS)],
        coordination={"strategy": "Director", "maxHandoffs": len(ORDER)},
        limits={"maxSteps": 40, "timeoutSeconds": 600},
        retry={"initialBackoffSeconds": 1},
        workspace={"size": "16Mi"},
    )
    strike_in_the_middle(product, namespace)
    done = product.wait_phase(namespace, NAME, "Completed", seconds=600)
    assert done["status"]["result"] == "All did task 6"
    check_messages(product.entries(namespace, NAME))
    wanted = {name: [f"task {number}" for number, agent in TASKS if agent == name] for name in OTHERS}
    assert {name: lines_of(product, namespace, NAME, name, "effects") for name in OTHERS} == wanted
    rows = {row["name"]: row for row in done["status"]["agents"]}
    assert {name: row["epoch"] for name, row in rows.items()} == EPOCHS
    assert sum(row["steps"] for row in rows.values()) == done["status"]["usage"]["steps"] == 2 * len(ORDER) + 4
    assert sum(row["tokens"] for row in rows.values()) == done["status"]["usage"]["totalTokens"]


def strike_in_the_middle(product: Product, namespace: str) -> None:
    """End the pod of an agent in its second call, and that of the director, which waits for it; then let it go on."""

    def is_waiting() -> bool:
        folder = workspace_of(product, namespace, NAME, STRUCK)
        return folder is not None and (folder / WAITING).exists()

    until(is_waiting, f"agent {STRUCK} is in its second call")
    pods = {row["name"]: row["podName"] for row in product.session(namespace, NAME)["status"]["agents"]}
    kill_containers(product, namespace, pods[STRUCK])
    product.core.delete_namespaced_pod(pods["director"], namespace, grace_period_seconds=0)

    def are_replaced(session: Json) -> bool:
        epochs = {row["name"]: row["epoch"] for row in session["status"]["agents"]}
        return epochs[STRUCK] == epochs["director"] == 2

    product.wait_for(namespace, NAME, are_replaced, "with two new pods")
    folder = workspace_of(product, namespace, NAME, STRUCK)
    assert folder is not None
    (folder / GO).touch()


def check_messages(entries: list[Json]) -> None:
    """Each task was asked for, delivered, answered and told once, in the order in which its sender asked."""
    asked = [e["body"] for e in entries if e["type"] == "tool_call" and e["agent"] == "director"]
    assert [json.loads(body["arguments"])["task"] for body in asked] == [f"task {number}" for number, _ in TASKS]
    delivered = [(e["agent"], e["body"]["content"]) for e in entries if e["type"] == "message" and e["agent"]]
    assert delivered == [(agent, f"task {number}") for number, agent in TASKS]
    answered = [(e["agent"], e["body"]["text"]) for e in entries if e["type"] == "output" and e["agent"] in OTHERS]
    assert answered == [(agent, f"did task {number}") for number, agent in TASKS]
    told = [e["body"] for e in entries if e["type"] == "tool_result" and e["agent"] == "director"]
    assert [body["output"] for body in told] == [f"did task {number}" for number, _ in TASKS]
    assert [body["callId"] for body in told] == [body["callId"] for body in asked]
    assert len({body["callId"] for body in asked}) == len(TASKS)


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
