"""Agents of one session that share a pod, as the journal sees them: whose turn it is, what a crash leaves."""

from datetime import timedelta

import pytest

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.wire import Outcome, TurnError
from agentsessions.journal.refusals import AgentDone, AgentIdle, NothingToPlay, StaleEpoch, TurnMismatch
from agentsessions.journal.rows import Course
from agentsessions.journal.store import Store
from tests.journal.builders import Clock, Player, an_answer, call_ids
from tests.journal.test_journal_teams import Company

pytestmark = pytest.mark.requirement("AG-1")


async def a_desk(store: Store, *apart: str, most: int = 4) -> tuple[Company, Player]:
    """Return a session whose agents share a pod, but for some, and its pod with the first turn pinned."""
    company = await Company(store, "Handoff", "desk", "engineer", "expert", apart=apart, maxHandoffs=most).open()
    desk = await company.pod("desk")
    await company.asked(desk)
    return company, desk


def as_agent(player: Player, agent: str) -> Player:
    """Return the pod as its runner speaks for another agent."""
    return Player(player.store, player.pod.playing(agent))


async def pass_to(player: Player, agent: str, company: Company, k: int, digest: str = "d1") -> bool:
    """Play a turn that hands over, and close it; return whether it was the pod's last."""
    (call,) = call_ids(await player.ask(an_answer("", f"transfer_to_{agent}"), digest))
    await player.begin(call, f"transfer_to_{agent}")
    await player.report(call, "goes on")
    done = await player.commit(k, Outcome.CONTINUE, company.course)
    return bool(done.is_last)


async def test_change_of_hands_within_a_pod_goes_on_in_its_epoch_with_the_other_agent(store: Store) -> None:
    company, desk = await a_desk(store)
    assert not await pass_to(desk, "engineer", company, 1)
    assert not (await desk.commit(1, Outcome.CONTINUE, company.course)).is_last  # sent again, it is answered alike
    assert await company.due() == ["engineer"]
    turn = await store.pin_turn(desk.pod, company.course)
    assert (turn.agent, turn.k) == ("engineer", 1)
    kinds = [item.get("type") or item["role"] for item in await store.history(turn)]
    assert kinds == ["user", "function_call", "function_call_output"]
    assert not (await desk.commit(1, Outcome.CONTINUE, company.course)).is_last  # late, it closes no other's turn
    engineer = as_agent(desk, "engineer")
    assert not await pass_to(engineer, "desk", company, 1)
    back = await store.pin_turn(desk.pod, company.course)
    assert (back.agent, back.k) == ("desk", 2)
    await desk.ask(an_answer("done"), "d3")
    assert (await desk.commit(2, Outcome.FINAL, company.course)).is_last
    level = await store.level("s1")
    assert level is not None
    assert [(one.name, one.epoch_turns, one.steps) for one in level.agents] == [
        ("desk", 3, 2),
        ("engineer", 0, 1),
        ("expert", 0, 0),
    ]
    closings = [one.closing for one in level.agents if one.closing is not None]
    assert [(one.agent, one.epoch, one.outcome) for one in closings] == [("desk", 1, Outcome.FINAL)]
    assert {entry.epoch for entry in await store.entries("s1") if entry.agent} == {1}
    assert await store.verify("s1") == []


async def test_pod_that_dies_before_the_commit_is_followed_by_one_that_plays_the_same_turn(store: Store) -> None:
    company, desk = await a_desk(store)
    (call,) = call_ids(await desk.ask(an_answer("", "transfer_to_engineer")))
    await desk.begin(call, "transfer_to_engineer")
    await desk.report(call, "goes on")
    second = await company.pod("desk")
    again = await store.pin_turn(second.pod, company.course)
    assert (again.agent, again.k) == ("desk", 1)
    assert await pass_to(second, "engineer", company, 1) is False
    assert (await store.pin_turn(second.pod, company.course)).agent == "engineer"
    with pytest.raises(StaleEpoch):
        await desk.commit(1, Outcome.CONTINUE, company.course)


