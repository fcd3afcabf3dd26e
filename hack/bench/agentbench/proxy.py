"""What the model proxy adds to a call of a model that answers at once; both ways are timed inside an agent pod."""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentsessions.api import names
from agentsessions.engine.resources import Resource

from .cluster import Cluster, ask_cluster, find_machine, install_product, namespace_of, opened
from .figures import percentile, show
from .latency import run_kubectl
from .phases import watched

DOCKERFILE = Path(__file__).resolve().parents[1] / "caller" / "Dockerfile"
MODEL_PROVIDER = Resource(names.GROUP, names.VERSION, "modelproviders", "ModelProvider")
MODEL = "instant"
NAME = "caller"
CLIENTS = {
    "kept": "connections kept, by the client that the Agents SDK uses; it is compared with the targets",
    "closed": "a connection for each call, by the synchronous client, which closes it behind each stream",
}
Taken = dict[str, dict[str, list[float]]]
"""Milliseconds by kind of client and way."""
P50_TARGET_MILLISECONDS = 10
P99_TARGET_MILLISECONDS = 30


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--calls", type=int, default=300, help="each way with each client (default: %(default)s)")


def run(options: argparse.Namespace) -> bool:
    """Measure, print, and say whether the targets were met."""
    machine = find_machine()
    install_product("--allow-provider-network", f"{machine}/32")
    image = ask_cluster("image", "--dockerfile", str(DOCKERFILE))
    return asyncio.run(measure(machine, image, options.calls))


async def measure(machine: str, image: str, calls: int) -> bool:
    """Let an agent measure; compare."""
    with serve_upstream(machine) as url:
        async with opened() as cluster, namespace_of(cluster) as namespace:
            taken = await call(cluster, namespace, url, image, calls)
    added = {kind: report(kind, ways) for kind, ways in taken.items()}["kept"]
    return percentile(added, 50) <= P50_TARGET_MILLISECONDS and percentile(added, 99) <= P99_TARGET_MILLISECONDS


def report(kind: str, ways: dict[str, list[float]]) -> list[float]:
    """Print what calls took with a kind of client; return what the gateway added to each."""
    direct, proxied = ways["direct"], ways["proxied"]
    added = [through - straight for straight, through in zip(direct, proxied, strict=True)]
    print(f"{CLIENTS[kind]}:")
    print(f"  straight   {show(direct, 'ms')}\n  proxied    {show(proxied, 'ms')}\n  added      {show(added, 'ms')}")
    return added


async def call(cluster: Cluster, namespace: str, url: str, image: str, calls: int) -> Taken:
    """Run the agent that measures; return the milliseconds of each of its calls, both ways."""
    spec = {"type": "OpenAICompatible", "url": url, "models": [{"name": MODEL}]}
    kind = {"apiVersion": MODEL_PROVIDER.api_version, "kind": MODEL_PROVIDER.kind}
    await cluster.client.create(MODEL_PROVIDER, namespace, {**kind, "metadata": {"name": "up"}, "spec": spec})
    env = {"UPSTREAM_URL": url, "MODEL": MODEL, "CALLS": str(calls)}
    agent = {
        "name": "agent",
        "image": image,
        "model": {"providerRef": {"name": "up"}},
        "env": [{"name": name, "value": value} for name, value in env.items()],
    }
    limits = {"maxSteps": 10_000, "maxTokens": 100_000_000, "timeoutSeconds": 600}
    async with watched(cluster.client, namespace) as phases:
        await cluster.make_session(namespace, NAME, goal="Measure.", agents=[agent], limits=limits)
        await phases.wait([NAME], ["Completed", "Failed"], seconds=300)
        pod = phases.newest[NAME]["status"]["agents"][0]["podName"]
    log = run_kubectl(cluster, "logs", pod, "-n", namespace)
    found: Taken = json.loads(log.splitlines()[-1])
    return found


@contextmanager
def serve_upstream(host: str) -> Iterator[str]:
    """Serve a provider as a process of its own; give its URL."""
    with socket.create_server((host, 0)) as probe:
        port = probe.getsockname()[1]
    folder = Path(__file__).resolve().parents[1]
    process = subprocess.Popen([sys.executable, "-m", "agentbench.upstream", host, str(port)], cwd=folder)
    try:
        yield f"http://{host}:{port}/v1"
    finally:
        process.terminate()
        process.wait()
