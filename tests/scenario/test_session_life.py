"""Whole lives on the pure core, with simulated time: any order of events, a crash in any pass."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.lifecycle.phases import TERMINAL
from tests.scenario.world import TURNS, Crash, World

EVENTS: dict[str, Callable[[World], object]] = {
    "the operator looks": lambda world: world.reconcile(),
    "it dies before it creates": lambda world: world.reconcile(Crash.BEFORE_CREATE),
    "it dies before it writes": lambda world: world.reconcile(Crash.BEFORE_STATUS),
    "pods go on": World.run_pods,
    "pods fail": World.fail_pods,
    "pods are lost": World.lose_pods,
    "a person pauses": lambda world: world.ask(OperatingMode.PAUSED),
    "a person resumes": lambda world: world.ask(OperatingMode.RUNNING),
    "a person cancels": lambda world: world.ask(OperatingMode.CANCELLED),
    "the gateway goes": lambda world: world.set_gateway(up=False),
    "the gateway comes": lambda world: world.set_gateway(up=True),
    "a second passes": lambda world: world.pass_time(1),
    "a minute passes": lambda world: world.pass_time(60),
}
LIVES = st.lists(st.sampled_from(sorted(EVENTS)), max_size=60)


def settle(world: World, *, rounds: int = 400) -> None:
    """Let faults stop and people be still, and everything go on until nothing changes any more."""
    world.set_gateway(up=True)
    for _ in range(rounds):
        world.reconcile()
        world.run_pods()
        world.pass_time(1)


def check_pods(world: World) -> None:
    """I3: at most one pod without deletionTimestamp."""
    live = [pod.name for pod in world.pods.values() if not pod.is_deleting]
    assert len(live) <= 1, f"pods {live} stand beside each other"


@pytest.mark.requirement("LIFE-1")
@pytest.mark.requirement("LIFE-11")
@settings(max_examples=300, deadline=None)
@given(LIVES)
def test_any_life_keeps_one_pod_and_ends_where_people_want_it(life: list[str]) -> None:
    world = World()
    for event in life:
        EVENTS[event](world)
        check_pods(world)
    settle(world)
    mode, phase = world.spec.get("operatingMode", OperatingMode.RUNNING), world.status.phase
    if mode is OperatingMode.PAUSED:
        assert phase in {Phase.PAUSED, *TERMINAL}
    else:
        assert phase in TERMINAL
    if phase is Phase.COMPLETED:
        assert world.journal.committed == TURNS
        assert world.status.usage is not None
        assert world.status.usage.steps == TURNS


@pytest.mark.requirement("LIFE-11")
@settings(max_examples=200, deadline=None)
@given(LIVES)
def test_settled_session_writes_nothing_more(life: list[str]) -> None:
    world = World()
    for event in life:
        EVENTS[event](world)
    settle(world)
    before = (world.writes, world.pods_made)
    settle(world, rounds=120)
    assert (world.writes, world.pods_made) == before


@pytest.mark.requirement("LIFE-1")
def test_undisturbed_life_is_starting_running_completed_in_three_writes() -> None:
    world = World()
    settle(world, rounds=20)
    assert world.phases == ["Starting", "Running", "Completed"]
    assert (world.writes, world.pods_made) == (3, 1)


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize("crash", [Crash.BEFORE_CREATE, Crash.BEFORE_STATUS])
@pytest.mark.parametrize("nth", range(4))
def test_crash_in_any_pass_of_an_ordinary_life_makes_no_second_pod(crash: Crash, nth: int) -> None:
    world = World()
    for number in range(30):
        world.reconcile(crash if number == nth else Crash.NOWHERE)
        world.run_pods()
        world.pass_time(1)
        check_pods(world)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert world.pods_made == 1


@pytest.mark.requirement("LIFE-11")
def test_epoch_that_always_fails_ends_after_three_retries() -> None:
    world = World()
    for _ in range(200):
        world.reconcile()
        world.fail_pods()
        world.run_pods()
        world.pass_time(1)
    assert world.status.stop_reason is StopReason.RETRIES_EXHAUSTED
    assert world.pods_made == 4


@pytest.mark.requirement("LIFE-11")
def test_pause_and_resume_go_on_at_the_next_turn() -> None:
    world = World()
    for _ in range(4):
        world.reconcile()
        world.run_pods()
        world.pass_time(1)
    committed = world.journal.committed
    assert 0 < committed < TURNS
    world.ask(OperatingMode.PAUSED)
    settle(world, rounds=10)
    assert world.status.phase is Phase.PAUSED
    assert all(pod.is_ended for pod in world.pods.values())
    assert world.journal.committed == committed
    world.ask(OperatingMode.RUNNING)
    settle(world, rounds=20)
    assert world.status.phase is Phase.COMPLETED
    assert world.journal.committed == TURNS
