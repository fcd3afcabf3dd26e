"""Moves to another place or storage class, on the pure core with simulated time."""

from collections.abc import Callable
from typing import Any

import pytest

from agentsessions.api.reasons import ConditionType, Phase, StopReason
from agentsessions.api.v1alpha1.placement import FilledFrom, MigrationState, Site, Volume
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.lifecycle.facts import Acceptance
from tests.scenario.gateway import TURNS
from tests.scenario.promises import Witness
from tests.scenario.stories import answered, go_on, new, paused, running, starting, waiting
from tests.scenario.world import Crash, World

pytestmark = pytest.mark.requirement("AG-8")

SLOW, FAST = {"size": "1Gi"}, {"size": "1Gi", "storageClassName": "fast"}


def at(pool: str, **more: Any) -> dict[str, Any]:
    """Return the placement on nodes of a pool."""
    return {"nodeSelector": {"pool": pool}, **more}


def condition(world: World, kind: ConditionType) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    found = next(c for c in world.status.conditions or [] if c.type == kind)
    return found.status, found.reason, found.message


def migrated(world: World) -> tuple[str, str]:
    """Return status and reason of the condition Migrated."""
    return condition(world, ConditionType.MIGRATED)[:2]


def pool_of(world: World) -> str | None:
    """Return the pool that the next pod starts in."""
    place = world.status.site.place if world.status.site else None
    return (place.node_selector or {}).get("pool") if place else None


def test_a_session_that_nobody_moves_says_nothing_of_places() -> None:
    world = go_on(new(), 20)
    assert (world.status.site, world.status.migration) == (None, None)


def test_a_new_session_starts_where_it_is_wanted() -> None:
    world = starting(placement=at("a"))
    assert pool_of(world) == "a"
    assert world.status.migration is None


def test_a_running_session_ends_its_turn_and_goes_on_elsewhere() -> None:
    world = running()
    before = world.journal.committed
    world.change(placement=at("b"))
    world.operate()
    assert (world.phase, migrated(world)) == (Phase.PAUSING, ("False", "Migrating"))
    go_on(world, 20)
    assert world.phases == ["Starting", "Running", "Pausing", "Starting", "Running", "Completed"]
    assert (world.pods_made, world.journal.committed, world.journal.steps) == (2, TURNS, TURNS)
    assert before < TURNS
    assert migrated(world) == ("True", "Migrated")
    assert (pool_of(world), world.status.retries or 0) == ("b", 0)


def test_a_place_without_room_is_left_again_and_nothing_is_lost() -> None:
    world = running(placement=at("a"), limits={"timeoutSeconds": 3000})
    world.fill_pool("b")
    world.change(placement=at("b", timeoutSeconds=60))
    go_on(world, 8)
    assert (world.phase, pool_of(world)) == (Phase.STARTING, "b")
    world.live(60)
    go_on(world, 20)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert (world.journal.committed, world.journal.steps, pool_of(world)) == (TURNS, TURNS, "a")
    status, reason, message = condition(world, ConditionType.MIGRATED)
    assert (status, reason) == ("False", "RolledBack")
    assert "within 60 s" in message
    assert "no node of pool b has room" in message
    assert "change spec.placement" in message


def rolled_back() -> World:
    """Return a session that could not move to pool b, and runs on."""
    world = running(placement=at("a"), limits={"timeoutSeconds": 3000, "maxSteps": 90}, conversation={"open": True})
    world.fill_pool("b")
    world.change(placement=at("b", timeoutSeconds=60))
    go_on(world, 4)
    world.live(61)
    return go_on(world, 30)


def test_what_was_rolled_back_is_not_tried_again_by_itself() -> None:
    world = rolled_back()
    made = world.pods_made
    world.full_pools.clear()
    world.send()
    go_on(world, 30)
    assert (pool_of(world), migrated(world)[1]) == ("a", "RolledBack")
    assert world.pods_made <= made + 1