async def test_pod_that_dies_behind_the_commit_is_followed_by_one_that_plays_the_other_agent(store: Store) -> None:
    company, desk = await a_desk(store)
    await pass_to(desk, "engineer", company, 1)
    first = await store.pin_turn(desk.pod, company.course)
    second = await company.pod("desk")
    again = await store.pin_turn(second.pod, company.course)
    assert (again.agent, again.k, again.history_seq) == ("engineer", 1, first.history_seq)
    with pytest.raises(StaleEpoch):
        await as_agent(desk, "engineer").ask(an_answer("late"))
    await as_agent(second, "engineer").answer("done", company.course)
    assert await company.is_final()
    with pytest.raises(AgentDone):
        await store.pin_turn(second.pod, company.course)


async def test_epoch_ends_where_the_conversation_leaves_the_pod_and_the_next_begins_with_who_gets_it(
    store: Store,
) -> None:
    company, desk = await a_desk(store, "expert")
    assert await pass_to(desk, "engineer", company, 1) is False
    await store.pin_turn(desk.pod, company.course)
    engineer = as_agent(desk, "engineer")
    assert await pass_to(engineer, "expert", company, 1)
    assert (await engineer.commit(1, Outcome.CONTINUE, company.course)).is_last
    with pytest.raises(AgentDone):
        await store.pin_turn(desk.pod, company.course)
    assert await company.due() == ["expert"]
    expert = await company.pod("expert")
    assert (await store.pin_turn(expert.pod, company.course)).agent == "expert"
    assert await pass_to(expert, "engineer", company, 1)
    second = await company.pod("desk")
    turn = await store.pin_turn(second.pod, company.course)
    assert (turn.agent, turn.k) == ("engineer", 2)


async def test_agent_without_the_conversation_buys_nothing_in_the_pod_that_it_shares(store: Store) -> None:
    company, desk = await a_desk(store)
    with pytest.raises(NothingToPlay):
        await as_agent(desk, "engineer").ask(an_answer("mine"))
    with pytest.raises(TurnMismatch):
        await as_agent(desk, "engineer").commit(1, Outcome.FINAL, company.course)
    await pass_to(desk, "engineer", company, 1)
    with pytest.raises(NothingToPlay):
        await desk.ask(an_answer("mine"), "d2")
    assert await company.due() == ["engineer"]


async def test_error_of_any_agent_closes_the_epoch_and_leaves_its_turn_to_the_next_pod(store: Store) -> None:
    company, desk = await a_desk(store)
    await pass_to(desk, "engineer", company, 1)
    await store.pin_turn(desk.pod, company.course)
    error = TurnError(code=ErrorCode.RUNNER_ERROR, message="it broke")
    done = await as_agent(desk, "engineer").commit(1, Outcome.ERROR, company.course, error=error)
    assert done.is_last
    level = await store.level("s1")
    assert level is not None
    closing = level.agents[0].closing
    assert closing is not None
    assert (closing.agent, closing.outcome, closing.code) == ("desk", Outcome.ERROR, ErrorCode.RUNNER_ERROR)
    second = await company.pod("desk")
    assert (await store.pin_turn(second.pod, company.course)).agent == "engineer"


async def test_hands_that_are_used_up_leave_the_conversation_where_it_is(store: Store) -> None:
    company, desk = await a_desk(store, most=1)
    await pass_to(desk, "engineer", company, 1)
    await store.pin_turn(desk.pod, company.course)
    engineer = as_agent(desk, "engineer")
    assert await pass_to(engineer, "desk", company, 1) is False
    turn = await store.pin_turn(desk.pod, company.course)
    assert (turn.agent, turn.k) == ("engineer", 2)


async def test_conversation_idles_and_wakes_with_who_has_it_in_the_pod_of_all(store: Store, clock: Clock) -> None:
    company, desk = await a_desk(store)
    course = Course(team=company.team, is_open=True, idle=timedelta(seconds=60))
    await pass_to(desk, "engineer", company, 1)
    await as_agent(desk, "engineer").answer("what is it?", course)
    clock.move(seconds=60)
    with pytest.raises(AgentIdle):
        await store.pin_turn(desk.pod, course)
    await desk.say("it does not start")
    woken = await company.pod("desk")
    assert (await store.pin_turn(woken.pod, course)).agent == "engineer"
    await as_agent(woken, "engineer").answer("turn it on", course)
    closed = Course(team=company.team)
    with pytest.raises(AgentDone):
        await store.pin_turn(woken.pod, closed)
    assert await company.is_final()
    assert await company.result() == "turn it on"
    assert await store.verify("s1") == []
