"""Hundreds of sessions on nodes that kwok simulates: to Running, to the end by Cancel, and then at rest."""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .audit import PRODUCT, AuditLog, Record, count_refusals, count_requests, count_writes
from .cluster import AGENT_SESSION, Cluster, install_product, namespace_of, opened, wait_events
from .figures import show
from .machine import Usage, read_usage
from .phases import Phases, watched
from .simulated import simulated_nodes

AT_ONCE = 16
"""Requests of ours under way: what creates sessions must not be what limits."""
WARM_UP = "warm-up"
PATIENCE_SECONDS = 300
COMPONENTS = ("operator", "gateway")

Act = Callable[[str], Awaitable[object]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--sessions", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--nodes", type=int, default=10, help="simulated nodes (default: %(default)s)")
    parser.add_argument(
        "--idle-seconds", type=int, default=120, help="time to measure at rest afterwards (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> bool:
    """Measure, print, and say whether nothing went wrong."""
    install_product()
    return asyncio.run(measure(options.sessions, options.nodes, options.idle_seconds))


async def measure(sessions: int, nodes: int, idle_seconds: int) -> bool:
    """Run the sessions in a namespace of their own."""
    async with (
        opened() as cluster,
        simulated_nodes(cluster.client, cluster.kubeconfig, nodes),
        namespace_of(cluster) as namespace,
    ):
        ran = await start_sessions(cluster, namespace, sessions)
        ran.report(f"{sessions} sessions to Running on {nodes} simulated nodes")
        ended = await cancel_sessions(cluster, namespace, sessions)
        ended.report(f"{sessions} sessions to Cancelled")
        if idle_seconds:
            rest = await stay_idle(cluster, idle_seconds)
            rest.report(f"{idle_seconds} s at rest with {sessions} finished sessions")
            return ran.is_fine and ended.is_fine and rest.is_fine
        return ran.is_fine and ended.is_fine


@dataclass
class Figures:
    """What one part of the bench took."""

    sessions: int
    seconds: list[float] = field(default_factory=list)
    """From the call to the phase, per session."""
    wall_seconds: float = 0.0
    usage: dict[str, tuple[Usage, Usage]] = field(default_factory=dict)
    """Before and after, by component."""
    writes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    """Everything that operator and gateway asked the API server."""
    may_write: bool = True

    @property
    def is_fine(self) -> bool:
        """Whether nothing was refused, and nothing written that should not be."""
        return not self.refused and (self.may_write or not self.writes)

    def report(self, title: str) -> None:
        """Print the figures."""
        print(f"{title}: {self.wall_seconds:.1f} s")
        if self.seconds:
            print(f"  per session          {show(self.seconds)}")
        for component, (before, after) in self.usage.items():
            spent = after.cpu_seconds - before.cpu_seconds
            each = f" ({spent / self.sessions * 1000:.1f} ms per session)" if self.sessions else ""
            print(
                f"  {component:<9} CPU {spent:6.2f} s{each}   "
                f"RSS {before.rss_mib:.1f} -> {after.rss_mib:.1f} MiB, peak {after.peak_rss_mib:.1f} MiB"
            )
        each = f" = {self.writes.total() / self.sessions:.2f} per session" if self.sessions else ""
        print(f"  writes    {self.writes.total()}{each}   {dict(self.writes)}")
        print(f"  refused   {self.refused.total()}   {dict(self.refused)}")
        print(f"  all requests of operator and gateway   {dict(self.requests)}", flush=True)


async def start_sessions(cluster: Cluster, namespace: str, count: int) -> Figures:
    """Create sessions as fast as the API server takes them, and wait until all run."""
    names = names_of(count)
    async with watched(cluster.client, namespace) as phases:
        await cluster.allow_sessions(namespace, count + 1)
        # The first session of a namespace also makes what the namespace needs once.
        await cluster.make_session(namespace, WARM_UP, goal="Say hello.")
        await phases.wait([WARM_UP], ["Running"], seconds=PATIENCE_SECONDS)

        async def create(name: str) -> None:
            await cluster.make_session(namespace, name, goal=f"Greet {name}.")

        return await act_on(cluster, namespace, phases, names, create, "Running")


async def cancel_sessions(cluster: Cluster, namespace: str, count: int) -> Figures:
    """Cancel all sessions, and wait until all are."""
    async with watched(cluster.client, namespace) as phases:

        async def cancel(name: str) -> None:
            body = {"spec": {"operatingMode": "Cancelled"}}
            await cluster.client.merge_patch(AGENT_SESSION, namespace, name, body)

        return await act_on(cluster, namespace, phases, [*names_of(count), WARM_UP], cancel, "Cancelled")


async def act_on(cluster: Cluster, namespace: str, phases: Phases, names: list[str], act: Act, phase: str) -> Figures:
    """Do something to each session, and wait until all are in `phase`."""
    figures, called_at, waiting = Figures(len(names)), {}, iter(names)
    before, audit, began = await _usage(cluster), AuditLog.now(cluster.audit_log), time.monotonic()

    async def work() -> None:
        for name in waiting:
            called_at[name] = time.monotonic()
            await act(name)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    await phases.wait(names, [phase], seconds=PATIENCE_SECONDS)
    figures.wall_seconds = time.monotonic() - began
    figures.seconds = [phases.seen_at[name, phase] - called_at[name] for name in names]
    await wait_events(cluster, namespace, phase, set(names))
    _note(figures, before, await _usage(cluster), audit.read(), namespace)
    return figures


async def stay_idle(cluster: Cluster, seconds: int) -> Figures:
    """Let everything rest, and measure what operator and gateway still do."""
    before, audit = await _usage(cluster), AuditLog.now(cluster.audit_log)
    await asyncio.sleep(seconds)
    figures = Figures(0, wall_seconds=seconds, may_write=False)
    records = audit.read()
    if not records:
        raise LookupError("the audit log holds not even the kubelets' leases: it says nothing about writes")
    _note(figures, before, await _usage(cluster), records, None)
    return figures


def names_of(count: int) -> list[str]:
    """Return the names of the sessions."""
    return [f"session-{number}" for number in range(count)]


def _note(
    figures: Figures,
    before: dict[str, Usage],
    after: dict[str, Usage],
    records: list[Record],
    namespace: str | None,
) -> None:
    ours = [record for record in records if record.user in PRODUCT]
    figures.usage = {component: (before[component], after[component]) for component in COMPONENTS}
    figures.writes = count_writes(ours, namespace)
    figures.refused = count_refusals(ours, namespace)
    figures.requests = count_requests(ours)


async def _usage(cluster: Cluster) -> dict[str, Usage]:
    return {component: read_usage(await cluster.processes(component)) for component in COMPONENTS}
