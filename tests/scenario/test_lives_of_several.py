"""Lives of sessions with several agents that everybody knows, on the pure core with simulated time."""

from collections.abc import Callable
from typing import Any

import pytest

from agentsessions.api.reasons import Phase, StopReason
from tests.scenario.promises import Witness
from tests.scenario.stories import cancel, fill_quota, go_on, make_room, pause, resume, then
from tests.scenario.world import Crash, World

AGENTS = [{"name": name} for name in "abc"]
BESIDE: dict[str, Any] = {"goal": "count", "agents": AGENTS, "coordination": {"strategy": "Parallel"}}
DIRECTOR: dict[str, Any] = {"goal": "count", "agents": AGENTS, "coordination": {"strategy": "Director"}}
MUCH = {"maxSteps": 100, "timeoutSeconds": 900}
TALK: dict[str, Any] = {"conversation": {"open": True, "idleSeconds": 5}}
IN_TURN: dict[str, Any] = {"goal": "count", "agents": AGENTS, "coordination": {"strategy": "Handoff"}, **TALK}


def a_team(spec: dict[str, Any], stages: int = 4, **more: Any) -> World:
    """Return a session of several agents that has worked a little."""
    return go_on(World(spec={"limits": MUCH, **spec, **more}, turns=32), stages)


def idle(**more: Any) -> World:
    """Return a conversation that changed hands, was answered and fell idle: another one than the first listens."""
    world = a_team(IN_TURN, 200, **more)
    assert (world.phase, world.journal.level().agents[0].is_due) == (Phase.IDLE, False)
    return world


def live_pods(world: World) -> list[str]:
    """Return the pods that run and were not asked to end."""
    return [pod.name for pod in world.pods.values() if not pod.is_ended and not pod.is_deleting]


@pytest.mark.requirement("LIFE-8")
@pytest.mark.requirement("AG-3")
@pytest.mark.parametrize(
    ("end", "phase"),
    [
        pytest.param(
            lambda world: world.change(conversation={"open": False}), Phase.COMPLETED, id="a person closes it"
        ),
        pytest.param(lambda world: world.live(301), Phase.EXPIRED, id="it expires"),
    ],
)
def test_idle_conversation_of_several_agents_ends_whoever_has_it(end: Callable[[World], object], phase: Phase) -> None:
    world = idle(expireAfterSeconds=300)
    assert live_pods(world) == []
    end(world)
    go_on(world, 2)
    assert world.phase is phase


@pytest.mark.requirement("LIFE-8")
@pytest.mark.requirement("AG-3")
def test_message_to_an_idle_conversation_of_several_agents_wakes_the_one_that_has_it() -> None:
    world = idle()
    made = world.pods_made
    assert world.send()
    go_on(world, 30)
    assert (world.phase, world.journal.inbox, world.pods_made) == (Phase.IDLE, [], made + 1)


def ask_all(world: World, agents: int) -> World:
    """Let so many agents have a call that people decide, and the session come to wait for them."""
    for _ in range(agents):
        world.ask_people()
    return go_on(world, 8)


@pytest.mark.requirement("POL-2")
@pytest.mark.requirement("AG-3")
def test_question_of_one_agent_lets_the_others_work_and_holds_no_pod_of_its_own() -> None:
    world = ask_all(a_team(BESIDE), 1)
    (asking,) = {one.agent for one in world.journal.level().approval_pending}
    assert world.phase is Phase.RUNNING
    assert asking not in {pod.agent for pod in world.pods.values() if not pod.is_ended}
    go_on(world, 120)
    assert (world.phase, live_pods(world)) == (Phase.WAITING, []), "the others are through"
    world.decide()
    go_on(world, 120)
    assert (world.phase, world.status.stop_reason) == (Phase.COMPLETED, StopReason.GOAL_REACHED)


@pytest.mark.requirement("LIFE-4")
@pytest.mark.requirement("POL-2")
@pytest.mark.parametrize(
    ("spec", "agents"),
    [
        pytest.param(BESIDE, 3, id="three that all wait"),
        pytest.param(DIRECTOR, 2, id="a director and who works for it"),
    ],
)
def test_pause_while_agents_wait_asks_the_same_again_on_resume(spec: dict[str, Any], agents: int) -> None:
    world = ask_all(a_team(spec, 3), agents)
    assert (world.phase, live_pods(world)) == (Phase.WAITING, [])
    asked = world.journal.level().approval_pending
    made, bought = world.pods_made, world.journal.steps
    then(world, pause)
    assert (world.phase, world.status.stop_reason) == (Phase.PAUSED, StopReason.USER_PAUSED)
    then(world, wait_an_hour, resume)
    assert (world.phase, world.journal.level().approval_pending) == (Phase.WAITING, asked)
    assert (world.pods_made, world.journal.steps) == (made, bought), "nothing is bought to ask again"
    world.decide()
    go_on(world, 120)
    assert world.phase is Phase.COMPLETED


