"""Two gateways over one journal: each transition is sent once, and neither waits for the other."""

import asyncio

import pytest

from agentsessions.journal.outbox import read_receivers
from tests.postgres import Databases
from tests.process.proxy.cluster import Cluster
from tests.process.proxy.house import LONG_SECONDS
from tests.process.webhooks.conftest import cluster, impatient, receiver
from tests.process.webhooks.receiver import Receiver
from tests.process.webhooks.sending import sending
from tests.process.webhooks.test_webhooks import PHASES, live

__all__ = ["cluster", "impatient", "receiver"]  # fixtures

pytestmark = [pytest.mark.requirement("OPS-4"), pytest.mark.requirement("LIFE-11")]
SESSIONS = 20


async def test_two_gateways_send_each_transition_once(
    cluster: Cluster, receiver: Receiver, databases: Databases, name: str
) -> None:
    url = databases.server.url(name)
    keys = [{"name": "hook", "key": "key"}]
    cluster.put("sessionwebhooks", "team", "hook", spec={"url": f"{receiver.url}/in", "secretKeyRefs": keys})
    async with (
        sending(cluster.url, url, instance="one") as one,
        sending(cluster.url, url, instance="two") as two,
        asyncio.timeout(LONG_SECONDS),
    ):
        while not await one.read(read_receivers):  # noqa: ASYNC110 - another task's state
            await asyncio.sleep(0.005)
        for number in range(SESSIONS):
            # Both see each change, as their watches do.
            await asyncio.gather(*(live(store, *PHASES, uid=f"s{number}") for store in (one, two)))
        await receiver.wait(lambda: len({request.id for request in receiver.requests}) == SESSIONS * len(PHASES))
    assert len(receiver.requests) == SESSIONS * len(PHASES)
    for number in range(SESSIONS):
        mine = [r.to for r in receiver.requests if r.event["data"]["session"]["uid"] == f"s{number}"]
        assert mine == list(PHASES)
