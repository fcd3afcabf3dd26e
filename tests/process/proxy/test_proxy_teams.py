"""Several agents of one session: real runners, one for each agent that is due, and a gateway that says who is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentsessions.journal.entries import EntryType
from tests.process.proxy.crew import UID, a_crew
from tests.process.proxy.house import LONG_SECONDS, House


@pytest.mark.requirement("AG-3")
@pytest.mark.timeout(300)
async def test_tasks_are_given_and_answered_once_whichever_runner_dies_meanwhile(house: House, tmp_path: Path) -> None:
    crew = await a_crew(house, tmp_path, "director.yaml")
    try:
        async with asyncio.timeout(LONG_SECONDS):
            while "sales" not in crew.running:  # the director waits for its answer now
                await crew.look()
                await asyncio.sleep(0.1)
        await crew.kill("director")
        await crew.kill("sales")
        level = await crew.run()
    finally:
        await crew.end()
    assert level.result == "Sales: 42 pieces. Stock: 42 pieces."
    assert {agent.name: agent.steps for agent in level.agents} == {"director": 3, "sales": 2, "stock": 2}
    told = [(entry.agent, (entry.body or {})["content"]) for entry in await crew.entries(EntryType.MESSAGE)]
    assert [agent for agent, _ in told] == ["", "sales", "stock"]
    calls = {(e.body or {})["callId"] for e in await crew.entries(EntryType.TOOL_CALL) if e.agent == "director"}
    answered = [(e.body or {})["callId"] for e in await crew.entries(EntryType.TOOL_RESULT) if e.agent == "director"]
    assert len(answered) == len(calls) == 2
    assert set(answered) == calls
    assert crew.epochs == {"director": 2, "sales": 2, "stock": 1}
    assert await house.store.verify(UID) == []
