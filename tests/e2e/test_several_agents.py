"""A director with four others on one node: pods of two of them die, and every task is given and answered once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.faults import kill_containers
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
