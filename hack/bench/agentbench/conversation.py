"""How long the reply to a one-call conversation takes: the first with a cold pod, the second while the pod is up."""

import argparse
import asyncio
import time

import httpx2

from .cluster import install_product, namespace_of, opened
from .figures import percentile, show
from .idle import speaker

PATH = "/api/v1/conversation"
WAIT_SECONDS = 60
COLD_TARGET_SECONDS = 5.0
WARM_TARGET_SECONDS = 0.3
"""Above the model's own time; the scripted model answers at once."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--conversations", type=int, default=10, help="one after the other (default: %(default)s)")


def run(options: argparse.Namespace) -> bool:
    """Measure, print, and say whether the targets were met."""
    install_product()
    return asyncio.run(measure(options.conversations))


async def measure(count: int) -> bool:
    """Hold conversations of two messages each, after one to warm up."""
    async with opened() as cluster, namespace_of(cluster) as namespace, speaker(cluster, namespace) as http:
        await talk(http, namespace, "warm-up")
        pairs = [await talk(http, namespace, f"talk-{number}") for number in range(count)]
    cold, warm = zip(*pairs, strict=True)
    print(f"first reply, cold pod      {show(cold)}\nsecond reply, pod is up    {show(warm)}")
    return percentile(cold, 50) <= COLD_TARGET_SECONDS and percentile(warm, 50) <= WARM_TARGET_SECONDS


async def talk(http: httpx2.AsyncClient, namespace: str, session_id: str) -> tuple[float, float]:
    """Say two things to a session that the first of them creates; return the seconds until each reply."""
    first, second = [
        await say(http, namespace, session_id, message) for message in ("Are you there?", "And are you still there?")
    ]
    return first, second


async def say(http: httpx2.AsyncClient, namespace: str, session_id: str, message: str) -> float:
    """Return the seconds until the reply.

    Raises:
        LookupError: There was none in time.
    """
    body = {"sessionId": session_id, "message": message, "waitSeconds": WAIT_SECONDS}
    began = time.monotonic()
    answer = await http.post(PATH, params={"namespace": namespace}, json=body, timeout=WAIT_SECONDS + 10)
    answer.raise_for_status()
    if answer.status_code != httpx2.codes.OK:
        raise LookupError(f"no reply within {WAIT_SECONDS} s: {answer.text}")
    return time.monotonic() - began
