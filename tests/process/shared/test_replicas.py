"""Two whole gateways over one journal: what one does not own, it waits for, and never does twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import event

from agentsessions.api import wire
from agentsessions.gateway.replicas import LOOKS, Replicas
from agentsessions.journal.entries import EntryType
from tests.postgres import Databases
from tests.process.proxy.cluster import Cluster
from tests.process.proxy.conftest import cluster, impatient, provider, provider_port
from tests.process.proxy.house import API_KEY, LONG_SECONDS, MODELS, House, Provider, open_house, spec_of, until

__all__ = ["cluster", "impatient", "provider", "provider_port"]  # fixtures

UID = "uid-team-s"
Houses = tuple[House, House]


@pytest.fixture
async def houses(
    cluster: Cluster,
    provider: Provider,
    databases: Databases,
    name: str,
) -> AsyncIterator[Houses]:
    """Two gateways that know one session with pod `p1`, and a provider of all models."""
    cluster.put_secret("team", "key", value=API_KEY)
    url = databases.server.url(name)
    async with open_house(cluster, url, instance="one") as one, open_house(cluster, url, instance="two") as two:
        for house in (one, two):
            await house.put_provider(spec_of(provider, *MODELS))
            await house.put_session()
        yield one, two


async def used(house: House) -> tuple[int, int, int]:
    level = await house.store.level(UID)
    assert level is not None
    return level.steps, level.input_tokens, level.output_tokens


async def is_waited_for(house: House) -> None:
    """Wait until a gateway waits for another one's purchase."""
    await until(lambda: bool(house.gateway.proxy.purchases.under_way) and bool(house.gateway.changes._of_one[UID]))  # noqa: SLF001 - nothing else shows it


async def a_call_on_both(houses: Houses, provider: Provider, model: str) -> "list[asyncio.Task[httpx2.Response]]":
    """Ask one gateway, and then the other one for the same."""
    asking = [asyncio.create_task(houses[0].ask(model))]
    await provider.wait_for_request()
    asking.append(asyncio.create_task(houses[1].ask(model)))
    await is_waited_for(houses[1])
    return asking


@pytest.mark.requirement("LIFE-11")
async def test_what_another_gateway_buys_is_bought_once_and_relayed_by_both(
    houses: Houses,
    provider: Provider,
) -> None:
    asking = await a_call_on_both(houses, provider, "slow")
    await provider.release()
    answers = await asyncio.gather(*asking)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert len(await provider.asked()) == 1
    assert await used(houses[1]) == (1, 50, 5)


@pytest.mark.requirement("LIFE-11")
async def test_what_a_gateway_was_buying_when_it_died_is_bought_again_by_the_other(
    houses: Houses,
    provider: Provider,
) -> None:
    asking = await a_call_on_both(houses, provider, "slow")
    await houses[0].gateway.proxy.purchases.close()  # and nothing is said of it any more
    assert (await asking[0]).status_code == 503
    replicas = Replicas(houses[1].store)
    for _ in range(LOOKS):
        await replicas.look()
    await until(lambda: len(houses[1].gateway.proxy.purchases.under_way) == 1)
    await provider.wait_for_request()
    await provider.release()

    assert (await asking[1]).status_code == 200
    assert len(await provider.asked()) == 2
    steps, _, output_tokens = await used(houses[1])
    assert (steps, output_tokens) == (2, 4005)
    assert await houses[1].store.verify(UID) == []


async def test_a_session_that_ends_waits_for_what_another_gateway_still_spends(
    houses: Houses,
    provider: Provider,
) -> None:
    asking = asyncio.create_task(houses[0].ask("hanging"))
    await provider.wait_for_request()
    await until(lambda: any(one.tries for one in houses[0].gateway.proxy.purchases.under_way))
    agents = [{"name": "agent", "epoch": 1, "podName": "p1", "podUID": "p1"}]
    status: dict[str, Any] = {"phase": "Cancelled", "phaseStartedAt": "2026-11-21T12:00:02Z", "agents": agents}
    houses[0].cluster.put("agentsessions", "team", "s", spec={"goal": "say hello"}, status=status)

    assert (await asking).status_code == 412
    with houses[1].store.changes() as changes:
        while True:
            entries = await houses[1].store.entries(UID)
            if entries[-1].type is EntryType.DONE:
                break
            async with asyncio.timeout(LONG_SECONDS):
                await anext(changes)
    steps, input_tokens, output_tokens = await used(houses[1])
    done = entries[-1].body or {}
    assert (done["usage"]["steps"], done["usage"]["totalTokens"]) == (steps, input_tokens + output_tokens)
    assert steps == 1
    phases = [(entry.body or {})["phase"] for entry in entries if entry.type is EntryType.STATE]
    assert phases == ["Running", "Cancelled"]


async def test_a_message_to_one_gateway_wakes_the_pod_that_waits_at_the_other(houses: Houses) -> None:
    for house in houses:
        await house.put_session(pod="p2", name="talk", conversation={"open": True}, goal=None)
    async with houses[0].client("p2") as pod, houses[1].person() as person:
        asking = asyncio.create_task(pod.get(wire.TURN_PATH))
        await until(lambda: bool(houses[0].gateway.changes._of_one["uid-team-talk"]))  # noqa: SLF001 - nothing else shows it
        sent = await person.post("/api/v1/agent-sessions/talk/messages", json={"content": "hello"})
        assert sent.status_code == 201, sent.text
        async with asyncio.timeout(15):  # less than a pod is held
            turn = wire.Turn.model_validate_json((await asking).content)
    assert turn.history == [{"role": "user", "content": "hello"}]


async def test_a_pod_of_a_session_that_this_gateway_has_not_seen_yet_is_not_sent_away_for_good(
    houses: Houses, databases: Databases, name: str
) -> None:
    async with Cluster().serve() as behind:
        behind.put("namespaces", "", "team")
        async with open_house(behind, databases.server.url(name), instance="three") as third:
            await houses[0].put_session(pod="p2", name="new")
            async with third.client("p2") as pod:
                assert (await pod.get(wire.TURN_PATH)).status_code == 503
            row = await third.store.get_session_by_uid("uid-team-new")
            assert row is not None
            assert row.deleted_at is None


@pytest.mark.requirement("LIFE-11")
async def test_a_purchase_whose_reservation_was_cut_off_is_not_stuck_and_is_bought_once(
    houses: Houses,
    provider: Provider,
) -> None:
    house, cut = houses[0], []

    @event.listens_for(house.store._writer_engine, "commit")  # noqa: SLF001 - where the network would be cut
    def commit_and_cut(connection: Any) -> None:
        if not cut and house.gateway.proxy.purchases.under_way:
            cut.append(1)
            connection.connection.driver_connection.commit()
            connection.connection.driver_connection.close()

    first = await house.ask("good")
    second = await house.ask("good")

    assert (cut, first.status_code, second.status_code) == ([1], 503, 200)
    assert len(await provider.asked()) == 1
    assert await used(house) == (1, 50, 5)


@pytest.mark.requirement("LIFE-11")
async def test_an_answer_that_is_sold_while_the_database_restarts_is_journaled_and_relayed(
    houses: Houses,
    provider: Provider,
    databases: Databases,
) -> None:
    asking = asyncio.create_task(houses[0].ask("slow"))
    await provider.wait_for_request()
    await asyncio.to_thread(databases.server.stop)
    await provider.release()
    await asyncio.to_thread(databases.server.start)

    assert (await asking).status_code == 200
    assert len(await provider.asked()) == 1
    assert await used(houses[1]) == (1, 50, 5)
