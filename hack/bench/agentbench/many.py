"""Sessions created all at once on the one real node, to Completed."""

import argparse
import asyncio
import time

from .audit import AuditLog, count_refusals, count_requests, count_writes
from .cluster import OPERATOR, Cluster, install_product, namespace_of, opened, wait_events
from .figures import show
from .machine import read_usage
from .phases import watched

UNASKED = 99
"""Sessions that a namespace without quota runs at the same time, beside the first one."""
PATIENCE_SECONDS = 300


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--sessions", type=int, default=10, help="default: %(default)s")


def run(options: argparse.Namespace) -> bool:
    """Measure, print, and say whether all completed."""
    install_product()
    return asyncio.run(measure(options.sessions))


async def measure(count: int) -> bool:
    """Create `count` sessions at once and wait for all."""
    async with opened() as cluster, namespace_of(cluster) as namespace:
        return await play(cluster, namespace, count)


async def play(cluster: Cluster, namespace: str, count: int) -> bool:
    """Run the sessions in a namespace; a first one makes what the namespace needs once."""
    async with watched(cluster.client, namespace) as phases:
        if count > UNASKED:
            await cluster.allow_sessions(namespace, count)
        await cluster.make_session(namespace, "warm-up", goal="Say hello.")
        await phases.wait(["warm-up"], ["Completed"], seconds=PATIENCE_SECONDS)
        operator, gateway = await cluster.processes("operator"), await cluster.processes("gateway")
        before = read_usage(operator), read_usage(gateway)
        audit, names = AuditLog.now(cluster.audit_log), [f"many-{number}" for number in range(count)]
        began = time.monotonic()
        await asyncio.gather(*(cluster.make_session(namespace, name, goal=f"Greet {name}.") for name in names))
        await phases.wait(names, ["Completed"], seconds=PATIENCE_SECONDS)
        await wait_events(cluster, namespace, "Completed", set(names))
        records = audit.read()
    print(f"create -> Completed    {show(phases.seen_at[name, 'Completed'] - began for name in names)}")
    for component, processes, was in (("operator", operator, before[0]), ("gateway", gateway, before[1])):
        spent = (read_usage(processes).cpu_seconds - was.cpu_seconds) / count * 1000
        print(f"{component} CPU per session   {spent:.0f} ms")
    ours = [record for record in records if record.user == OPERATOR]
    writes, refused = count_writes(ours, namespace), count_refusals(ours, namespace)
    print(f"operator's writes      {dict(writes)}   refused {dict(refused)}")
    print(f"all requests           {dict(count_requests(records))}")
    return not refused
