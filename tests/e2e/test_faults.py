"""Sessions whose operator, gateway or runner dies: nothing is lost, nothing is bought or done twice."""

from collections import Counter

import pytest

from tests.e2e.faults import crash, scale, until
from tests.e2e.product import SYSTEM, Json, Product
from tests.e2e.provider import CountingProvider
from tests.e2e.stage import FOUR_STEPS, Stage

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


@pytest.mark.alone
@pytest.mark.requirement("LIFE-11")
def test_session_survives_kill_of_operator_gateway_and_runner(product: Product, namespace: str, host: str) -> None:
    with CountingProvider(host, FOUR_STEPS).serve() as provider:
        stage = Stage(product, namespace, provider)
        stage.begin()
        stage.await_tool()
        crash(product, SYSTEM, "agentsessions-operator")
        crash(product, SYSTEM, "agentsessions-gateway")
        stage.kill_runner()
        until(lambda: stage.epoch() == 2, "the second epoch has its pod")
        stage.let_tool_end()
        done = stage.finish()
        assert provider.sold == [1, 2, 3, 4]
    assert stage.effects() == ["one", "two", "three"]
    assert done["status"]["usage"]["steps"] == 4
    assert count_answers(product.entries(namespace, stage.name))["tool_result"] == 3


@pytest.mark.alone
@pytest.mark.requirement("LIFE-11")
def test_session_waits_for_a_gateway_that_is_down_at_its_creation(product: Product, namespace: str) -> None:
    with scale(product, SYSTEM, "agentsessions-gateway", 0):
        product.create_session(namespace, "patient", goal="Say hello.")
        product.wait_phase(namespace, "patient", "Starting", "Running")
    done = product.wait_phase(namespace, "patient", "Completed")
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
    done = product.wait_phase(namespace, "moved", "Completed")
    assert done["status"]["usage"]["steps"] == 4
    assert done["status"]["agents"][0]["epoch"] == 2
