"""Lives of a session that everybody knows, on the pure core with simulated time."""

from collections.abc import Callable

import pytest

from agentsessions.api.reasons import ConditionType, Phase, StopReason
from agentsessions.api.v1alpha1.approval import ApprovalKind, OnExpiry
from agentsessions.api.v1alpha1.session import OperatingMode
from tests.scenario.gateway import TURNS
from tests.scenario.promises import check_pods, is_stalled
from tests.scenario.stories import HOLD, answered, go_on, paused, queued, running, talking, waiting
from tests.scenario.world import Crash, World


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
    world = running()
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
    world = running()
    world.set_node(up=False)
    world.ask(OperatingMode.PAUSED)
    world.live(89)
    assert (world.phase, is_stalled(world)) == (Phase.PAUSING, False)
    world.live(2)
    assert (world.phase, is_stalled(world)) == (Phase.PAUSING, True)
    world.set_node(up=True)
    world.operate()
    assert (world.phase, is_stalled(world)) == (Phase.PAUSED, False)


@pytest.mark.requirement("LIFE-8")
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda world: world.change(conversation={"open": False}), id="a person closes it"),
        pytest.param(lambda world: world.live(61), id="it expires"),
    ],
)
def test_conversation_is_not_ended_over_a_message_that_only_the_gateway_knows(end: Callable[[World], object]) -> None:
    world = answered(expireAfterSeconds=60)
    assert world.send()
    world.set_gateway(up=False)
    world.heard = world.journal.level().model_copy(update={"inbox_pending": 0})  # the news was on its way
    end(world)
    world.operate()
    assert world.phase is Phase.IDLE
    world.set_gateway(up=True)
    go_on(world, 30)
    assert world.journal.inbox == []


@pytest.mark.requirement("LIFE-12")
def test_runner_that_hangs_while_it_waits_for_a_message_is_shown_as_stalled() -> None:
    world = talking(conversation={"open": True})
    world.send()
    go_on(world, 6)
    assert (world.phase, world.journal.idle_since is None) == (Phase.RUNNING, False)
    world.live(60)
    assert not is_stalled(world)
    world.live(600)
    assert is_stalled(world)


@pytest.mark.requirement("LIFE-9")
def test_expiry_wakes_a_session_that_a_held_namespace_keeps_in_its_queue() -> None:
    world = queued(expireAfterSeconds=60)
    world.set_hold(HOLD)
    world.live(61)
    assert world.phase is Phase.EXPIRED


@pytest.mark.requirement("LIFE-9")
def test_session_that_a_person_paused_does_not_expire() -> None:
    world = paused(expireAfterSeconds=60)
    world.live(3600)
    assert world.phase is Phase.PAUSED


@pytest.mark.requirement("LIFE-5")
def test_cancel_on_a_node_that_is_cut_off_ends_at_its_deadline_without_being_asked_again() -> None:
    world = running()
    world.set_node(up=False)
    world.ask(OperatingMode.CANCELLED)
    world.live(59)
    assert world.phase is Phase.CANCELLING
    world.live(2)
    assert (world.phase, world.status.stop_reason) == (Phase.CANCELLED, StopReason.FORCE_TERMINATED)
    assert world.status.pods_remaining == 1, "nobody saw its containers end"
    world.live(3600)
    assert world.status.pods_remaining == 1
    world.set_node(up=True)
    world.operate()
    assert world.status.pods_remaining == 0


@pytest.mark.requirement("POL-2")
def test_a_call_that_waits_holds_no_pod_and_a_decision_goes_on_in_a_new_one() -> None:
    world = waiting()
    assert world.phase is Phase.WAITING
    assert [pod for pod in world.pods.values() if not pod.is_ended] == []
    made, used = world.pods_made, world.status.usage
    world.live(3600)
    assert (world.phase, world.pods_made, world.status.usage) == (Phase.WAITING, made, used)
    world.decide()
    go_on(world, 20)
    assert (world.phase, world.pods_made) == (Phase.COMPLETED, made + 1)
    assert world.journal.steps == TURNS, "the answer that asked for the call was bought once"


@pytest.mark.requirement("POL-2")
@pytest.mark.parametrize("crash", [crash for crash in Crash if crash is not Crash.NOWHERE])
@pytest.mark.parametrize("nth", range(10))
def test_crash_in_any_pass_of_a_life_with_a_question_loses_nothing(crash: Crash, nth: int) -> None:
    world = running()
    world.ask_people()
    for number in range(40):
        if number == nth:
            world.reconcile(crash)
        if number == 20:
            assert world.phase is Phase.WAITING
            world.decide()
        go_on(world, 1)
        check_pods(world)
    assert world.status.stop_reason is StopReason.GOAL_REACHED
    assert (world.journal.steps, world.pods_made) == (TURNS, 2)


@pytest.mark.requirement("POL-2")
@pytest.mark.parametrize(
    ("rule", "phase"),
    [
        pytest.param(OnExpiry.DENY, Phase.COMPLETED, id="denied, and the agent goes on"),
        pytest.param(OnExpiry.ALLOW, Phase.COMPLETED, id="allowed, and the agent goes on"),
        pytest.param(OnExpiry.PAUSE, Phase.PAUSED, id="paused until somebody decides"),
    ],
)
def test_time_to_decide_that_runs_out_ends_by_the_rule(rule: OnExpiry, phase: Phase) -> None:
    world = running()
    world.ask_people(ApprovalKind.APPROVAL, 60, rule)
    go_on(world, 5)
    assert world.phase is Phase.WAITING
    world.live(61)
    go_on(world, 20)
    assert world.phase is phase
    if rule is OnExpiry.PAUSE:
        assert world.status.stop_reason is StopReason.APPROVAL_EXPIRED
        world.decide()
        go_on(world, 20)
        assert world.phase is Phase.COMPLETED


@pytest.mark.requirement("LIFE-12")
def test_a_session_that_waits_stays_so_while_the_gateway_is_away_and_the_operator_is_new() -> None:
    world = waiting()
    world.set_gateway(up=False)
    world.set_operator(up=False)
    world.heard = None
    world.set_operator(up=True)
    world.live(600)
    assert (world.phase, world.pods_made) == (Phase.WAITING, 1)
    world.set_gateway(up=True)
    world.decide()
    go_on(world, 20)
    assert world.phase is Phase.COMPLETED


@pytest.mark.requirement("LIFE-10")
def test_a_call_in_doubt_says_so_and_how_to_end_it() -> None:
    world = running()
    world.ask_people(ApprovalKind.DOUBT)
    go_on(world, 5)
    ready = next(one for one in world.status.conditions or [] if one.type == ConditionType.READY)
    assert (ready.status, ready.reason) == ("False", "InDoubt")
    assert "may have happened; say what became of it: `kubectl agentsession approvals` shows how" in ready.message
    told = next(one for one in world.status.conditions or [] if one.type == ConditionType.WAITING_FOR_APPROVAL)
    assert told.status == "True"
