"""Sessions that a director asked for, made by the operator on a real API server: once, whatever is cut off."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentsessions.api.child_sessions import ChildReport, ChildRequest, ChildSessionsLevel
from agentsessions.api.v1alpha1.life import Limits
from agentsessions.controller.kinds import AGENT_SESSIONS
from tests.integration.controller_cluster import NAME, PATIENCE_SECONDS, Json, own_cluster
from tests.integration.test_controller_sessions import World, open_world

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

WANTED = ChildRequest(id="r1", name="boss-1", agent="lead", goal="count", limits=Limits(max_steps=3))
BOSS: Json = {
    "role": "Director",
    "childSessions": {"max": 3},
    "priority": 7,
    "agents": [{"name": "lead", "instructions": "Lead.", "tools": [{"builtin": "Files"}]}],
}


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with own_cluster(NAME) as kubeconfig:
        yield kubeconfig


@pytest.fixture
async def world(kubeconfig: str, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(kubeconfig, tmp_path) as world:
        yield world


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110  # the server that hears it tells nobody
            await asyncio.sleep(0.05)


async def a_director(world: World) -> Json:
    await world.namespace.create(AGENT_SESSIONS, "boss", spec={"goal": "lead", **BOSS})

    def starts(raw: Json) -> bool:
        return bool(raw["metadata"]["name"] == "boss" and raw.get("status", {}).get("phase") == "Starting")

    return await world.namespace.wait(AGENT_SESSIONS, starts)


def ask(world: World, director: Json, *requests: ChildRequest, **changes: Any) -> None:
    children = ChildSessionsLevel(started=len(requests), pending=requests)
    world.gateway.say(world.level(director, child_sessions=children, **changes))


async def children_of(world: World) -> list[Json]:
    found = await world.namespace.list(AGENT_SESSIONS)
    return [one for one in found if one["metadata"]["name"] != "boss"]


async def made(world: World, name: str = "boss-1") -> Json:
    return await world.namespace.wait(AGENT_SESSIONS, lambda raw: bool(raw["metadata"]["name"] == name))


@pytest.mark.requirement("OBJ-4")
async def test_child_is_made_once_though_the_operator_dies_before_the_journal_is_told(world: World) -> None:
    director = await a_director(world)
    world.gateway.hears_of_children = False
    ask(world, director, WANTED)
    child = await made(world)
    await until(lambda: bool(world.gateway.children))
    await world.operator.stop(by=signal.SIGKILL)
    world.gateway.break_stream()
    world.gateway.hears_of_children = True
    world.gateway.children.clear()
    ask(world, director, WANTED, head=10)
    world.gateway.say(synced=True)
    await world.operator.start()
    await until(lambda: bool(world.gateway.children))
    assert world.gateway.children["r1"][0] == ChildReport(child_uid=child["metadata"]["uid"])
    assert [one["metadata"]["uid"] for one in await children_of(world)] == [child["metadata"]["uid"]]

    spec, meta = child["spec"], child["metadata"]
    assert meta["ownerReferences"][0]["uid"] == director["metadata"]["uid"]
    assert spec["agents"] == [
        {"name": "lead", "tools": [{"builtin": "Files"}], "model": {"providerRef": {"name": "default"}}}
    ], "told nothing of what the director is told"
    assert (spec["role"], spec["priority"], spec["limits"]) == ("Worker", 7, {"maxSteps": 3})
    assert "childSessions" not in spec


async def test_child_that_was_deleted_before_the_journal_saw_it_is_not_made_again(world: World) -> None:
    director = await a_director(world)
    ask(world, director, WANTED.model_copy(update={"child_uid": "gone"}))
    await until(lambda: bool(world.gateway.children))
    assert world.gateway.children["r1"][0].problem == "it was deleted before it did anything"
    assert await children_of(world) == []


async def test_name_that_another_session_has_is_told_and_that_session_left_alone(world: World) -> None:
    other = await world.namespace.create_session("boss-1", goal="mine")
    director = await a_director(world)
    ask(world, director, WANTED)
    await until(lambda: bool(world.gateway.children))
    assert world.gateway.children["r1"][0].problem == "another session has the name boss-1"
    assert [one["metadata"]["uid"] for one in await children_of(world)] == [other["metadata"]["uid"]]


async def test_child_that_the_api_server_refuses_is_told_in_its_words(world: World) -> None:
    director = await a_director(world)
    ask(world, director, WANTED.model_copy(update={"name": "x" * 60}))
    await until(lambda: bool(world.gateway.children))
    assert "metadata.name is too long" in str(world.gateway.children["r1"][0].problem)


@pytest.mark.requirement("LIFE-7")
async def test_director_that_is_paused_starts_nobody_until_it_goes_on(world: World) -> None:
    director = await a_director(world)
    at_once = {"gracePeriodSeconds": 1}  # the pod never runs, so it closes no turn
    await world.namespace.patch_session("boss", operatingMode="Paused", pausePolicy=at_once)
    await world.namespace.wait_phase("Paused")
    ask(world, director, WANTED)
    await world.namespace.patch_session("boss", title="looked at once more")
    await world.namespace.wait(AGENT_SESSIONS, lambda raw: bool(raw["status"]["observedGeneration"] == 3))
    assert await children_of(world) == []
    await world.namespace.patch_session("boss", operatingMode="Running")
    world.gateway.break_stream()  # it says nothing by itself: after a while its client takes it for dead
    world.gateway.say(synced=True)
    ask(world, director, WANTED, head=10)
    await made(world)
