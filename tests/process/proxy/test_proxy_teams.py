"""Several agents of one session: real runners, one for each agent that is due, and a gateway that says who is."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentsessions.api.levels import Level
from agentsessions.api.wire import Outcome
from agentsessions.journal.entries import EntryRow, EntryType
from tests.integration.runner_process import RunnerProcess
from tests.process.proxy.house import LONG_SECONDS, House, until

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples" / "teams"
UID = "uid-team-crew"


class Crew:
    """A session, and what an operator does for it: a runner for each agent that is due, none for the others."""

    def __init__(self, house: House, folder: Path, spec: dict[str, Any]) -> None:
        self.house = house
        self.spec = spec
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.epochs: Counter[str] = Counter()
        self._folder = folder

    def show(self) -> None:
        """Let the gateway's watch see the session as it is."""
        rows = [{"name": n, "epoch": e, "podName": f"{n}-{e}", "podUID": f"{n}-{e}"} for n, e in self.epochs.items()]
        status = {"phase": "Running", "phaseStartedAt": "2026-11-21T12:00:01Z", "agents": rows}
        self.house.cluster.put("agentsessions", "team", "crew", spec=self.spec, status=status)

    async def level(self) -> Level | None:
        return await self.house.store.level(UID)

    async def start(self, agent: str) -> None:
        """Start the next epoch of an agent."""
        self.epochs[agent] += 1
        self.show()
        folder = self._folder / f"{agent}-{self.epochs[agent]}"
        folder.mkdir()
        runner = RunnerProcess(folder)
        (folder / "token").write_text(f"pod-{agent}-{self.epochs[agent]}")
        self.running[agent] = await runner.start(self.house.url)

    async def look(self) -> Level | None:
        """Start what is due and does not run."""
        level = await self.level()
        for agent in level.agents if level else ():
            process = self.running.get(agent.name)
            if agent.is_due and (process is None or process.returncode is not None):
                await self.start(agent.name)
        return level

    async def run(self) -> Level:
        """Go on until the session has its final answer."""
        async with asyncio.timeout(LONG_SECONDS):
            while True:
                level = await self.look()
                if level and any(a.closing and a.closing.outcome is Outcome.FINAL for a in level.agents):
                    return level
                await asyncio.sleep(0.1)

    async def kill(self, agent: str) -> None:
        self.running[agent].kill()
        await self.running[agent].wait()

    async def end(self) -> None:
        """Leave no process behind."""
        for process in self.running.values():
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def entries(self, type_: EntryType) -> list[EntryRow]:
        return [entry for entry in await self.house.store.entries(UID) if entry.type is type_]


async def a_crew(house: House, folder: Path, sample: str) -> Crew:
    provider, session = yaml.safe_load_all((SAMPLES / sample).read_text())
    await house.put_provider(provider["spec"], name=provider["metadata"]["name"])
    crew = Crew(house, folder, session["spec"])
    crew.show()
    await until(lambda: house.gateway.session(UID) is not None)
    return crew


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