def test_another_timeout_tries_it_again() -> None:
    world = rolled_back()
    world.full_pools.clear()
    world.change(placement=at("b", timeoutSeconds=61))
    world.send()
    go_on(world, 30)
    assert (pool_of(world), migrated(world)) == ("b", ("True", "Migrated"))


def test_who_takes_the_wish_back_is_where_it_is_wanted() -> None:
    world = rolled_back()
    world.change(placement=at("a"))
    world.operate()
    assert migrated(world) == ("True", "Migrated")


def test_the_newest_wish_wins_and_what_came_before_leaves_no_pod() -> None:
    world = running(placement=at("a"), limits={"timeoutSeconds": 3000})
    world.fill_pool("b")
    world.change(placement=at("b"))
    go_on(world, 6)
    world.change(placement=at("c"))
    go_on(world, 20)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert (pool_of(world), migrated(world), world.pods_made) == ("c", ("True", "Migrated"), 3)


def test_a_second_wish_that_fails_goes_back_to_where_it_last_ran() -> None:
    world = running(placement=at("a"), limits={"timeoutSeconds": 3000})
    world.fill_pool("b")
    world.fill_pool("c")
    world.change(placement=at("b"))
    go_on(world, 6)
    world.change(placement=at("c", timeoutSeconds=30))
    go_on(world, 4)
    world.live(31)
    go_on(world, 20)
    assert (pool_of(world), world.phase) == ("a", Phase.COMPLETED)


def test_a_wish_taken_back_while_it_moves_lets_it_go_on_at_home() -> None:
    world = running(placement=at("a"))
    world.change(placement=at("b"))
    world.operate()
    world.change(placement=at("a"))
    go_on(world, 20)
    assert (pool_of(world), world.phase, migrated(world)) == ("a", Phase.COMPLETED, ("True", "Migrated"))


def test_a_first_pod_that_finds_no_node_is_made_anew_where_it_may_run() -> None:
    world = new(placement=at("b"))
    world.fill_pool("b")
    go_on(world, 4)
    world.change(placement=at("a"))
    go_on(world, 20)
    assert (pool_of(world), world.phase, world.status.retries or 0) == ("a", Phase.COMPLETED, 0)


@pytest.mark.parametrize(
    ("world", "wake"),
    [
        pytest.param(paused, lambda world: world.ask(OperatingMode.RUNNING), id="a paused one"),
        pytest.param(answered, World.send, id="an idle one"),
        pytest.param(waiting, World.decide, id="one that waits for a person"),
    ],
)
def test_a_session_without_a_pod_moves_with_its_next_epoch(
    world: Callable[[], World], wake: Callable[[World], object]
) -> None:
    session = world()
    phases, made = list(session.phases), session.pods_made
    session.change(placement=at("b"))
    session.live(1000)
    assert (session.phases, session.pods_made, session.status.migration) == (phases, made, None)
    wake(session)
    session.operate()
    assert pool_of(session) == "b"
    go_on(session, 20)
    assert migrated(session) == ("True", "Migrated")
    assert Phase.PAUSING.value not in session.phases[len(phases) :]


def test_time_in_a_pause_does_not_count_for_a_move() -> None:
    world = running(placement=at("a"), limits={"timeoutSeconds": 3000})
    world.fill_pool("b")
    world.change(placement=at("b", timeoutSeconds=60))
    go_on(world, 6)
    world.ask(OperatingMode.PAUSED)
    world.live(100)
    go_on(world, 3)
    assert world.phase is Phase.PAUSED
    world.live(600)
    world.full_pools.clear()
    world.ask(OperatingMode.RUNNING)
    go_on(world, 20)
    assert (pool_of(world), migrated(world)) == ("b", ("True", "Migrated"))


