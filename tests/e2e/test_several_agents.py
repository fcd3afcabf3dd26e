"""A director with four others on one node: pods of two of them die, and every task is given and answered once."""

from __future__ import annotations

import json

import pytest

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
    done = product.wait_phase(namespace, NAME, "Completed")
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
