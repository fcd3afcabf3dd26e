"""Agents that share a pod: one real runner plays them all, and whose turn it is the gateway says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsessions.api.levels import Level
from agentsessions.api.wire import AGENT_HEADER, COMMIT_PATH, TURN_PATH, Commit
from agentsessions.gateway.problems import unavailable
from agentsessions.journal.entries import EntryType
from agentsessions.journal.rows import CommitResult, Course, PodIdentity
from tests.process.proxy.crew import UID, Crew, a_crew
from tests.process.proxy.house import MESSAGES, House

pytestmark = [pytest.mark.requirement("AG-1"), pytest.mark.timeout(300)]

RESULT = "I read that it says disk full; I made room."
STEPS = {"desk": 2, "engineer": 1}


async def check_end(crew: Crew, level: Level) -> None:
    """Whatever died meanwhile: each turn stands once under its own agent, and nothing was bought or run twice."""
    assert level.result == RESULT
    assert {agent.name: agent.steps for agent in level.agents} == STEPS
    completed = [(entry.agent, entry.step) for entry in await crew.entries(EntryType.STEP_COMPLETE)]
    assert completed == [("desk", 1), ("desk", 2), ("engineer", 1)]
    answers = [(e.agent, (e.body or {})["output"].strip()) for e in await crew.entries(EntryType.TOOL_RESULT)]
    assert [agent for agent, _ in answers] == ["desk", "desk"]
    assert answers[1] == ("desk", "The conversation goes on with agent engineer.")
    assert await crew.house.store.verify(UID) == []


async def test_one_runner_plays_both_sides_of_a_change_of_hands(house: House, tmp_path: Path) -> None:
    crew = await a_crew(house, tmp_path, "handoff.yaml")
    try:
        level = await crew.run()
        assert await crew.running["desk"].wait() == 0
    finally:
        await crew.end()
    await check_end(crew, level)
    assert crew.epochs == {"desk": 1}
    assert {entry.epoch for entry in await house.store.entries(UID) if entry.agent} == {1}


async def test_agent_with_resources_of_its_own_is_handed_over_to_another_runner(house: House, tmp_path: Path) -> None:
    crew = await a_crew(house, tmp_path, "handoff.yaml", engineer={"resources": {"requests": {"cpu": "50m"}}})
    try:
        level = await crew.run()
    finally:
        await crew.end()
    await check_end(crew, level)
    assert crew.epochs == {"desk": 1, "engineer": 1}


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize(
    ("is_committed", "is_killed", "epochs"),
    [
        pytest.param(False, True, 2, id="the runner dies before the commit"),
        pytest.param(True, True, 2, id="the runner dies behind the commit"),
        pytest.param(False, False, 1, id="the commit is lost"),
        pytest.param(True, False, 1, id="the answer to the commit is lost"),
    ],
)
async def test_change_of_hands_takes_place_once_whatever_breaks_around_its_commit(
    house: House,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_committed: bool,
    is_killed: bool,
    epochs: int,
) -> None:
    crew = await a_crew(house, tmp_path, "handoff.yaml")
    commit_turn, struck = house.store.commit_turn, []

    async def strike(pod: PodIdentity, commit: Commit, course: Course) -> CommitResult:
        if struck or (pod.agent, commit.k) != ("desk", 2):
            return await commit_turn(pod, commit, course)
        struck.append(commit)
        if is_committed:
            await commit_turn(pod, commit, course)
        if is_killed:
            await crew.kill("desk")
        raise unavailable("The connection is cut.")

    monkeypatch.setattr(house.store, "commit_turn", strike)
    try:
        level = await crew.run()
    finally:
        await crew.end()
    assert len(struck) == 1
    await check_end(crew, level)
    assert crew.epochs == {"desk": epochs}
    told = {entry.epoch for entry in await house.store.entries(UID) if entry.agent == "engineer"}
    assert told == {epochs}


@pytest.mark.requirement("ID-4")
async def test_pod_speaks_for_those_that_share_it_and_for_no_other(house: House, tmp_path: Path) -> None:
    crew = await a_crew(house, tmp_path, "handoff.yaml")
    spec: dict[str, Any] = crew.spec
    spec["agents"].append({"name": "expert", "env": [{"name": "OWN", "value": "1"}]})
    crew = Crew(house, tmp_path, spec)
    crew.epochs["desk"] = 1
    crew.show()
    async with house.client("desk-1") as pod:

        async def ask(agent: str) -> tuple[int, str]:
            body = {"model": "help-desk", "messages": MESSAGES}
            answer = await pod.post("/openai/v1/chat/completions", json=body, headers={AGENT_HEADER: agent})
            return answer.status_code, "" if answer.is_success else answer.json()["code"]

        while (turn := await pod.get(TURN_PATH)).status_code == 425:  # not fenced yet
            pass
        assert turn.json()["agent"] == "desk"
        for stranger in ("expert", "nobody"):
            assert await ask(stranger) == (403, "other_agent")
            closed = await pod.post(COMMIT_PATH, json={"k": 1, "outcome": "error"}, headers={AGENT_HEADER: stranger})
            assert closed.json()["code"] == "other_agent"
        assert (await ask("engineer"))[1] == "nothing_to_play", "it shares the pod, and has not got the conversation"
        assert await ask("desk") == (200, "")
    assert {entry.agent for entry in await house.store.entries(UID)} == {"", "desk"}
