"""A runner killed at each point of a turn: no answer is bought twice, and no tool's effect is there twice."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.faults import until
from tests.e2e.product import LONG_SECONDS, Forward, Product
from tests.e2e.provider import CountingProvider
from tests.e2e.relay import Relay, relayed
from tests.e2e.stage import FOUR_STEPS, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.alone]


@dataclass(frozen=True)
class Scene:
    """The stage, what the journal says of it, and the relay between runner and gateway."""

    stage: Stage
    gateway: Forward
    relay: Relay

    @property
    def provider(self) -> CountingProvider:
        """The provider of the session's model."""
        return self.stage.provider

    def hold_answers(self, *, after: int = 0) -> None:
        """Keep from the runner what the gateway answers, after so many more answers."""
        ip = self.stage.running_pod().status.pod_ip
        assert ip in self.relay.peers, "the runner speaks to the gateway past the relay"
        self.relay.hold(ip, after_answers=after)

    def hold_first_turn(self) -> None:
        """Begin a session whose runner does not get its first turn."""
        self.relay.hold(after_answers=1)  # the first one is the TLS handshake's
        self.stage.begin()
        assert self.relay.kept.wait(LONG_SECONDS)

    def kill(self) -> None:
        """Kill the runner; what was kept from it is lost with it."""
        self.stage.kill_runner()
        self.relay.release()


@pytest.fixture
def scene(product: Product, namespace: str, host: str) -> Iterator[Scene]:
    with (
        CountingProvider(host, FOUR_STEPS).serve() as provider,
        product.gateway() as gateway,
        relayed(product, host) as relay,
    ):
        yield Scene(Stage(product, namespace, provider), gateway, relay)


def kill_before_the_call(scene: Scene) -> None:
    scene.hold_first_turn()
    assert scene.provider.asked == []
    scene.kill()


def kill_in_mid_answer(scene: Scene) -> None:
    gate = scene.provider.hold(1)
    scene.stage.begin()
    assert gate.reached.wait(LONG_SECONDS)
    scene.kill()
    gate.opened.set()


def kill_after_the_answer(scene: Scene) -> None:
    gate = scene.provider.hold(1)
    scene.stage.begin()
    assert gate.reached.wait(LONG_SECONDS)
    scene.hold_answers()
    gate.opened.set()
    scene.stage.await_entry(scene.gateway, "tool_call", 1)
    assert scene.relay.kept.wait(LONG_SECONDS)
    assert not (scene.stage.workspace() / "effects.txt").exists()
    scene.kill()


def kill_in_the_tool(scene: Scene) -> None:
    scene.stage.begin()
    scene.stage.await_tool()
    scene.kill()


def kill_after_the_settle(scene: Scene) -> None:
    scene.stage.begin()
    scene.stage.await_tool()
    scene.hold_answers()
    scene.stage.let_tool_end()
    scene.stage.await_entry(scene.gateway, "tool_result", 2)
    assert scene.relay.kept.wait(LONG_SECONDS)
    scene.kill()


def kill_after_the_commit(scene: Scene) -> None:
    scene.stage.begin()
    scene.stage.await_tool()
    scene.hold_answers(after=1)  # the settle's
    scene.stage.let_tool_end()
    scene.stage.await_entry(scene.gateway, "step_complete", 2)
    assert scene.relay.kept.wait(LONG_SECONDS)
    assert scene.provider.asked == [1, 2]
    scene.kill()


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(kill_before_the_call, marks=pytest.mark.slow),
        pytest.param(kill_in_mid_answer, marks=pytest.mark.slow),
        kill_after_the_answer,
        kill_in_the_tool,
        pytest.param(kill_after_the_settle, marks=pytest.mark.slow),
        pytest.param(kill_after_the_commit, marks=pytest.mark.slow),
    ],
)
def test_killed_runner_costs_no_answer_and_repeats_no_effect(scene: Scene, kill: Callable[[Scene], None]) -> None:
    kill(scene)
    until(lambda: scene.stage.epoch() == 2, "the second epoch has its pod")
    scene.stage.await_tool()
    scene.stage.let_tool_end()
    done = scene.stage.finish()["status"]
    assert scene.provider.sold == [1, 2, 3, 4]
    assert scene.provider.asked == [1, 2, 3, 4]
    assert scene.stage.effects() == ["one", "two", "three"]
    assert done["agents"][0]["epoch"] == 2
    assert (done["usage"]["steps"], done["usage"]["totalTokens"]) == (4, 440)
    entries = Counter(entry["type"] for entry in scene.stage.entries(scene.gateway))
    assert (entries["tool_call"], entries["tool_result"], entries["step_complete"]) == (3, 3, 4)
