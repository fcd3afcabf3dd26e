"""What an operator does for a session with several agents, with real runners in the place of pods."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from agentsessions.api.levels import Level
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.wire import Outcome
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.lifecycle.teams import team_of
from tests.integration.runner_process import RunnerProcess
from tests.process.proxy.house import LONG_SECONDS, House, until

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples" / "teams"
UID = "uid-team-crew"


class Crew:
    """A session, and a runner for each agent that is due, one for those that share a pod; none for the others."""

    def __init__(self, house: House, folder: Path, spec: dict[str, Any]) -> None:
        self.house = house
        self.spec = spec
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.epochs: Counter[str] = Counter()
        """Of each pod, by the agent that it is named after."""
        self._folder = folder
        team = team_of(SessionSpec.model_validate(spec))
        assert team is not None
        self._team = team

    def show(self) -> None:
        """Let the gateway's watch see the session as it is."""
        rows = []
        for member in self._team.members:
            host = self._team.host_of(member.name)
            pod, epoch = f"{host}-{self.epochs[host]}", self.epochs[host]
            rows += [{"name": member.name, "epoch": epoch, "podName": pod, "podUID": pod}] if epoch else []
        status = {"phase": "Running", "phaseStartedAt": "2026-11-21T12:00:01Z", "agents": rows}
        self.house.cluster.put("agentsessions", "team", "crew", spec=self.spec, status=status)

    async def level(self) -> Level | None:
        return await self.house.store.level(UID)

    async def start(self, host: str) -> None:
        """Start the next epoch of a pod."""
        self.epochs[host] += 1
        self.show()
        folder = self._folder / f"{host}-{self.epochs[host]}"
        folder.mkdir()
        runner = RunnerProcess(folder)
        (folder / "token").write_text(f"pod-{host}-{self.epochs[host]}")
        self.running[host] = await runner.start(self.house.url)

    async def look(self) -> Level | None:
        """Start what is due and does not run."""
        level = await self.level()
        for agent in level.agents if level else ():
            host = self._team.host_of(agent.name)
            process = self.running.get(host)
            if agent.is_due and (process is None or process.returncode is not None):
                await self.start(host)
        return level

    async def run(self) -> Level:
        """Go on until the session has its final answer."""
        async with asyncio.timeout(LONG_SECONDS):
            while True:
                level = await self.look()
                if level and any(a.closing and a.closing.outcome is Outcome.FINAL for a in level.agents):
                    return level
                await asyncio.sleep(0.1)

    async def kill(self, host: str) -> None:
        self.running[host].kill()
        await self.running[host].wait()

    async def end(self) -> None:
        """Leave no process behind."""
        for process in self.running.values():
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def entries(self, type_: EntryType) -> list[EntryRow]:
        return [entry for entry in await self.house.store.entries(UID) if entry.type is type_]


async def a_crew(house: House, folder: Path, sample: str, **own: dict[str, Any]) -> Crew:
    """Return the session of a sample; `own` are fields of agents besides, by their names."""
    provider, session = yaml.safe_load_all((SAMPLES / sample).read_text())
    await house.put_provider(provider["spec"], name=provider["metadata"]["name"])
    for agent in session["spec"]["agents"]:
        agent.update(own.get(agent["name"], {}))
    crew = Crew(house, folder, session["spec"])
    crew.show()
    await until(lambda: house.gateway.session(UID) is not None)
    return crew
