"""What tests of the runner share."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentsessions.runner.engines.agents_sdk import AgentsSdkEngine
from agentsessions.runner.gateway import Gateway
from agentsessions.runner.loop import TurnLoop
from agentsessions.runner.settings import Patience
from agentsessions.runner.transport import Token, open_http
from agentsessions.runner.workspace import Workspace
from tests.unit.runner.peer import TOKEN, Answer, Peer

QUICK = Patience(first_wait_seconds=0.01, longest_wait_seconds=0.02, total_seconds=5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The workspace."""
    path = tmp_path / "workspace"
    path.mkdir()
    return path


@pytest.fixture
def token_path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer({1: Answer(text="Sprockets.")}).serve() as serving:
        yield serving


class Runner:
    """A fresh runner each time it is asked for: nothing is carried over but the workspace."""

    def __init__(self, folder: Path, token_path: Path) -> None:
        self.folder = folder
        self.token_path = token_path

    async def run(self, peer: Peer, patience: Patience = QUICK) -> int:
        token = Token(self.token_path)
        async with open_http(peer.url, Path("unused")) as http:
            engine = AgentsSdkEngine(http, peer.url, token)
            gateway = Gateway(http, token, patience)
            workspace = Workspace(self.folder, {"PATH": os.environ["PATH"]})
            return await TurnLoop(gateway, engine, workspace, patience).run()


@pytest.fixture
def runner(folder: Path, token_path: Path) -> Runner:
    return Runner(folder, token_path)
