"""SessionQuotas on a real API server: never more at once than allowed, in order, held and released."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentsessions.api.levels import Closing, Level
from agentsessions.api.spending import Spent
from agentsessions.api.wire import Outcome
from agentsessions.controller.kinds import AGENT_SESSIONS, SESSION_QUOTAS
from agentsessions.engine.client import Client, Resource
from agentsessions.engine.resources import POD
from tests.integration.controller_cluster import (
    NAME,
    Kubelet,
    Namespace,
    OperatorProcess,
    audit_lines,
    fresh_namespace,
    open_client,
    own_cluster,
)
from tests.unit.controller.level_server import LevelServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.requirement("LIM-4")]

Json = dict[str, Any]
HOLDING = frozenset({"Starting", "Running", "Pausing", "Cancelling"})


@dataclass
class History:
    """Everything that happened to sessions and pods of a namespace, in the order of the API server."""

    events: dict[int, tuple[str, str, Json]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, client: Client, namespace: str, resource: Resource) -> None:
        """Take down the events of one kind."""
        listing = await client.list_all(resource, lambda raw: raw, namespace)
        async with aclosing(
            client.watch(resource, resource_version=listing.resource_version, namespace=namespace)
        ) as w:
            async for event in w:
                if event.type in {"ADDED", "MODIFIED", "DELETED"}:
                    version = int(event.object["metadata"]["resourceVersion"])
                    self.events[version] = (resource.kind, event.type, event.object)
                    self.news.set()

    def in_order(self) -> list[tuple[str, str, Json]]:
        return [self.events[version] for version in sorted(self.events)]

    def most_at_once(self) -> int:
        """Return how many sessions at most held a pod, or were in a phase with one, after any event."""
        phases: dict[str, str] = {}
        pods: dict[str, str] = {}
        most = 0
        for kind, what, thing in self.in_order():
            meta, status = thing["metadata"], thing.get("status", {})
            if kind == "Pod":
                is_live = what != "DELETED" and status.get("phase") not in {"Succeeded", "Failed"}
                pods.pop(meta["uid"], None)
                if is_live:
                    pods[meta["uid"]] = meta["ownerReferences"][0]["uid"]
            elif status.get("phase") in HOLDING and what != "DELETED":
                phases[meta["uid"]] = status["phase"]
            else:
                phases.pop(meta["uid"], None)
            most = max(most, len({*phases, *pods.values()}))
        return most

    def starts(self) -> list[str]:
        """Return the names of sessions in the order in which they first were Starting."""
        names = [
            t["metadata"]["name"] for k, _, t in self.in_order() if k == "AgentSession" and phase_of(t) == "Starting"
        ]
        return list(dict.fromkeys(names))


@dataclass
class World:
    """What a test acts upon."""

    client: Client
    kubelet: Kubelet
    gateway: LevelServer
    operator: OperatorProcess
    namespace: Namespace
    history: History

    async def set_quota(self, **spec: Any) -> None:
        """Create or change the quota."""
        if any(True for _ in await self.namespace.list(SESSION_QUOTAS)):
            await self.client.merge_patch(SESSION_QUOTAS, self.namespace.name, "small", {"spec": spec})
        else:
            await self.namespace.create(SESSION_QUOTAS, "small", spec=spec)

    async def create(self, *names: str, **spec: Any) -> None:
        for name in names:
            await self.namespace.create_session(name, **spec)

    async def wait_phases(self, phase: str, *names: str) -> dict[str, Json]:
        """Wait until exactly these sessions are in a phase; return them."""
        async with asyncio.timeout(30):
            while True:
                self.history.news.clear()
                found = {
                    thing["metadata"]["name"]: thing
                    for kind, what, thing in self.last_events().values()
                    if kind == "AgentSession" and what != "DELETED" and phase_of(thing) == phase
                }
                if found.keys() == set(names):
                    return found
                await self.history.news.wait()

    def last_events(self) -> dict[str, tuple[str, str, Json]]:
        return {thing["metadata"]["uid"]: (kind, what, thing) for kind, what, thing in self.history.in_order()}

    def pod_of(self, name: str) -> Json:
        """Return the newest pod of a session."""
        pods = [
            thing
            for kind, what, thing in self.last_events().values()
            if kind == "Pod" and what != "DELETED" and thing["metadata"]["ownerReferences"][0]["name"] == name
        ]
        return max(pods, key=lambda pod: int(pod["metadata"]["labels"]["agentsessions.dev/epoch"]))

    async def run(self, *names: str) -> None:
        """Let the pods of sessions run."""
        for name in names:
            await self.kubelet.start(self.pod_of(name))

    async def finish(self, name: str) -> None:
        """Let a session give its final answer."""
        pod = self.pod_of(name)
        self.gateway.say(self.level(name, pod, outcome=Outcome.FINAL))
        await self.kubelet.end(pod, 0)

    def level(self, name: str, pod: Json, outcome: Outcome | None = None) -> Level:
        uid, epoch = pod["metadata"]["ownerReferences"][0]["uid"], pod["metadata"]["labels"]["agentsessions.dev/epoch"]
        closing = outcome and Closing(agent="agent", epoch=int(epoch), pod_uid=pod["metadata"]["uid"], outcome=outcome)
        figures = {"steps": 2, "input_tokens": 100, "output_tokens": 20, "turns": 2, "epoch_turns": 2, "head": 9}
        return Level(session_uid=uid, namespace=self.namespace.name, name=name, digest="ab", closing=closing, **figures)


def phase_of(session: Json) -> str:
    phase: str = session.get("status", {}).get("phase", "")
    return phase


def ready_of(session: Json) -> tuple[str, str]:
    """Return reason and message of condition Ready."""
    ready = next(c for c in session["status"]["conditions"] if c["type"] == "Ready")
    return ready["reason"], ready["message"]


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with own_cluster(NAME) as kubeconfig:
        yield kubeconfig


@asynccontextmanager
async def background(*jobs: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def world(kubeconfig: str, tmp_path: Path) -> AsyncIterator[World]:
    async with (
        open_client(kubeconfig) as client,
        LevelServer().serve() as gateway,
        fresh_namespace(client) as namespace,
    ):
        kubelet, operator, history = Kubelet(client), OperatorProcess(kubeconfig, gateway.url, tmp_path), History()
        await kubelet.join()
        follow = [history.follow(client, namespace.name, resource) for resource in (AGENT_SESSIONS, POD)]
        async with background(kubelet.run(), *follow):
            gateway.say(synced=True)
            await operator.start()
            await namespace.create_provider()
            try:
                yield World(client, kubelet, gateway, operator, namespace, history)
            finally:
                code = await operator.stop()
        assert (code, operator.problems()) == (0, [])


@pytest.mark.requirement("LIFE-11")
async def test_twelve_sessions_with_quota_three_run_three_at_a_time_in_order_across_a_kill(world: World) -> None:
    await world.set_quota(maxConcurrentSessions=3)
    names = [f"s{number:02}" for number in range(12)]
    await world.create(*names[:3])
    await world.wait_phases("Starting", *names[:3])
    await world.create(*names[3:11])
    await world.create("s11", priority=10)
    queued = await world.wait_phases("Queued", *names[3:])
    reason, message = ready_of(queued["s11"])
    assert (reason, message.partition(":")[0]) == ("QuotaExceeded", "place 1 in the queue")
    assert "SessionQuota small lets 3 session(s) run at the same time" in message
    expected = [*names[:3], "s11", *names[3:11]]
    for number, name in enumerate(expected):
        if number == 5:
            await world.operator.stop(by=signal.SIGKILL)
            await world.finish(name)  # while nobody looks
            world.gateway.break_stream()
            levels = list(world.gateway.stored.values())
            world.gateway.say(*levels, synced=True)
            await world.operator.start()
        else:
            await world.finish(name)
        await world.wait_phases("Completed", *expected[: number + 1])
        await world.wait_phases("Starting", *expected[number + 1 : number + 4])
    assert world.history.most_at_once() == 3
    first, later = world.history.starts()[:3], world.history.starts()[3:]
    assert sorted(first) == names[:3], "there was room for all of them: none went before another"
    assert later == expected[3:]


async def test_a_burst_of_sessions_never_exceeds_the_quota(world: World) -> None:
    await world.set_quota(maxConcurrentSessions=3)
    names = [f"b{number:02}" for number in range(40)]
    await asyncio.gather(*(world.create(name) for name in names))
    await world.namespace.wait(SESSION_QUOTAS, lambda raw: raw.get("status", {}).get("queued") == 37)
    status = (await world.namespace.get(SESSION_QUOTAS, "small"))["status"]
    assert (status["active"], len(status["queue"]), status["startedLastMinute"]) == (3, 10, 3)
    assert world.history.most_at_once() == 3
    assert await world.operator.stop() == 0
    written = [
        line["objectRef"]["name"]
        for line in audit_lines(world.namespace.name)
        if line["verb"] == "patch"
        and line["objectRef"].get("subresource") == "status"
        and line["objectRef"]["resource"] == "agentsessions"
    ]
    assert len(written) == 40, "each session was written once: Starting, or Queued"


@pytest.mark.requirement("LIFE-7")
async def test_a_hold_stops_everything_and_its_end_lets_it_go_on(world: World) -> None:
    await world.set_quota(maxConcurrentSessions=2)
    await world.create("a", "b")
    await world.wait_phases("Starting", "a", "b")
    await world.run("a", "b")
    await world.wait_phases("Running", "a", "b")
    await world.create("c", "d")
    await world.wait_phases("Queued", "c", "d")
    await world.set_quota(hold=True, holdReason="bad day")
    paused = await world.wait_phases("Paused", "a", "b")
    words = "SessionQuota small holds this namespace: bad day; set its spec.hold to false to go on"
    assert {thing["status"]["stopReason"] for thing in paused.values()} == {"Emergency"}
    assert all(ready_of(thing)[1].startswith(words) for thing in paused.values())
    queued = await world.namespace.wait(
        AGENT_SESSIONS,
        lambda raw: raw["metadata"]["name"] == "d" and ready_of(raw)[0] == "NamespaceHeld",
    )
    assert ready_of(queued)[1] == words
    assert await world.namespace.list(POD) == []
    held = await world.namespace.wait(
        SESSION_QUOTAS, lambda raw: raw["status"]["conditions"][0]["reason"] == "NamespaceHeld"
    )
    assert held["status"]["conditions"][0]["message"] == words
    await world.set_quota(hold=False)
    again = await world.wait_phases("Starting", "a", "b")
    assert {thing["status"]["agents"][0]["epoch"] for thing in again.values()} == {2}
    await world.namespace.wait(
        AGENT_SESSIONS, lambda raw: raw["metadata"]["name"] == "d" and ready_of(raw)[0] == "QuotaExceeded"
    )
    assert world.history.most_at_once() == 2


async def test_a_quota_is_lowered_raised_and_taken_away_while_sessions_wait(world: World) -> None:
    await world.set_quota(maxConcurrentSessions=2)
    await world.create("a", "b")
    await world.wait_phases("Starting", "a", "b")
    await world.create("c", "d", "e", "f")
    await world.wait_phases("Queued", "c", "d", "e", "f")
    await world.set_quota(maxConcurrentSessions=1)
    await world.finish("a")
    await world.wait_phases("Completed", "a")
    await world.wait_phases("Queued", "c", "d", "e", "f")
    await world.set_quota(maxConcurrentSessions=2)
    await world.wait_phases("Starting", "b", "c")
    await world.set_quota(maxConcurrentSessions=3)
    await world.wait_phases("Starting", "b", "c", "d")
    await world.client.delete(SESSION_QUOTAS, world.namespace.name, "small")
    await world.wait_phases("Starting", "b", "c", "d", "e", "f")


async def test_todays_tokens_stop_starts_until_there_are_some_again(world: World) -> None:
    world.gateway.spent = None
    await world.set_quota(maxTokensPerDay=1000)
    await world.create("a")
    waiting = await world.wait_phases("Queued", "a")
    assert ready_of(waiting["a"])[0] == "UsageUnknown"
    await world.namespace.wait(
        SESSION_QUOTAS, lambda raw: raw.get("status", {}).get("conditions", [{}])[0].get("reason") == "UsageUnknown"
    )
    world.gateway.spent = {world.namespace.name: Spent(tokens=1000, cost_micro_usd=7)}
    full = await world.namespace.wait(
        AGENT_SESSIONS, lambda raw: raw.get("status") is not None and ready_of(raw)[0] == "QuotaExceeded"
    )
    assert "maxTokensPerDay" in ready_of(full)[1]
    quota = await world.namespace.wait(SESSION_QUOTAS, lambda raw: raw["status"].get("tokensToday") == 1000)
    assert quota["status"]["costMicroUSDToday"] == 7
    world.gateway.spent = {}  # the next day
    await world.wait_phases("Starting", "a")


async def test_first_starts_wait_for_the_minute_to_move_on(world: World) -> None:
    await world.set_quota(maxStartsPerMinute=1)
    await world.create("a")
    await world.wait_phases("Starting", "a")
    await world.create("b")
    queued = await world.wait_phases("Queued", "b")
    assert "lets 1 session(s) start within a minute" in ready_of(queued["b"])[1]
    await world.set_quota(maxStartsPerMinute=2)
    await world.wait_phases("Starting", "a", "b")


@pytest.mark.requirement("OBJ-5")
async def test_the_younger_of_two_equal_own_ids_waits_until_the_older_is_gone(world: World) -> None:
    await world.create("first", sessionId="sales-2026-11", owner="alice")
    await world.wait_phases("Starting", "first")
    await world.create("second", sessionId="sales-2026-11", owner="alice")
    await world.create("others", sessionId="sales-2026-11", owner="bob")
    refused = await world.wait_phases("Pending", "second")
    accepted = next(c for c in refused["second"]["status"]["conditions"] if c["type"] == "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "DuplicateId")
    assert "that of session 'first'" in accepted["message"]
    await world.wait_phases("Starting", "first", "others")
    await world.client.delete(AGENT_SESSIONS, world.namespace.name, "first")
    await world.wait_phases("Starting", "others", "second")
