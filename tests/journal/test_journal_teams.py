"""Several agents in one session, as the journal sees them: who is due, what each is told, what a crash leaves."""

from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.api.wire import Outcome, Verdict
from agentsessions.journal import handoffs, spared
from agentsessions.journal.handoffs import Task
from agentsessions.journal.refusals import AgentDone, AgentIdle, GoalMissing
from agentsessions.journal.rows import Course
from agentsessions.journal.store import Store
from agentsessions.lifecycle.teams import Team, team_of
from tests.journal.builders import Clock, Player, a_session, an_answer, call_ids


class Company:
    """A session with several agents, each with the pod of its newest epoch."""

    def __init__(
        self,
        store: Store,
        strategy: str,
        *agents: str,
        after: dict[str, list[str]] | None = None,
        apart: tuple[str, ...] = (),
        **more: Any,
    ) -> None:
        self.store = store
        listed: list[dict[str, Any]] = [
            {
                "name": name,
                **({"dependsOn": after[name]} if after and name in after else {}),
                **({"resources": {"requests": {"cpu": "1"}}} if name in apart else {}),
            }
            for name in agents
        ]
        self.spec = {"goal": "say hello", "agents": listed, "coordination": {"strategy": strategy, **more}}
        team = team_of(SessionSpec.model_validate(self.spec))
        assert team is not None
        self.team: Team = team
        self.course = Course(team=team)
        self._epochs: dict[str, int] = {}

    async def open(self) -> "Company":
        await self.store.put_session(a_session(spec=self.spec))
        return self

    async def pod(self, agent: str) -> Player:
        """Fence a new pod for an agent, as the operator does for one that is due."""
        epoch = self._epochs[agent] = self._epochs.get(agent, 0) + 1
        await self.store.fence("s1", agent, epoch, f"{agent}-{epoch}")
        found = await self.store.identify_pod(f"{agent}-{epoch}")
        assert found is not None
        return Player(self.store, found)

    async def due(self) -> list[str]:
        level = await self.store.level("s1")
        assert level is not None
        return [agent.name for agent in level.agents if agent.is_due]

    async def is_final(self) -> bool:
        level = await self.store.level("s1")
        assert level is not None
        return any(agent.closing and agent.closing.outcome is Outcome.FINAL for agent in level.agents)

    async def result(self) -> str | None:
        level = await self.store.level("s1")
        return level.result if level else None

    async def asked(self, player: Player) -> list[str]:
        """Return what the pod's next turn shows the model as said by users."""
        turn = await self.store.pin_turn(player.pod, self.course)
        return [item["content"] for item in await self.store.history(turn) if item.get("role") == "user"]


@pytest.mark.requirement("AG-3")
async def test_sequential_agents_work_in_order_and_are_told_the_answer_before(store: Store) -> None:
    company = await Company(store, "Sequential", "a", "b", "c").open()
    assert await company.due() == ["a"]
    first = await company.pod("a")
    assert await company.asked(first) == ["say hello"]
    await first.answer("one", company.course)
    assert await company.due() == ["b"]
    assert not await company.is_final()
    with pytest.raises(AgentDone):
        await store.pin_turn(first.pod, company.course)
    second = await company.pod("b")
    assert await company.asked(second) == ["say hello", "one"]
    await second.answer("two", company.course)
    third = await company.pod("c")
    assert await company.asked(third) == ["say hello", "two"]
    await third.answer("three", company.course)
    assert await company.due() == []
    assert await company.is_final()
    assert await company.result() == "three"
    assert await store.verify("s1") == []


@pytest.mark.requirement("AG-3")
async def test_sequential_agents_follow_what_they_depend_on(store: Store) -> None:
    company = await Company(store, "Sequential", "last", "first", after={"last": ["first"]}).open()
    assert await company.due() == ["first"]


@pytest.mark.requirement("AG-3")
async def test_parallel_agents_work_at_once_as_far_as_they_may_and_their_answers_are_joined(store: Store) -> None:
    company = await Company(store, "Parallel", "a", "b", "sum", after={"sum": ["a", "b"]}).open()
    assert await company.due() == ["a", "b"]
    a, b = await company.pod("a"), await company.pod("b")
    await b.answer("two", company.course)
    assert await company.due() == ["a"]
    early = await company.pod("sum")
    with pytest.raises(AgentDone):  # nothing to play, whoever made the pod
        await store.pin_turn(early.pod, company.course)
    await a.answer("one", company.course)
    assert await company.due() == ["sum"]
    late = await company.pod("sum")
    assert await company.asked(late) == ["say hello", "## a\n\none\n\n## b\n\ntwo"]
    await late.answer("three", company.course)
    assert await company.is_final()
    assert await company.result() == "three"


@pytest.mark.requirement("AG-3")
async def test_answers_for_which_nobody_waits_are_the_result_together(store: Store) -> None:
    company = await Company(store, "Parallel", "a", "b").open()
    for agent, text in (("b", "two"), ("a", "one")):
        await (await company.pod(agent)).answer(text, company.course)
    assert await company.is_final()
    assert await company.result() == "## a\n\none\n\n## b\n\ntwo"
    assert await store.verify("s1") == []