def wait_an_hour(world: World) -> None:
    """Let time pass that costs nothing."""
    world.live(3600)


@pytest.mark.requirement("LIFE-4")
@pytest.mark.requirement("POL-2")
def test_decision_during_a_pause_counts_when_the_session_is_resumed() -> None:
    world = ask_all(a_team(BESIDE, 3), 3)
    then(world, pause, World.decide)
    assert (go_on(world, 3).phase, live_pods(world)) == (Phase.PAUSED, [])
    then(world, resume)
    assert world.phase is Phase.STARTING
    assert go_on(world, 120).phase is Phase.COMPLETED


@pytest.mark.requirement("LIFE-5")
@pytest.mark.requirement("AG-3")
@pytest.mark.parametrize(
    ("spec", "asking"),
    [
        pytest.param(BESIDE, 0, id="three that work"),
        pytest.param(BESIDE, 1, id="two that work and one that waits for a person"),
        pytest.param(BESIDE, 3, id="three that wait for a person"),
        pytest.param(DIRECTOR, 0, id="a director and who works for it"),
    ],
)
def test_cancel_of_several_agents_leaves_no_pod_and_says_so(spec: dict[str, Any], asking: int) -> None:
    world = ask_all(a_team(spec, 3), asking)
    then(world, cancel)
    world.live(61)
    assert (world.phase, world.status.pods_remaining, live_pods(world)) == (Phase.CANCELLED, 0, [])
    assert world.status.stopped_at is not None
    bought = world.journal.steps
    go_on(world, 10)
    assert world.journal.steps == bought, "nothing is charged after the cancel"


@pytest.mark.requirement("LIFE-5")
def test_cancel_of_several_pods_that_hang_ends_in_time_and_tells_how_many_are_left() -> None:
    world = a_team(BESIDE, 3)
    world.set_node(up=False)
    then(world, cancel)
    world.live(61)
    assert (world.phase, world.status.stop_reason) == (Phase.CANCELLED, StopReason.FORCE_TERMINATED)
    assert world.status.pods_remaining == 3
    world.set_node(up=True)
    world.operate()
    assert world.status.pods_remaining == 0


@pytest.mark.requirement("LIM-2")
@pytest.mark.requirement("POL-2")
@pytest.mark.parametrize("spec", [pytest.param(BESIDE, id="several agents"), pytest.param({"goal": "count"}, id="one")])
def test_limit_that_is_changed_while_a_session_waits_is_the_one_it_goes_on_with(spec: dict[str, Any]) -> None:
    few = {"maxSteps": 3, "onLimit": {"default": "Pause"}}
    world = a_team(spec, 3, limits=few)
    ask_all(world, 3)
    assert world.phase is Phase.WAITING
    world.change(limits={**few, "maxSteps": 100})
    world.operate()
    assert (world.phase, world.status.effective and world.status.effective.max_steps) == (Phase.WAITING, 100)
    for _ in range(30):
        world.decide()
        go_on(world, 10)
    assert world.phase is Phase.COMPLETED


@pytest.mark.requirement("LIM-4")
@pytest.mark.requirement("POL-2")
def test_decision_that_finds_the_namespace_full_queues_the_session_and_is_kept() -> None:
    world = ask_all(a_team(BESIDE, 3), 3)
    then(world, fill_quota, World.decide)
    assert (world.phase, live_pods(world)) == (Phase.QUEUED, [])
    then(world, make_room)
    assert go_on(world, 120).phase is Phase.COMPLETED


@pytest.mark.requirement("LIM-4")
@pytest.mark.requirement("POL-2")
def test_agent_that_may_go_on_is_queued_and_served_while_another_waits_for_a_person() -> None:
    world = ask_all(a_team(BESIDE, 3), 3)
    then(world, fill_quota, lambda world: world.decide(1))
    assert world.phase is Phase.QUEUED, "who waits for a person is in no queue, and would never be served"
    then(world, make_room)
    go_on(world, 3)
    assert [pod.agent for pod in world.pods.values() if not pod.is_ended] == ["a"]
    go_on(world, 120)
    assert (world.phase, live_pods(world)) == (Phase.WAITING, []), "a is through, the others wait"


@pytest.mark.requirement("LIFE-11")
@pytest.mark.requirement("AG-3")
@pytest.mark.parametrize("crash", [crash for crash in Crash if crash is not Crash.NOWHERE])
@pytest.mark.parametrize("spec", [pytest.param(BESIDE, id="beside"), pytest.param(DIRECTOR, id="director")])
def test_crash_in_any_pass_of_several_agents_with_a_question_doubles_nothing(
    crash: Crash, spec: dict[str, Any]
) -> None:
    for nth in range(0, 12, 2):
        world, witness = a_team(spec, 2), Witness()
        world.ask_people()
        for number in range(120):
            if number == nth:
                world.reconcile(crash)
            world.decide()
            go_on(world, 1)
            witness.check(world)
        assert world.status.stop_reason is StopReason.GOAL_REACHED
