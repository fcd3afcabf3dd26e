"""A session of several agents is done once more by each of them, and the steps that differ are told with the agent."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.wire import Outcome, SideEffect, ToolBegin, Verdict
from agentsessions.journal import handoffs, replays, sources
from agentsessions.journal.entries import EntryType
from agentsessions.journal.handoffs import Task
from agentsessions.journal.rows import Course
from agentsessions.journal.sources import SourceProblem
from agentsessions.journal.store import Store
from agentsessions.lifecycle.teams import Team, team_of
from tests.journal.builders import Player, a_session, an_answer, call_ids
from tests.journal.test_journal_replays import PARTS, completion
from tests.journal.test_journal_teams import Company, spare

pytestmark = pytest.mark.requirement("STEP-4")

Script = Mapping[str, Sequence[dict[str, Any]]]
DIRECTOR: Script = {
    "boss": [an_answer("", "delegate"), an_answer("all done")],
    "hand": [an_answer("", "shell"), an_answer("worked")],
}
HANDOFF: Script = {
    "boss": [an_answer("", "shell"), an_answer("", "transfer_to_hand")],
    "hand": [an_answer("", "shell"), an_answer("worked")],
}
BESIDE: Script = {"boss": [an_answer("", "shell"), an_answer("one")], "hand": [an_answer("two")]}


def a_team(strategy: str, **more: Any) -> dict[str, Any]:
    return {"agents": [{"name": "boss"}, {"name": "hand"}], "coordination": {"strategy": strategy}, **more}


class Stage:
    """Plays a session of several agents to its end: from a script, or from what was recorded."""

    def __init__(self, store: Store, uid: str, spec: dict[str, Any], results: Mapping[str, str]) -> None:
        self.store, self.uid, self.results = store, uid, results
        team = team_of(SessionSpec.model_validate({"goal": "x", **spec}))
        assert team is not None
        self.team: Team = team
        self.course = Course(team=team)
        self.ran: list[tuple[str, str]] = []

    async def play(self, script: Script | None = None) -> None:
        while due := await self.due():
            await self.act(due[0], script)

    async def due(self) -> list[str]:
        level = await self.store.level(self.uid)
        assert level is not None
        return [agent.name for agent in level.agents if agent.is_due]

    async def act(self, agent: str, script: Script | None) -> None:
        """Let an agent work until its part, or its task, is answered."""
        pod = f"{self.uid}-{agent}-{len(self.ran)}"
        self.ran.append((agent, "pod"))
        await self.store.fence(self.uid, agent, len(self.ran), pod)
        found = await self.store.identify_pod(pod)
        assert found is not None
        player = Player(self.store, found)
        while agent in await self.due():
            turn = await self.store.pin_turn(player.pod, self.course)
            reserved = await player.reserve(f"d{turn.k}", parts=PARTS)
            answer = script[agent][turn.k - 1] if script else completion(await self.recorded(reserved.call_id))
            calls = call_ids(await player.settle(reserved, answer, (0, 0)))
            names = [one["function"]["name"] for one in answer["choices"][0]["message"].get("tool_calls", ())]
            for name, call in zip(names, calls, strict=True):
                await self.call(player, name, call, script)
            outcome = Outcome.CONTINUE if calls else Outcome.FINAL
            if (await player.commit(turn.k, outcome, self.course)).is_last:
                return

    async def recorded(self, call_id: int) -> Any:
        found = await self.store.read(replays.find_answer, call_id)
        assert found is not None
        return found

    async def call(self, player: Player, name: str, call: str, script: Script | None) -> None:
        begin = ToolBegin(call_id=call, name=name, arguments="{}", side_effect=SideEffect.INTERNAL)
        if (await self.store.begin_tool(player.pod, begin)).verdict is not Verdict.RUN:
            return
        self.ran.append((player.pod.agent, name))
        if name == "delegate":
            task = Task(call, "hand", "work")
            await self.store.write(lambda work: handoffs.give_task(work, player.pod, self.team, task))
            await self.act("hand", script)
            return
        output = "as before" if name != "shell" else self.results.get(player.pod.agent, "as before")
        await player.report(call, output)


async def record(store: Store, strategy: str, script: Script) -> None:
    spec = a_team(strategy)
    await store.put_session(a_session(spec=spec))
    await Stage(store, "s1", spec, {}).play(script)
    await store.put_session(a_session(spec=spec, phase=Phase.COMPLETED))


async def put_replay(store: Store, strategy: str, **replay: Any) -> SourceProblem | None:
    spec = a_team(strategy, replay={"of": {"name": "s1"}, **replay})
    await store.put_session(a_session("r1", goal="", spec=spec))
    return await store.write(lambda work: sources.adopt(work, "r1"))


async def replayed(store: Store, strategy: str, results: Mapping[str, str], **replay: Any) -> tuple[list[str], Stage]:
    """Do the session once more; return its result, and what ran."""
    assert await put_replay(store, strategy, **replay) is None
    stage = Stage(store, "r1", a_team(strategy), results)
    await stage.play()
    level = await store.level("r1")
    assert level is not None
    assert await store.verify("r1") == []
    return (level.result or "").splitlines(), stage


CASES = [
    pytest.param("Director", DIRECTOR, 4, id="a director and whom it gives a task"),
    pytest.param("Handoff", HANDOFF, 4, id="two that hand over"),
    pytest.param("Sequential", BESIDE, 3, id="one after the other"),
    pytest.param("Parallel", BESIDE, 3, id="side by side"),
]


@pytest.mark.parametrize(("strategy", "script", "steps"), CASES)
async def test_replay_of_several_agents_reports_no_difference_when_nothing_changed(
    store: Store, strategy: str, script: Script, steps: int
) -> None:
    await record(store, strategy, script)
    result, stage = await replayed(store, strategy, {"boss": "other", "hand": "other"})
    assert result == [f"Recorded replay of s1: {steps} steps, no difference"]
    assert ("hand", "shell") not in stage.ran, "results are recorded ones"
    assert await stage.due() == []


@pytest.mark.parametrize(("strategy", "script", "steps"), CASES)
async def test_changed_tool_of_one_agent_is_told_for_exactly_its_step(
    store: Store, strategy: str, script: Script, steps: int
) -> None:
    await record(store, strategy, script)
    who = "boss" if strategy in {"Sequential", "Parallel"} else "hand"
    result, _ = await replayed(store, strategy, {who: "something else"}, tools="RunInternal")
    assert result == [
        f"Recorded replay of s1: {steps} steps, 1 differs",
        f"{who}, step 1: shell returned 'something else', recorded was 'as before'",
    ]
    found = [one for one in await store.entries("r1") if one.type is EntryType.DIFFERENCE]
    assert [(one.agent, (one.body or {})["step"]) for one in found] == [(who, 1)]


async def refused(store: Store, strategy: str = "Parallel", **replay: Any) -> str:
    problem = await put_replay(store, strategy, **replay)
    assert problem is not None
    assert problem.reason is Reason.SOURCE_INVALID
    return problem.message


async def test_several_agents_are_not_done_again_by_halves(store: Store) -> None:
    await record(store, "Parallel", BESIDE)
    assert "leave spec.replay.untilStep out" in await refused(store, untilStep=2)


async def test_several_agents_are_done_again_by_the_same_team_alone(store: Store) -> None:
    await record(store, "Parallel", BESIDE)
    assert "another spec.coordination" in await refused(store, "Sequential")


async def test_several_agents_that_did_not_complete_are_not_done_again(store: Store) -> None:
    spec = a_team("Parallel")
    await store.put_session(a_session(spec=spec))
    await Stage(store, "s1", spec, {}).play(BESIDE)
    await store.put_session(a_session(spec=spec, phase=Phase.FAILED))
    assert "did not complete (Failed)" in await refused(store)


async def test_session_that_went_on_without_an_agent_is_not_done_again(store: Store) -> None:
    company = await Company(store, "Parallel", "boss", "hand").open()
    await company.asked(await company.pod("hand"))
    await spare(company, "hand")
    await (await company.pod("boss")).answer("one", company.course)
    await store.put_session(a_session(spec=company.spec, phase=Phase.COMPLETED))
    assert "went on without one of its agents" in await refused(store)


async def test_conversation_of_several_agents_is_not_done_again(store: Store) -> None:
    spec = a_team("Handoff", conversation={"open": True})
    await store.put_session(a_session(spec=spec))
    stage = Stage(store, "s1", spec, {})
    await stage.store.fence("s1", "boss", 1, "p")
    pod = await store.identify_pod("p")
    assert pod is not None
    player = Player(store, pod)
    await player.say("hello")
    await player.answer("one", Course(team=stage.team, is_open=True))
    await store.put_session(a_session(spec=spec, phase=Phase.COMPLETED))
    assert "people talked to" in await refused(store, "Handoff")