@pytest.mark.requirement("AG-3")
async def test_conversation_changes_hands_with_the_commit_of_the_turn_and_comes_back(store: Store) -> None:
    company = await Company(store, "Handoff", "desk", "engineer", apart=("engineer",), maxHandoffs=2).open()
    desk = await company.pod("desk")
    await company.asked(desk)
    (call,) = call_ids(await desk.ask(an_answer("not mine", "transfer_to_engineer")))
    await desk.begin(call, "transfer_to_engineer")
    await desk.report(call, "goes on")
    assert await company.due() == ["desk"]
    for _ in range(2):  # the same commit again is answered alike
        done = await desk.commit(1, Outcome.CONTINUE, company.course)
        assert done.is_last
    assert await company.due() == ["engineer"]
    engineer = await company.pod("engineer")
    turn = await store.pin_turn(engineer.pod, company.course)
    kinds = [item.get("type") or item["role"] for item in await store.history(turn)]
    assert kinds == ["user", "message", "function_call", "function_call_output"]
    (back,) = call_ids(await engineer.ask(an_answer("", "transfer_to_desk")))
    assert back != call
    await engineer.begin(back, "transfer_to_desk")
    await engineer.report(back, "goes on")
    await engineer.commit(1, Outcome.CONTINUE, company.course)
    desk = await company.pod("desk")
    assert (await store.pin_turn(desk.pod, company.course)).k == 2
    assert await store.read(handoffs.find_limit, "s1", company.team) is not None
    (third,) = call_ids(await desk.ask(an_answer("", "transfer_to_engineer"), "d9"))
    await desk.begin(third, "transfer_to_engineer")
    await desk.report(third, "a pod's own word")
    assert not (await desk.commit(2, Outcome.CONTINUE, company.course)).is_last
    await desk.answer("done", company.course)
    assert await company.is_final()


async def delegate(company: Company, director: Player, agent: str, digest: str = "d1") -> str:
    (call,) = call_ids(await director.ask(an_answer("", "delegate"), digest))
    await director.begin(call, "delegate")
    await give(company, director, agent, call)
    return call


async def give(company: Company, director: Player, agent: str, call: str) -> str | None:
    task = Task(call, agent, f"work, {agent}")
    return await company.store.write(lambda work: handoffs.give_task(work, director.pod, company.team, task))


@pytest.mark.requirement("AG-3")
async def test_task_is_given_once_and_its_answer_settles_the_call_of_whichever_pod_asks(store: Store) -> None:
    company = await Company(store, "Director", "boss", "hand").open()
    boss = await company.pod("boss")
    await company.asked(boss)
    call = await delegate(company, boss, "hand")
    assert await company.due() == ["boss", "hand"]
    boss = await company.pod("boss")  # the first one died while it waited
    await company.asked(boss)
    assert await delegate(company, boss, "hand") == call
    hand = await company.pod("hand")
    assert await company.asked(hand) == ["say hello", "work, hand"]
    hand = await company.pod("hand")  # and so did the first one here
    assert await company.asked(hand) == ["say hello", "work, hand"]
    await hand.answer("worked", company.course)
    assert await company.due() == ["boss"]
    assert await store.read(handoffs.read_result, "s1", "boss", call) == ("worked", False)
    await boss.commit(1, Outcome.CONTINUE, company.course)
    again = await store.pin_turn(boss.pod, company.course)
    second = await delegate(company, boss, "hand", "d2")
    assert again.k == 2
    hand = await company.pod("hand")
    assert (await company.asked(hand))[-1] == "work, hand"
    await hand.answer("worked again", company.course)
    assert await store.read(handoffs.read_result, "s1", "boss", second) == ("worked again", False)
    await boss.commit(2, Outcome.CONTINUE, company.course)
    await boss.answer("all done", company.course)
    assert await company.is_final()
    assert await company.due() == []
    assert await company.result() == "all done"
    assert await store.verify("s1") == []
    level = await store.level("s1")
    assert level is not None
    assert sum(agent.steps for agent in level.agents) == level.steps == 5
    assert sum(agent.tokens for agent in level.agents) == level.input_tokens + level.output_tokens


@pytest.mark.requirement("AG-3")
async def test_director_is_told_when_no_more_work_may_be_passed_on(store: Store) -> None:
    company = await Company(store, "Director", "boss", "hand", maxHandoffs=1).open()
    boss = await company.pod("boss")
    await company.asked(boss)
    answer = await boss.ask(an_answer("", "delegate", "delegate"))
    first, second = call_ids(answer)
    assert await give(company, boss, "hand", first) is None
    assert await give(company, boss, "hand", second) == "maxHandoffs 1 is used up: finish the work yourself"
    assert await give(company, boss, "hand", first) is None


async def test_agent_of_a_team_waits_for_the_goal_like_any_other(store: Store) -> None:
    company = Company(store, "Parallel", "a", "b")
    company.spec["context"] = {"text": "not read yet"}
    await company.open()
    with pytest.raises(GoalMissing):
        await store.pin_turn((await company.pod("a")).pod, company.course)


