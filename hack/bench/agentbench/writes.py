"""What a write to the API server costs us.

Objects are created, patched under their resourceVersion, and deleted by uid, in a namespace of the bench's own on the
local cluster. CPU is that of this process alone; the design allows 0.17 ms per write. On one machine the kernel does a
part of the server's receiving in our `send`: that is system time.
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from agentsessions.engine.client import Client
from agentsessions.engine.resources import CONFIG_MAP

from .cluster import namespace_of, opened

WARM_UP = 64

Write = Callable[[int], Awaitable[Any]]


async def measure(name: str, write: Write, count: int, at_once: int) -> None:
    """Make `count` writes, and print what they took."""
    numbers = iter(range(count))
    taken: list[float] = []

    async def work() -> None:
        for number in numbers:
            started_at = time.perf_counter()
            await write(number)
            taken.append((time.perf_counter() - started_at) * 1000)

    wall, before = time.perf_counter(), os.times()
    await asyncio.gather(*(work() for _ in range(at_once)))
    wall, after = time.perf_counter() - wall, os.times()
    user, system = ((after[field] - before[field]) / count * 1000 for field in (0, 1))
    cuts = statistics.quantiles(taken, n=100)
    print(
        f"{name:<7} {count / wall:7.0f}/s   CPU {user + system:.3f} ms (user {user:.3f}, system {system:.3f})   "
        f"latency p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms"
    )


async def bench(client: Client, namespace: str, count: int, at_once: int) -> None:
    """Create, patch and delete `count` objects."""
    made: dict[int, dict[str, Any]] = {}

    async def create(number: int) -> None:
        body = {"metadata": {"name": f"bench-{number}"}, "data": {"text": "x" * 1000}}
        made[number] = (await client.create(CONFIG_MAP, namespace, body))["metadata"]

    async def patch(number: int) -> None:
        guard = {"resourceVersion": made[number]["resourceVersion"]}
        body = {"metadata": guard, "data": {"phase": "Running", "message": "y" * 200}}
        await client.merge_patch(CONFIG_MAP, namespace, f"bench-{number}", body)

    async def delete(number: int) -> None:
        await client.delete(CONFIG_MAP, namespace, f"bench-{number}", uid=made[number]["uid"])

    for number in range(WARM_UP):  # connections, caches
        await create(-1 - number)
    for name, write in (("create", create), ("patch", patch), ("delete", delete)):
        await measure(name, write, count, at_once)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--writes", type=int, default=3000, help="of each kind (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=32, help="default: %(default)s")


def run(options: argparse.Namespace) -> bool:
    """Measure, and print; there is nothing that could fail but the cluster."""
    asyncio.run(bench_in_namespace(options))
    return True


async def bench_in_namespace(options: argparse.Namespace) -> None:
    """Bench in a namespace that is gone afterwards."""
    print(f"{options.writes} of each, {options.at_once} at once")
    async with opened() as cluster, namespace_of(cluster) as namespace:
        await bench(cluster.client, namespace, options.writes, options.at_once)
