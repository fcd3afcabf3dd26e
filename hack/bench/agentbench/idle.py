"""Conversations that nobody talks to: what they cost, and how long one takes to answer when somebody does."""

import argparse
import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from agentsessions.engine.resources import POD

from .cluster import Cluster, install_product, namespace_of, opened
from .figures import percentile, show
from .latency import FIRST_STEP, read_events
from .phases import watched
from .scale import Figures, act_on, names_of, stay_idle

WAKE_TARGET_SECONDS = 4.5
MOST_OPERATOR_MIB = 150
ANSWER_SECONDS = 60


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--sessions", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=120, help="time at rest (default: %(default)s)")
    parser.add_argument("--messages", type=int, default=10, help="conversations to wake (default: %(default)s)")


def run(options: argparse.Namespace) -> bool:
    """Measure, print, and say whether what is promised held."""
    install_product()
    return asyncio.run(measure(options.sessions, options.seconds, options.messages))


async def measure(sessions: int, seconds: int, messages: int) -> bool:
    """Make conversations, let them rest, wake some."""
    async with opened() as cluster, namespace_of(cluster) as namespace:
        began = await open_conversations(cluster, namespace, sessions)
        began.report(f"{sessions} conversations to Idle")
        rest = await stay_idle(cluster, seconds)
        rest.report(f"{seconds} s with {sessions} idle conversations")
        pods = await cluster.client.list_all(POD, lambda raw: raw["metadata"]["name"], namespace)
        print(f"pods: {len(pods.items)}")
        woken = await wake_some(cluster, namespace, names_of(sessions)[:: max(sessions // messages, 1)][:messages])
        print(f"message stored -> step begun   {show(woken)}")
    is_small = rest.usage["operator"][1].rss_mib < MOST_OPERATOR_MIB
    return rest.is_fine and not pods.items and is_small and percentile(woken, 50) <= WAKE_TARGET_SECONDS


async def open_conversations(cluster: Cluster, namespace: str, count: int) -> Figures:
    """Create conversations that nobody has begun, and wait until all are idle."""
    async with watched(cluster.client, namespace) as phases:

        async def create(name: str) -> None:
            await cluster.make_session(namespace, name, conversation={"open": True, "idleSeconds": 5})

        return await act_on(cluster, namespace, phases, names_of(count), create, "Idle")


async def wake_some(cluster: Cluster, namespace: str, names: list[str]) -> list[float]:
    """Send each conversation a message, one after the other; return the seconds from 2xx to the turn's start."""
    async with speaker(cluster, namespace) as http:
        return [await wake(http, namespace, name) for name in names]


@asynccontextmanager
async def speaker(cluster: Cluster, namespace: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Connect to the gateway as somebody who may talk in the namespace."""
    token, authority = await cluster.reader_token(namespace, "edit"), await cluster.gateway_ca()
    with cluster.forwarded() as port:
        async with httpx2.AsyncClient(
            base_url=f"https://localhost:{port}",
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cadata=authority),
            timeout=ANSWER_SECONDS,
        ) as http:
            yield http


async def wake(http: httpx2.AsyncClient, namespace: str, name: str) -> float:
    """Send a message; return the seconds until its turn began, once it is answered."""
    path = f"/api/v1/agent-sessions/{name}/messages"
    answer = await http.post(path, params={"namespace": namespace}, json={"content": "Are you there?"})
    answer.raise_for_status()
    sent_at, began_at = time.monotonic(), 0.0
    async with asyncio.timeout(ANSWER_SECONDS):
        async for event, data in read_events(http, namespace, name):
            if event == FIRST_STEP:
                began_at = time.monotonic()
            if event == "output":
                print(f"  {name}: {json.loads(data)['body']['text']!r:.60}", flush=True)
                return began_at - sent_at
    raise LookupError(f"session {name} ended without an answer")