@pytest.mark.requirement("LIM-1")
@pytest.mark.parametrize(("most", "director", "hand"), [(1, False, False), (2, True, False), (3, True, True)])
async def test_call_that_is_too_deep_is_answered_and_not_run(
    store: Store, most: int, director: bool, hand: bool
) -> None:
    company = Company(store, "Director", "boss", "hand")
    limits = EffectiveLimits(recursion_limit=most)
    await store.put_session(a_session(spec=company.spec, limits=limits))
    boss = await company.pod("boss")
    await company.asked(boss)
    (call,) = call_ids(await boss.ask(an_answer("", "delegate")))
    said = await boss.begin(call, "delegate")
    assert (said.verdict is Verdict.RUN) is director
    if not director:
        assert said.output == "delegate: this call would be at depth 2, and recursionLimit is 1: go on without it"
        assert (await boss.types())[-1] == "tool_result"
        return
    await give(company, boss, "hand", call)
    worker = await company.pod("hand")
    await company.asked(worker)
    (deeper,) = call_ids(await worker.ask(an_answer("", "shell")))
    assert ((await worker.begin(deeper)).verdict is Verdict.RUN) is hand


async def spare(company: Company, agent: str, epoch: int = 1) -> None:
    await company.store.write(lambda work: spared.spare(work, "s1", agent, epoch, company.team, "it broke"))


@pytest.mark.requirement("AG-3")
async def test_others_are_told_what_failed_in_the_place_of_an_answer(store: Store) -> None:
    company = await Company(store, "Sequential", "a", "b").open()
    await company.asked(await company.pod("a"))
    for _ in range(2):  # asked again, it changes nothing
        await spare(company, "a")
    assert await company.due() == ["b"]
    second = await company.pod("b")
    assert await company.asked(second) == ["say hello", "(agent a failed: it broke)"]
    await second.answer("two", company.course)
    assert await company.is_final()


@pytest.mark.requirement("AG-3")
async def test_last_agent_that_fails_ends_the_session_with_what_there_is(store: Store) -> None:
    company = await Company(store, "Parallel", "a", "b").open()
    await (await company.pod("a")).answer("one", company.course)
    await company.asked(await company.pod("b"))
    await spare(company, "b")
    assert await company.is_final()
    assert await company.result() == "## a\n\none\n\n## b\n\n(agent b failed: it broke)"


@pytest.mark.requirement("AG-3")
async def test_director_is_told_what_failed_and_may_ask_again(store: Store) -> None:
    company = await Company(store, "Director", "boss", "hand").open()
    boss = await company.pod("boss")
    await company.asked(boss)
    call = await delegate(company, boss, "hand")
    await company.asked(await company.pod("hand"))
    await spare(company, "hand")
    assert await company.due() == ["boss"]
    assert await store.read(handoffs.read_result, "s1", "boss", call) == ("agent hand failed: it broke", True)
    await boss.commit(1, Outcome.CONTINUE, company.course)
    await store.pin_turn(boss.pod, company.course)
    second = await delegate(company, boss, "hand", "d2")
    assert await company.due() == ["boss", "hand"]
    hand = await company.pod("hand")
    assert (await company.asked(hand))[-1] == "work, hand"
    await hand.answer("worked", company.course)
    assert await store.read(handoffs.read_result, "s1", "boss", second) == ("worked", False)
    assert await store.verify("s1") == []


@pytest.mark.requirement("AG-3")
@pytest.mark.requirement("LIFE-8")
async def test_conversation_that_changed_hands_idles_with_who_has_it_and_answers_there(
    store: Store, clock: Clock
) -> None:
    company = await Company(store, "Handoff", "desk", "engineer", apart=("engineer",)).open()
    course = Course(team=company.team, is_open=True, idle=timedelta(seconds=60))
    desk = await company.pod("desk")
    await company.asked(desk)
    (call,) = call_ids(await desk.ask(an_answer("not mine", "transfer_to_engineer")))
    await desk.begin(call, "transfer_to_engineer")
    await desk.report(call, "goes on")
    await desk.commit(1, Outcome.CONTINUE, course)
    engineer = await company.pod("engineer")
    await engineer.answer("what is it?", course)
    assert not await company.is_final()
    clock.move(seconds=60)
    with pytest.raises(AgentIdle):
        await store.pin_turn(engineer.pod, course)
    level = await store.level("s1")
    assert level is not None
    assert {agent.name: (agent.is_due, agent.closing and agent.closing.outcome) for agent in level.agents} == {
        "desk": (False, Outcome.HANDOFF),
        "engineer": (True, Outcome.IDLE),
    }
    await engineer.say("it does not start")
    woken = await company.pod("engineer")
    await woken.answer("turn it on", course)
    closed = Course(team=company.team)
    with pytest.raises(AgentDone):
        await store.pin_turn(woken.pod, closed)
    assert await company.is_final()
    assert await company.result() == "turn it on"
    assert await store.verify("s1") == []
