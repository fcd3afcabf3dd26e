"""Hundreds of conversations that nobody talks to hold no pod and cost nothing; each of them still answers."""

import pytest

from hack.bench.agentbench.cluster import opened
from hack.bench.agentbench.idle import MOST_OPERATOR_MIB, open_conversations, wake_some
from hack.bench.agentbench.machine import describe_machine
from hack.bench.agentbench.scale import names_of, stay_idle
from tests.e2e.product import Product

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.slow]

CONVERSATIONS = 500
REST_SECONDS = 120


@pytest.mark.requirement("LIFE-8")
async def test_500_idle_conversations_hold_no_pod_write_nothing_and_answer(product: Product, namespace: str) -> None:
    async with opened() as cluster:
        began = await open_conversations(cluster, namespace, CONVERSATIONS)
        rest = await stay_idle(cluster, REST_SECONDS)
        assert product.core.list_namespaced_pod(namespace).items == []
        woken = await wake_some(cluster, namespace, names_of(CONVERSATIONS)[::100])
    print(f"machine: {describe_machine()}")  # noqa: T201  # pytest shows it with the figures
    began.report(f"{CONVERSATIONS} conversations to Idle")
    rest.report(f"{REST_SECONDS} s with {CONVERSATIONS} idle conversations")
    assert rest.writes == {}
    assert rest.usage["operator"][1].rss_mib < MOST_OPERATOR_MIB
    assert len(woken) == 5, "each of them answered"