def test_a_step_that_does_not_end_is_broken_off_and_played_again_elsewhere() -> None:
    world = running(pausePolicy={"gracePeriodSeconds": 5})
    world.journal.turn = world.journal.turn  # the turn stays open: its pod does nothing any more
    world.change(placement=at("b"))
    world.live(5)
    world.live(31)
    go_on(world, 20)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert (world.journal.committed, world.journal.steps) == (TURNS, TURNS)


@pytest.mark.parametrize("crash", [crash for crash in Crash if crash is not Crash.NOWHERE])
@pytest.mark.parametrize("nth", range(10))
@pytest.mark.parametrize("change", [{"placement": at("b")}, {"workspace": FAST}], ids=["a place", "a class"])
def test_crash_in_any_pass_of_a_move_ends_the_same(change: dict[str, Any], crash: Crash, nth: int) -> None:
    world, witness = running(workspace=SLOW), Witness()
    world.change(**change)
    for number in range(40):
        if number == nth:
            world.reconcile(crash)
        go_on(world, 1)
        witness.check(world)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert (world.pods_made, migrated(world)) == (2, ("True", "Migrated"))
    assert len(world.disks.files) == 1


@pytest.mark.parametrize("crash", [crash for crash in Crash if crash is not Crash.NOWHERE])
@pytest.mark.parametrize("nth", range(12))
@pytest.mark.parametrize("change", [{"placement": at("b", timeoutSeconds=5)}, {"workspace": FAST}])
def test_crash_in_any_pass_of_a_way_back_ends_the_same(change: dict[str, Any], crash: Crash, nth: int) -> None:
    world, witness = running(workspace=SLOW), Witness()
    world.fill_pool("b")
    world.disks.full_class = "fast"
    world.change(**change)
    for number in range(60):
        if number == nth:
            world.reconcile(crash)
        go_on(world, 1)
        witness.check(world)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert (migrated(world), list(world.disks.files)) == (("False", "RolledBack"), [0])


def test_another_storage_class_gets_the_files_and_the_former_volume_goes_after_a_turn() -> None:
    world = running(workspace=SLOW, limits={"timeoutSeconds": 3000})
    world.change(workspace=FAST)
    go_on(world, 4)
    assert world.status.migration is not None
    assert (world.status.migration.state, sorted(world.disks.files)) == (MigrationState.ARRIVED, [0, 1])
    go_on(world, 20)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert world.disks.files == {1: set(range(1, TURNS + 1))}
    assert migrated(world) == ("True", "Migrated")


def test_a_copy_that_fails_leaves_the_session_on_its_volume() -> None:
    world = running(workspace=SLOW, limits={"timeoutSeconds": 3000})
    world.disks.full_class = "fast"
    world.change(workspace=FAST)
    go_on(world, 20)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert world.disks.files == {0: set(range(1, TURNS + 1))}
    assert "the new volume is full" in condition(world, ConditionType.MIGRATED)[2]


def test_a_pod_lost_on_its_new_volume_goes_on_there() -> None:
    world = running(workspace=SLOW, limits={"timeoutSeconds": 3000})
    world.change(workspace=FAST)
    go_on(world, 4)
    world.lose_pods()
    go_on(world, 30)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert world.disks.files == {1: set(range(1, TURNS + 1))}


def test_a_second_class_waits_for_a_turn_on_the_first() -> None:
    world = World(spec={"goal": "count", "workspace": SLOW, "limits": {"timeoutSeconds": 3000}}, turns=8)
    go_on(world, 4)
    world.change(workspace=FAST)
    go_on(world, 4)
    world.change(workspace={"size": "1Gi", "storageClassName": "faster"})
    go_on(world, 40)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert world.disks.files == {2: set(range(1, 9))}


def test_a_session_that_ends_while_it_moves_stays_where_it_was() -> None:
    world = running(workspace=SLOW)
    while world.journal.committed < TURNS - 1:
        go_on(world, 1)
    world.change(workspace=FAST)
    go_on(world, 20)
    assert world.phases[-2:] == ["Pausing", "Completed"]
    assert (world.status.site, migrated(world)[1]) == (
        Site(volume=Volume(size="1Gi")),
        "RolledBack",
    )


