"""What the runner finds out about what its pod reaches, and how it tells: with a request that it makes anyway."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from agentsessions.api import wire
from agentsessions.runner.egress import watch_egress
from agentsessions.runner.engines.agents_sdk import AgentsSdkEngine
from agentsessions.runner.gateway import Gateway
from agentsessions.runner.loop import TurnLoop
from agentsessions.runner.settings import Forbidden, Settings
from agentsessions.runner.transport import Token, open_http
from agentsessions.runner.workspace import Workspace
from tests.unit.runner.conftest import QUICK
from tests.unit.runner.peer import Answer, Peer, call, problem

pytestmark = pytest.mark.requirement("ID-5")

COMMIT = ("POST", wire.COMMIT_PATH)
ANSWERS = {1: Answer(calls=(call("call-1", "shell", {"command": "true"}),)), 2: Answer(text="Sprockets.")}


class ApiServer:
    """A place that agents must not reach: counts who connects, and what they send."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Forbidden]:
        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.heard.put_nowait(await reader.read())
            writer.close()

        async with await asyncio.start_server(hear, "127.0.0.1") as server:
            yield Forbidden(*server.sockets[0].getsockname())


@contextmanager
def silent_port() -> Iterator[Forbidden]:
    """Hold a port that nobody listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield Forbidden(*held.getsockname())


async def play(peer: Peer, folder: Path, token_path: Path, forbidden: Forbidden | None, delay: float = 0) -> int:
    """Play all turns, as the runner's process does."""
    token = Token(token_path)
    async with open_http(peer.url, Path("unused")) as http, watch_egress(forbidden, delay) as egress:
        gateway = Gateway(http, token, QUICK, egress)
        workspace = Workspace(folder, {"PATH": os.environ["PATH"]})
        return await TurnLoop(gateway, AgentsSdkEngine(http, peer.url, token), workspace, QUICK).run()


async def test_open_egress_is_told_once_with_the_next_commit(peer: Peer, folder: Path, token_path: Path) -> None:
    peer.answers = dict(ANSWERS)
    peer.failures[wire.COMMIT_PATH].append(problem(503, "unavailable"))
    hold, server = peer.hold("model"), ApiServer()
    async with server.serve() as forbidden:
        playing = asyncio.create_task(play(peer, folder, token_path, forbidden))
        await hold.reached.wait()
        assert await server.heard.get() == b"", "the connection carries nothing"
        peer.let_go()
        assert await playing == 0
    assert server.heard.empty(), "one connection"
    assert [c.outcome for c in peer.commits] == ["continue", "final"]
    assert peer.egress_told == [COMMIT, COMMIT], "once more, as the first answer was an error, and then never again"


async def test_nothing_is_told_where_nobody_answers(peer: Peer, folder: Path, token_path: Path) -> None:
    peer.answers = dict(ANSWERS)
    with silent_port() as forbidden:
        assert await play(peer, folder, token_path, forbidden) == 0
    assert not peer.egress_told


async def test_nothing_is_known_of_a_place_whose_packets_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsessions.runner.egress.CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
        first.connect(full.getsockname())  # the queue is full: the kernel drops whoever else knocks
        async with watch_egress(Forbidden(*full.getsockname()), 0) as egress:
            (trial,) = asyncio.all_tasks() - {asyncio.current_task()}
            await trial
            assert not egress.is_open


async def test_turns_do_not_wait_for_the_trial_and_nothing_outlives_them(
    peer: Peer, folder: Path, token_path: Path
) -> None:
    server = ApiServer()
    async with server.serve() as forbidden:
        assert await play(peer, folder, token_path, forbidden, delay=3600) == 0
        assert server.heard.empty()
    assert not peer.egress_told


@pytest.mark.parametrize(
    ("host", "port", "forbidden"),
    [
        pytest.param("10.96.0.1", "443", Forbidden("10.96.0.1", 443), id="what the kubelet gives"),
        pytest.param("fd00::1", "443", Forbidden("fd00::1", 443), id="IPv6"),
        pytest.param("kubernetes.default.svc", "443", None, id="a name, which would be looked up"),
        pytest.param("10.96.0.1", "", None, id="no port"),
    ],
)
def test_the_place_tried_is_the_api_server_by_its_address(host: str, port: str, forbidden: Forbidden | None) -> None:
    env = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "AGENTSESSIONS_GATEWAY_URL": "https://g"}
    assert Settings.from_env(env).forbidden == forbidden
