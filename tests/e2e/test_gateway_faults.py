"""A gateway that dies or is away in the middle of a session: runners wait for it, and go on where they were."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.faults import replace, scale
from tests.e2e.product import LONG_SECONDS, SYSTEM, Product
from tests.e2e.provider import CountingProvider
from tests.e2e.stage import FOUR_STEPS, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

GATEWAY = "agentsessions-gateway"


@pytest.fixture
def stage(product: Product, namespace: str, host: str) -> Iterator[Stage]:
    with CountingProvider(host, FOUR_STEPS).serve() as provider:
        yield Stage(product, namespace, provider)


def assert_nothing_is_lost(stage: Stage) -> None:
    done = stage.finish()["status"]
    assert stage.effects() == ["one", "two", "three"]
    assert done["agents"][0]["epoch"] == 1, "the runner outlives the gateway"


@pytest.mark.requirement("LIFE-11")
def test_gateway_killed_in_mid_answer_buys_it_again_and_charges_both(product: Product, stage: Stage) -> None:
    gate = stage.provider.hold(1)
    stage.begin()
    assert gate.reached.wait(LONG_SECONDS)
    replace(product, SYSTEM, GATEWAY)
    gate.opened.set()
    stage.await_tool()
    stage.let_tool_end()
    assert_nothing_is_lost(stage)
    assert stage.provider.asked == [1, 1, 2, 3, 4]
    usage = product.session(stage.namespace, stage.name)["status"]["usage"]
    assert usage["totalTokens"] > 440, "the answer that broke off is charged, by estimate"
    with product.gateway() as gateway:
        outputs = [e["body"]["text"] for e in stage.entries(gateway) if e["type"] == "thinking"]
    assert outputs == ["Working on it."] * 3


@pytest.mark.requirement("LIFE-11")
def test_gateway_killed_during_a_tool_costs_nothing(product: Product, stage: Stage) -> None:
    stage.begin()
    stage.await_tool()
    replace(product, SYSTEM, GATEWAY)
    stage.let_tool_end()
    assert_nothing_is_lost(stage)
    assert stage.provider.sold == [1, 2, 3, 4]


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize("seconds", [5, pytest.param(300, marks=pytest.mark.slow)])
def test_gateway_away_in_the_middle_is_waited_for(product: Product, stage: Stage, seconds: int) -> None:
    stage.begin(limits={"timeoutSeconds": 100})
    stage.await_tool()
    with scale(product, SYSTEM, GATEWAY, 0):
        stage.let_tool_end()  # its result finds nobody to be told to
        time.sleep(seconds)  # the length of the outage is the case, nothing is waited for
        assert product.session(stage.namespace, stage.name)["status"]["phase"] == "Running"
    assert_nothing_is_lost(stage)
    assert stage.provider.sold == [1, 2, 3, 4]