def test_a_workspace_grows_in_place() -> None:
    world = running(workspace=SLOW)
    world.change(workspace={"size": "2Gi"})
    go_on(world, 20)
    assert world.disks.sizes == {0: "2Gi"}
    assert world.phases == ["Starting", "Running", "Completed"]
    assert condition(world, ConditionType.WORKSPACE_RESIZED)[:2] == ("True", "Resized")


def test_a_workspace_whose_class_does_not_grow_says_why_and_asks_once() -> None:
    world = running(workspace=SLOW)
    world.disks.refusal = "only dynamically provisioned pvc can be resized"
    world.change(workspace={"size": "2Gi"})
    go_on(world, 20)
    status, reason, message = condition(world, ConditionType.WORKSPACE_RESIZED)
    assert (status, reason) == ("False", "ResizeRefused")
    assert "only dynamically" in message
    assert world.phase is Phase.COMPLETED


def a_fork() -> World:
    """Return a new session whose workspace begins with that of another one."""
    world = new(workspace=SLOW)
    source = FilledFrom(session_name="source", session_uid="uid-source", agents=["agent"])
    world.acceptance, world.disks.of_source = Acceptance(filled_from=source), frozenset({100, 101})
    return world


@pytest.mark.requirement("AG-7")
@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(lambda world: go_on(world, 1), id="undisturbed"),
        pytest.param(lambda world: (world.operate(), world.lose_pods()), id="its first pod is lost"),
        pytest.param(
            lambda world: (world.operate(), world.change(workspace=FAST)), id="its class changes before a pod ran"
        ),
        pytest.param(
            lambda world: (world.operate(), world.change(placement=at("b"))), id="its place changes before a pod ran"
        ),
        pytest.param(
            lambda world: (
                world.set_room(has_room=False),
                world.operate(),
                world.change(workspace=FAST),
                world.set_room(has_room=True),
            ),
            id="its class changes while it is queued",
        ),
    ],
)
def test_a_fork_begins_with_the_files_of_its_source(begin: Callable[[World], object]) -> None:
    world = a_fork()
    begin(world)
    world.acceptance = Acceptance()  # it is looked up while the session is Pending, never later
    go_on(world, 40)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    (files,) = world.disks.files.values()
    assert files == {100, 101, *range(1, TURNS + 1)}
    assert world.status.site is not None
    assert world.status.site.volume is not None
    assert world.status.site.volume.filled_from is None


def test_several_agents_of_a_template_are_told_that_they_keep_their_class() -> None:
    agents = {"agents": [{"name": "a"}, {"name": "b"}], "coordination": {"strategy": "Sequential"}}
    world = go_on(new(workspace=SLOW, **agents), 4)
    world.change(workspace=FAST)
    world.operate()
    assert condition(world, ConditionType.MIGRATED)[1:] == (
        "RolledBack",
        "a session of several agents keeps its storage class: change it back, or create a new session",
    )
    world.change(workspace=SLOW)
    go_on(world, 60)
    assert (world.phase, migrated(world)) == (Phase.COMPLETED, ("True", "Migrated"))


def test_several_agents_move_together() -> None:
    agents = {"agents": [{"name": "a"}, {"name": "b"}], "coordination": {"strategy": "Parallel"}}
    world = go_on(
        World(spec={"goal": "count", "placement": at("a"), "limits": {"maxSteps": 90}, **agents}, turns=24), 3
    )
    world.change(placement=at("b"))
    go_on(world, 60)
    assert (world.phase, pool_of(world), migrated(world)) == (Phase.COMPLETED, "b", ("True", "Migrated"))
    assert {row.epoch for row in world.status.agents or []} == {2}
