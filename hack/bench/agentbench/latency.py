"""Create to first step and to Completed, of sessions one after the other on an idle cluster."""

import argparse
import asyncio
import json
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx2

from .audit import AuditLog, Record
from .cluster import OPERATOR, Cluster, install_product, namespace_of, opened
from .figures import percentile, show
from .phases import Phases, watched

TARGET_SECONDS = 5.0
FIRST_STEP = "step_start"
STARTED = re.compile(r'time="([^"]+)".*StartContainer for \\"([0-9a-f]+)\\" returns successfully')
STAGES = (
    "operator: pod asked for",
    "scheduler: pod bound",
    "kubelet: token asked for",
    "containerd: process started",
    "runner: Python and SDK imported",
    "gateway: first step in the journal",
)


@dataclass(frozen=True)
class Run:
    """One session's times, in seconds since the create call began."""

    first_step: float
    completed: float
    stages: tuple[float, ...]
    """Length of each of STAGES, since the API server received the session."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--sessions", type=int, default=10, help="default: %(default)s")


def run(options: argparse.Namespace) -> bool:
    """Measure, print, and say whether the target was met."""
    install_product()
    return asyncio.run(measure(options.sessions))


async def measure(count: int) -> bool:
    """Run one session to warm up, then `count` one after the other."""
    async with opened() as cluster, namespace_of(cluster) as namespace, watched(cluster.client, namespace) as phases:
        token, authority = await cluster.reader_token(namespace), await cluster.gateway_ca()
        with cluster.forwarded() as port:
            async with httpx2.AsyncClient(
                base_url=f"https://localhost:{port}",
                headers={"Authorization": f"Bearer {token}"},
                verify=ssl.create_default_context(cadata=authority),
                timeout=60,
            ) as http:
                await play(cluster, http, namespace, phases, "warm-up")
                runs = [await play(cluster, http, namespace, phases, f"session-{n}") for n in range(count)]
    return report(runs)


async def play(cluster: Cluster, http: httpx2.AsyncClient, namespace: str, phases: Phases, name: str) -> Run:
    """Run one session to its end."""
    audit = AuditLog.now(cluster.audit_log)
    reading = asyncio.create_task(see_first_step(http, namespace, name))
    began = time.monotonic()
    await cluster.make_session(namespace, name, goal=f"Greet {name}.")
    first_seen, first_at = await reading
    await phases.wait([name], ["Completed"], seconds=60)
    completed = phases.seen_at[name, "Completed"] - began
    agent = phases.newest[name]["status"]["agents"][0]
    stages = find_stages(cluster, audit.read(), namespace, name, agent["podName"], first_at)
    return Run(first_seen - began, completed, stages)


async def see_first_step(http: httpx2.AsyncClient, namespace: str, name: str) -> tuple[float, datetime]:
    """Return when a reader of the event stream saw the first step, and when the journal took it."""
    while True:
        async for event, data in read_events(http, namespace, name):
            if event == FIRST_STEP:
                return time.monotonic(), datetime.fromisoformat(json.loads(data)["at"])
        await asyncio.sleep(0.02)  # not in the journal yet: its stream is a 404


async def read_events(http: httpx2.AsyncClient, namespace: str, name: str) -> AsyncIterator[tuple[str, str]]:
    """Yield name and data of each event of a session; nothing when the gateway does not know the session yet."""
    path = f"/api/v1/agent-sessions/{name}/events"
    async with http.stream("GET", path, params={"namespace": namespace}) as answer:
        if answer.status_code == httpx2.codes.NOT_FOUND:
            return
        answer.raise_for_status()
        event = ""
        async for line in answer.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                event = value
            elif field == "data":
                yield event, value


def find_stages(
    cluster: Cluster, records: list[Record], namespace: str, name: str, pod: str, first_at: datetime
) -> tuple[float, ...]:
    """Return how long each stage took, by the clocks of API server, containerd, runner and gateway: one machine's."""
    here = [record for record in records if record.namespace == namespace]
    created = next(r for r in here if r.what == "create agentsessions" and r.name == name).received_at
    asked = next(r for r in here if r.what == "create pods" and r.user == OPERATOR).received_at
    bound = next(r for r in here if r.what == "create pods/binding" and r.name == pod).received_at
    token = next(
        r for r in here if r.what == "create serviceaccounts/token" and r.user.startswith("system:node")
    ).received_at
    text = run_kubectl(cluster, "get", "pod", pod, "-n", namespace, "-o", "json")
    container = json.loads(text)["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    lines = [json.loads(line) for line in run_kubectl(cluster, "logs", pod, "-n", namespace).splitlines()]
    imported = next(datetime.fromisoformat(line["timestamp"]) for line in lines if line["event"] == "started")
    marks = (created, asked, bound, token, find_start(cluster, container), imported, first_at)
    return tuple((after - before) / timedelta(seconds=1) for before, after in pairwise(marks))


def find_start(cluster: Cluster, container: str) -> datetime:
    """Return when containerd had started a container: the API tells whole seconds only."""
    for line in Path(cluster.audit_log).with_name("containerd.log").read_text().splitlines():
        found = STARTED.search(line)
        if found and found[2] == container:
            return datetime.fromisoformat(found[1])
    raise LookupError(f"containerd's log does not tell when container {container} started")


def run_kubectl(cluster: Cluster, *words: str) -> str:
    """Return what kubectl prints."""
    command = [cluster.kubectl, "--kubeconfig", cluster.kubeconfig, *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def report(runs: list[Run]) -> bool:
    """Print the figures; say whether the target was met."""
    print(f"create -> first step   {show(run.first_step for run in runs)}")
    print(f"create -> Completed    {show(run.completed for run in runs)}")
    print("where create -> first step goes (median of each stage):")
    for number, stage in enumerate(STAGES):
        taken = [run.stages[number] * 1000 for run in runs]
        print(f"  {stage:<36} {percentile(taken, 50):6.0f} ms   most {max(taken):6.0f} ms")
    median = percentile([run.first_step for run in runs], 50)
    is_met = median <= TARGET_SECONDS
    print(f"target: p50 of create -> first step at most {TARGET_SECONDS:.0f} s: {'met' if is_met else 'MISSED'}")
    return is_met
