"""An operator that is killed and replaced at any moment: the session ends as if nothing had been."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.faults import await_ready, frozen, kill_and_delete, replace
from tests.e2e.product import LONG_SECONDS, SYSTEM, Json, Product
from tests.e2e.provider import CountingProvider, say
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

OPERATOR = "agentsessions-operator"
CONFLICT = 409
BROKEN_OFF = 504


@pytest.fixture
def stage(product: Product, namespace: str, host: str) -> Iterator[Stage]:
    with CountingProvider(host, [say("Nothing is to be done.")]).serve() as provider:
        provider.hold(1)
        yield Stage(product, namespace, provider)


def kill_at_creation(stage: Stage) -> None:
    with frozen(stage.product, SYSTEM, OPERATOR):
        stage.begin(workspace=None)
        kill_and_delete(stage.product, SYSTEM, OPERATOR)
    assert "status" not in stage.product.session(stage.namespace, stage.name)
    await_ready(stage.product, SYSTEM, OPERATOR)


def kill_between_starting_and_running(stage: Stage) -> None:
    stage.begin(workspace=None)
    stage.product.wait_phase(stage.namespace, stage.name, "Starting")
    with frozen(stage.product, SYSTEM, OPERATOR):
        assert stage.product.session(stage.namespace, stage.name)["status"]["phase"] == "Starting"
        kill_and_delete(stage.product, SYSTEM, OPERATOR)
    await_ready(stage.product, SYSTEM, OPERATOR)


def kill_between_running_and_completed(stage: Stage) -> None:
    stage.begin(workspace=None)
    assert stage.provider.hold(1).reached.wait(LONG_SECONDS)
    stage.product.wait_phase(stage.namespace, stage.name, "Running")
    replace(stage.product, SYSTEM, OPERATOR)


def kill_while_it_ends(stage: Stage) -> None:
    stage.begin(workspace=None)
    assert stage.provider.hold(1).reached.wait(LONG_SECONDS)
    stage.product.wait_phase(stage.namespace, stage.name, "Running")
    with frozen(stage.product, SYSTEM, OPERATOR), stage.product.gateway() as gateway:
        stage.provider.hold(1).opened.set()
        stage.await_entry(gateway, "step_complete", 1)
        kill_and_delete(stage.product, SYSTEM, OPERATOR)
    await_ready(stage.product, SYSTEM, OPERATOR)


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(kill_at_creation, marks=pytest.mark.slow),
        kill_between_starting_and_running,
        pytest.param(kill_between_running_and_completed, marks=pytest.mark.slow),
        pytest.param(kill_while_it_ends, marks=pytest.mark.slow),
    ],
)
def test_killed_operator_leaves_one_pod_and_four_writes(stage: Stage, kill: Callable[[Stage], None]) -> None:
    kill(stage)
    stage.provider.hold(1).opened.set()
    done = stage.finish()["status"]
    assert (done["stopReason"], done["agents"][0]["epoch"]) == ("GoalReached", 1)
    assert stage.provider.sold == [1]
    accepted, broken_off = session_writes(stage)
    assert accepted["create", "pods"] == 1
    # A call that broke off with its operator was done or was not; whichever it was, nothing is written twice.
    assert accepted["patch", "agentsessions"] <= 3 <= accepted["patch", "agentsessions"] + broken_off


def session_writes(stage: Stage) -> tuple[Counter[tuple[str, str]], int]:
    """Return the operator's accepted writes of the session and its pods, and how many calls died with it.

    What a conflict refused was not written.
    """
    accepted, refused = count_writes(stage.product.await_writes(stage.namespace, are_whole))
    assert set(refused) <= {CONFLICT, BROKEN_OFF}
    return accepted, refused[BROKEN_OFF]


def are_whole(writes: list[Json]) -> bool:
    """Whether writes of the session's three phases, or what may have been such a write, are all there."""
    accepted, refused = count_writes(writes)
    return accepted["patch", "agentsessions"] + refused[BROKEN_OFF] >= 3


def count_writes(writes: list[Json]) -> tuple[Counter[tuple[str, str]], Counter[int]]:
    """Return how often each thing was written, and how often each refusal was the answer."""
    found = [(w, w["responseStatus"]["code"]) for w in writes if is_of_session(w)]
    accepted = Counter((w["verb"], w["objectRef"]["resource"]) for w, code in found if code < 300)
    return accepted, Counter(code for _, code in found if code >= 300)


def is_of_session(write: Json) -> bool:
    """Whether a write is of the session or a pod, not of what the namespace gets once."""
    return write["objectRef"]["resource"] in {"agentsessions", "pods"}
