"""Sessions whose operator, gateway or runner dies: nothing is lost, nothing is bought or done twice."""

from collections import Counter

import pytest

from tests.e2e.faults import crash, kill_containers, scale
from tests.e2e.product import SYSTEM, Json, Product

pytestmark = pytest.mark.e2e


def shell_step(step: int, command: str) -> Json:
    """Return a rule that runs one command at one step."""
    call = {"name": "shell", "arguments": {"command": command}}
    return {"when": {"step": step}, "answer": {"toolCalls": [call]}}


def say_step(step: int, text: str, **answer: object) -> Json:
    """Return a rule that gives the final answer at one step."""
    return {"when": {"step": step}, "answer": {"text": text, **answer}}


def count_answers(entries: list[Json]) -> Counter[str]:
    """Return how often each kind of entry stands in the journal."""
    return Counter(entry["type"] for entry in entries)


@pytest.mark.requirement("LIFE-11")
def test_session_survives_kill_of_operator_gateway_and_runner(product: Product, namespace: str) -> None:
    product.create_script(
        namespace,
        "slow",
        *[shell_step(n, f"sleep 2; echo {n} >> done.txt; cat done.txt") for n in (1, 2, 3, 4, 5)],
        say_step(6, "effects: ${result[-1]}"),
    )
    product.create_session(
        namespace,
        "survivor",
        goal="Count to five.",
        agents=[{"name": "agent", "model": {"providerRef": {"name": "slow"}}}],
        workspace={"size": "64Mi"},
        retry={"initialBackoffSeconds": 1},
    )
    running = product.wait_phase(namespace, "survivor", "Running")
    crash(product, SYSTEM, "agentsessions-operator")
    crash(product, SYSTEM, "agentsessions-gateway")
    pods = product.session_pods(namespace, running["metadata"]["uid"])
    kill_containers(product, namespace, pods[0].metadata.name)
    done = product.wait_phase(namespace, "survivor", "Completed", seconds=120)
    assert done["status"]["result"].splitlines()[:5] == ["effects: 1", "2", "3", "4", "5"]
    assert done["status"]["usage"]["steps"] == 6
    assert done["status"]["agents"][0]["epoch"] >= 2
    entries = product.entries(namespace, "survivor")
    assert count_answers(entries)["tool_result"] == 5


@pytest.mark.requirement("LIFE-11")
def test_session_waits_for_a_gateway_that_is_down_at_its_creation(product: Product, namespace: str) -> None:
    with scale(product, SYSTEM, "agentsessions-gateway", 0):
        product.create_session(namespace, "patient", goal="Say hello.")
        product.wait_phase(namespace, "patient", "Starting", "Running")
    done = product.wait_phase(namespace, "patient", "Completed", seconds=120)
    assert done["status"]["usage"]["steps"] == 1


@pytest.mark.requirement("LIFE-11")
def test_runner_pod_deleted_in_a_turn_goes_on_from_its_checkpoint(product: Product, namespace: str) -> None:
    product.create_script(
        namespace,
        "steps",
        shell_step(1, "echo one >> effects.txt"),
        shell_step(2, "echo two >> effects.txt; sleep 4"),
        shell_step(3, "cat effects.txt"),
        say_step(4, "${result[-1]}"),
    )
    product.create_session(
        namespace,
        "moved",
        goal="Leave two lines.",
        agents=[{"name": "agent", "model": {"providerRef": {"name": "steps"}}}],
        workspace={"size": "64Mi"},
        retry={"initialBackoffSeconds": 1},
    )
    running = product.wait_phase(namespace, "moved", "Running")
    pod = product.session_pods(namespace, running["metadata"]["uid"])[0].metadata.name
    product.core.delete_namespaced_pod(pod, namespace, grace_period_seconds=0)
    done = product.wait_phase(namespace, "moved", "Completed", seconds=120)
    assert done["status"]["usage"]["steps"] == 4
    assert done["status"]["agents"][0]["epoch"] == 2
