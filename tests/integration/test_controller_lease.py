"""Two replicas of the operator with a Lease on a real API server: one acts, and what happens when it ends."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from agentsessions.controller.leadership import EXIT_LOST
from agentsessions.engine.credentials import load_access
from agentsessions.engine.resources import POD
from hack.faults.faultproxy.faults import Cut
from hack.faults.faultproxy.kubeconfig import write_kubeconfig
from hack.faults.faultproxy.proxy import Proxy
from hack.faults.faultproxy.rules import Match, Rule
from tests.integration.controller_cluster import (
    NAME,
    Namespace,
    OperatorProcess,
    fresh_namespace,
    open_client,
    own_cluster,
)
from tests.integration.faults_stage import Journal

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

HANDED_OVER_SECONDS = 1.0
LEASE_SECONDS = 15.0
EVERY_VERB = frozenset({"get", "list", "watch", "create", "update", "patch"})


@dataclass
class Replica:
    """One replica behind a proxy of its own."""

    proxy: Proxy
    process: OperatorProcess
    port: int

    async def read(self, path: str) -> tuple[int, str]:
        """Return status and text of what its health port serves."""
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status, await answer.text()

    @property
    def changes(self) -> list[str]:
        """What it changed or tried to change."""
        return [str(record.call) for record in self.proxy.records]


@dataclass
class Pair:
    """Two replicas, and a namespace for sessions. The first acts, the second stands by."""

    namespace: Namespace
    first: Replica
    second: Replica


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with own_cluster(NAME) as kubeconfig:
        yield kubeconfig


@asynccontextmanager
async def replica(kubeconfig: str, journal: Journal, folder: Path, namespace: str) -> AsyncIterator[Replica]:
    """Give a replica that is not started yet."""
    async with Proxy(load_access(kubeconfig)).serve() as proxy:
        own = write_kubeconfig(folder / "kubeconfig", proxy.url)
        port = free_port()
        settings = {
            "AGENTSESSIONS_NAMESPACE": namespace,
            "AGENTSESSIONS_LEADER_ELECTION": "true",
            "AGENTSESSIONS_HEALTH_PORT": str(port),
        }
        yield Replica(proxy, OperatorProcess(str(own), journal.url, folder, **settings), port)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return a folder for each replica."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    return first, second


@pytest.fixture
async def pair(kubeconfig: str, folders: tuple[Path, Path]) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(kubeconfig))
        journal = await stack.enter_async_context(Journal().serve())
        install = await stack.enter_async_context(fresh_namespace(client))
        namespace = await stack.enter_async_context(fresh_namespace(client))
        first, second = [
            await stack.enter_async_context(replica(kubeconfig, journal, folder, install.name)) for folder in folders
        ]
        await first.process.start()
        await second.process.start(until="standing by")
        await namespace.create_provider()
        yield Pair(namespace, first, second)
        assert await second.process.stop() == 0
        assert second.process.problems() == []
        assert await first.process.stop() in {0, EXIT_LOST, -signal.SIGKILL}


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


async def test_a_standby_is_ready_says_so_and_writes_nothing(pair: Pair) -> None:
    await pair.namespace.create_session()
    await pair.namespace.wait_phase("Starting")
    assert await pair.second.read("/readyz") == (200, '{"role": "standby", "problems": {}}')
    assert await pair.first.read("/readyz") == (200, '{"role": "leading", "problems": {}}')
    assert "agentsession_operator_leading 0.0" in (await pair.second.read("/metrics"))[1]
    assert "agentsession_operator_leading 1.0" in (await pair.first.read("/metrics"))[1]
    assert pair.second.changes == []
    assert "create pods" in pair.first.changes


async def test_a_planned_stop_hands_over_in_less_than_a_second_and_leaves_nothing_undone(pair: Pair) -> None:
    await pair.namespace.create_session("before")
    await pair.namespace.wait_phase("Starting")
    began = time.monotonic()
    pair.first.process.send(signal.SIGTERM)
    await pair.namespace.create_session("meanwhile")
    await pair.second.process.until("acting")
    seconds = time.monotonic() - began
    print(f"planned hand-over: {seconds * 1000:.0f} ms")  # noqa: T201  # shown with -rP
    await pair.namespace.wait(POD, lambda raw: raw["metadata"]["name"].startswith("meanwhile-"))
    assert await pair.first.process.ended() == 0
    assert pair.first.process.problems() == []
    assert seconds < HANDED_OVER_SECONDS
    assert len(await pair.namespace.list(POD)) == 2
    assert "create pods" in pair.second.changes


async def test_a_leader_that_cannot_renew_ends_before_the_standby_takes_over(pair: Pair) -> None:
    began = time.monotonic()
    pair.first.proxy.arm(Rule(Cut(), times=10_000, match=Match(verbs=EVERY_VERB, resource="leases")))
    assert await pair.first.process.ended() == EXIT_LOST
    lost_after = time.monotonic() - began
    assert all(line["event"] != "acting" for line in pair.second.process.lines)
    await pair.second.process.until("acting")
    taken_after = time.monotonic() - began
    print(f"lost after {lost_after:.1f} s, taken over after {taken_after:.1f} s")  # noqa: T201  # shown with -rP
    assert taken_after <= LEASE_SECONDS + HANDED_OVER_SECONDS
    assert [line["event"] for line in pair.first.process.problems()] == ["lease lost; ending at once"]
    await pair.namespace.create_session()
    await pair.namespace.wait_phase("Starting")


async def test_a_leader_that_was_suspended_too_long_ends_when_it_wakes(pair: Pair) -> None:
    pair.first.process.send(signal.SIGSTOP)
    await pair.second.process.until("acting")
    before = len(pair.first.changes)
    await pair.namespace.create_session()
    await pair.namespace.wait_phase("Starting")
    pair.first.process.send(signal.SIGCONT)
    assert await asyncio.wait_for(pair.first.process.ended(), HANDED_OVER_SECONDS) == EXIT_LOST
    assert {"create pods", "patch agentsessions/status"}.isdisjoint(pair.first.changes[before:])
    assert len(await pair.namespace.list(POD)) == 1
