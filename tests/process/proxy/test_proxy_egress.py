"""What a pod found out about its egress, from a real runner's commit to what the operator is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agentsessions.api import wire
from agentsessions.runner.egress import Egress, watch_egress
from agentsessions.runner.engines.agents_sdk import AgentsSdkEngine
from agentsessions.runner.gateway import Gateway
from agentsessions.runner.loop import TurnLoop
from agentsessions.runner.settings import Forbidden, Patience
from agentsessions.runner.transport import Token, open_http
from agentsessions.runner.workspace import Workspace
from tests.process.proxy.house import House, until

pytestmark = pytest.mark.requirement("ID-5")

UID = "uid-team-s"
SCRIPTED = {"type": "Scripted", "models": [{"name": "tiny"}], "script": {"rules": [{"answer": {"text": "hello"}}]}}


async def is_told_open(house: House) -> bool:
    level = await house.store.level(UID)
    assert level is not None
    return level.is_egress_open


async def play(house: House, folder: Path, egress: Egress) -> int:
    """Play the session to its end, as the runner's process does."""
    (folder / "token").write_text("pod-p1")
    (folder / "workspace").mkdir()
    token, patience = Token(folder / "token"), Patience()
    async with open_http(house.url, Path("unused")) as http:
        loop = TurnLoop(
            Gateway(http, token, patience, egress),
            AgentsSdkEngine(http, house.url, token),
            Workspace(folder / "workspace", {}),
            patience,
        )
        return await loop.run()


async def test_open_egress_that_a_runner_found_stands_in_the_level(house: House, tmp_path: Path) -> None:
    await house.put_provider(SCRIPTED)
    with socket.create_server(("127.0.0.1", 0)) as api_server:
        async with watch_egress(Forbidden(*api_server.getsockname()), 0) as egress:
            await until(lambda: egress.is_open)
            assert not await is_told_open(house)
            assert await play(house, tmp_path, egress) == 0
    assert await is_told_open(house)


async def test_what_a_commit_says_counts_and_other_words_say_nothing(house: House) -> None:
    await house.put_provider(SCRIPTED)
    async with house.client() as pod:
        asked = await pod.get(wire.TURN_PATH, headers={wire.EGRESS_HEADER: "closed"})
        turn = wire.Turn.model_validate_json(asked.content)
        assert (await house.ask(turn.model)).is_success
        assert not await is_told_open(house)
        commit = wire.Commit(k=turn.k, outcome=wire.Outcome.FINAL).to_json()
        done = await pod.post(wire.COMMIT_PATH, json=commit, headers={wire.EGRESS_HEADER: wire.EGRESS_OPEN})
    assert done.status_code == 204
    assert await is_told_open(house)
