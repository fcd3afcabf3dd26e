"""Lives of a session that everybody knows, on the pure core with simulated time."""

import pytest

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from tests.scenario.gateway import TURNS
from tests.scenario.promises import check_pods, is_stalled
from tests.scenario.world import Crash, World


def go_on(world: World, stages: int) -> None:
    """Let the operator look, pods take a step and a second pass, so many times."""
    for _ in range(stages):
        world.operate()
        world.run_pods()
        world.live(1)


def running_world() -> World:
    """Return a world whose session has committed a turn and runs."""
    world = World()
    go_on(world, 4)
    assert world.phase is Phase.RUNNING
    assert 0 < world.journal.committed < TURNS
    return world


@pytest.mark.requirement("LIFE-1")
def test_undisturbed_life_is_starting_running_completed_in_three_writes() -> None:
    world = World()
    go_on(world, 20)
    assert world.phases == ["Starting", "Running", "Completed"]
    assert (world.writes, world.pods_made) == (3, 1)


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize("crash", [crash for crash in Crash if crash is not Crash.NOWHERE])
@pytest.mark.parametrize("nth", range(8))
def test_crash_in_any_pass_of_an_ordinary_life_makes_no_second_pod(crash: Crash, nth: int) -> None:
    world = World()
    for number in range(30):
        if number == nth:
            world.reconcile(crash)
        go_on(world, 1)
        check_pods(world)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert world.pods_made == 1


@pytest.mark.requirement("LIFE-11")
def test_epoch_that_always_fails_ends_after_three_retries() -> None:
    world = World()
    for _ in range(200):
        world.operate()
        world.fail_pods()
        go_on(world, 1)
    assert world.status.stop_reason is StopReason.RETRIES_EXHAUSTED
    assert world.pods_made == 4


@pytest.mark.requirement("LIFE-4")
@pytest.mark.requirement("LIFE-11")
def test_pause_ends_the_turn_and_resume_goes_on_at_the_next() -> None:
    world = running_world()
    world.ask(OperatingMode.PAUSED)
    go_on(world, 10)
    assert world.phase is Phase.PAUSED
    assert all(pod.is_ended for pod in world.pods.values())
    committed = world.journal.committed
    assert committed < TURNS
    assert world.journal.turn is None or not world.journal.turn.is_bought
    world.ask(OperatingMode.RUNNING)
    go_on(world, 20)
    assert world.phase is Phase.COMPLETED
    assert world.journal.committed == TURNS


@pytest.mark.requirement("LIFE-12")
def test_pause_on_a_node_that_is_cut_off_is_stalled_after_deadline_and_grace() -> None:
    world = running_world()
    world.set_node(up=False)
    world.ask(OperatingMode.PAUSED)
    world.live(89)
    assert (world.phase, is_stalled(world)) == (Phase.PAUSING, False)
    world.live(2)
    assert (world.phase, is_stalled(world)) == (Phase.PAUSING, True)
    world.set_node(up=True)
    world.operate()
    assert (world.phase, is_stalled(world)) == (Phase.PAUSED, False)
