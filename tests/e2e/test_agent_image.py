"""The documented image of others: a loop that knows nothing of sessions is metered, journaled, killed and finished."""

from collections import Counter

import pytest

from tests.e2e.agents import build_example_image
from tests.e2e.faults import kill_containers, until
from tests.e2e.product import LONG_SECONDS, Product
from tests.e2e.provider import CountingProvider, run_shell, say

pytestmark = pytest.mark.e2e

NAME = "loop"
ANSWERS = (run_shell("echo one"), run_shell("echo two"), run_shell("echo three"), say("One, two, three."))


def kill_in_step(product: Product, namespace: str, provider: CountingProvider, step: int, epoch: int) -> None:
    """Kill the agent while the answer to a step is on its way, and wait for the next pod."""
    gate = provider.hold(step)
    assert gate.reached.wait(LONG_SECONDS)
    pod = product.wait_phase(namespace, NAME, "Running")["status"]["agents"][0]["podName"]
    kill_containers(product, namespace, pod)
    gate.opened.set()

    def is_next() -> bool:
        agents = product.session(namespace, NAME)["status"].get("agents") or [{"epoch": 0}]
        return bool(agents[0]["epoch"] == epoch)

    until(is_next, f"epoch {epoch} has its pod")


@pytest.mark.requirement("AG-11")
def test_image_of_others_killed_twice_finishes_and_pays_once(product: Product, namespace: str, host: str) -> None:
    with CountingProvider(host, ANSWERS).serve() as provider:
        provider.hold(2), provider.hold(3)
        product.create_provider(namespace, "counting", provider.spec)
        agent = {
            "name": "agent",
            "image": build_example_image(),
            "model": {"providerRef": {"name": "counting"}},
            "env": [{"name": "TASK", "value": "Count to three."}, {"name": "MODEL", "value": "counted"}],
        }
        retry = {"initialBackoffSeconds": 1}
        product.create_session(namespace, NAME, goal="Count to three.", agents=[agent], retry=retry)
        kill_in_step(product, namespace, provider, 2, epoch=2)
        kill_in_step(product, namespace, provider, 3, epoch=3)
        done = product.wait_phase(namespace, NAME, "Completed")["status"]

        assert provider.asked == provider.sold == [1, 2, 3, 4]
    assert done["stopReason"] == "GoalReached"
    assert done["result"] == "One, two, three."
    assert (done["usage"]["steps"], done["usage"]["totalTokens"]) == (4, 440)
    assert done["agents"][0]["epoch"] == 3
    kinds = Counter(entry["type"] for entry in product.entries(namespace, NAME))
    assert (kinds["step_complete"], kinds["tool_call"], kinds["output"]) == (4, 3, 1)
