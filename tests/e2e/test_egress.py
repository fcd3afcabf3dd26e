"""What an agent's pod reaches: the gateway alone, where the cluster enforces its network policy.

Whether it does is asked with a policy and pods of the test's own. Where it does not, the test holds the rest: that each
address does answer, that an agent's pod knows no name but the gateway's, and that `doctor --probe` and the session's
condition tell what is so.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.agents import LivePod, create_held_script, held_session
from tests.e2e.commandline import CommandLine, let_speak
from tests.e2e.product import PATIENCE, SYSTEM, Json, Product

pytestmark = pytest.mark.e2e

ASK = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def connects(host, port):
    try:
        socket.create_connection((host, port), 3).close()
    except OSError:
        return False
    return True

def answers(host, port):
    question = bytes.fromhex("123401000001000000000000") + b"\\x0akubernetes\\x07default\\x03svc\\0\\0\\x01\\0\\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.settimeout(3)
        try:
            way.sendto(question, (host, port))
            return bool(way.recv(512))
        except OSError:
            return False

def knows(name, _):
    try:
        return bool(socket.getaddrinfo(name, None))
    except OSError:
        return False

def reaches(place):
    what, how, host, port = place
    return globals()[how](host, port)

places = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(places)) as at_once:
    print(json.dumps([what for (what, *_), is_reached in zip(places, at_once.map(reaches, places)) if is_reached]))
"""
WAIT = "import time; time.sleep(3600)"
CLOSED = {"role": "closed"}
ENFORCED_WITHIN_SECONDS = 15


@contextmanager
def listener(host: str) -> Iterator[int]:
    """Take connections on this machine during the block; the kernel does, nobody has to accept them."""
    with socket.create_server((host, 0), backlog=64) as server:
        yield server.getsockname()[1]


def places(product: Product, host: str, port: int, name_server: str) -> list[list[Any]]:
    """Return what is tried: its name, how, and where."""
    gateway = product.core.read_namespaced_service("agentsessions-gateway", SYSTEM).spec.cluster_ip
    api_server = product.core.read_namespaced_service("kubernetes", "default").spec.cluster_ip
    operator = product.core.list_namespaced_pod(SYSTEM, label_selector="app.kubernetes.io/component=operator").items[0]
    return [
        ["gateway", "connects", gateway, 443],
        ["API server", "connects", api_server, 443],
        ["another pod", "connects", operator.status.pod_ip, 8080],
        ["the machine", "connects", host, port],
        ["DNS over TCP", "connects", name_server, 53],
        ["DNS over UDP", "answers", name_server, 53],
    ]


def plain_pod(product: Product, namespace: str, name: str, like: Json, labels: Json) -> LivePod:
    """Run a pod of the agent's image that waits, without being an agent."""
    container = like["spec"]["containers"][0]
    kept = {key: container[key] for key in ("name", "image", "imagePullPolicy", "securityContext")}
    spec = {
        "securityContext": like["spec"]["securityContext"],
        "containers": [{**kept, "command": ["python3", "-c", WAIT]}],
        "terminationGracePeriodSeconds": 0,
    }
    meta = {"name": name, "labels": labels}
    product.apply(namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    product.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, PATIENCE)
    return LivePod(product, namespace, "", name, "")


def reached(pod: LivePod, tried: list[list[Any]]) -> list[str]:
    """Return the names of what a pod reaches."""
    found: list[str] = json.loads(pod.run("python3", "-c", ASK, json.dumps(tried)).stdout)
    return found


def is_enforced(pod: LivePod, tried: list[list[Any]]) -> bool:
    """Return whether a pod for which all is closed reaches nothing; rules are written a moment after it began."""
    ends_at = time.monotonic() + ENFORCED_WITHIN_SECONDS
    while time.monotonic() < ends_at:
        if not reached(pod, tried):
            return True
        time.sleep(1)  # nothing tells when a rule of the node is written
    return False


def closed_to_all(namespace: str) -> Json:
    """Return a policy that closes everything to some pods."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed", "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": CLOSED}, "policyTypes": ["Egress"], "egress": []},
    }


@pytest.mark.requirement("ID-5")
def test_agent_pod_reaches_the_gateway_alone_where_policies_are_enforced(
    product: Product, namespace: str, host: str
) -> None:
    let_speak(product, namespace)
    product.apply(namespace, closed_to_all(namespace))
    script = create_held_script(product, namespace)
    with listener(host) as port, held_session(product, namespace, "inside", script) as agent:
        free = plain_pod(product, namespace, "free", agent.manifest(), {})
        closed = plain_pod(product, namespace, "closed", agent.manifest(), CLOSED)
        name_server = free.run("sed", "-n", "s/^nameserver //p", "/etc/resolv.conf").stdout.split()[0]
        tried = places(product, host, port, name_server)
        every = [what for what, *_ in tried]
        assert reached(free, tried) == every  # so that what is not reached is known to be closed
        enforced = is_enforced(closed, tried)
        assert reached(agent, tried) == (["gateway"] if enforced else every)
        gateway = f"agentsessions-gateway.{SYSTEM}.svc"
        known = [[name, "knows", name, 0] for name in (gateway, "kubernetes.default.svc.cluster.local")]
        assert reached(free, known) == [name for name, *_ in known]
        assert reached(agent, known) == [gateway]
        said = CommandLine(product, namespace)("doctor", "--probe", "-o", "json", code=0 if enforced else 1).stdout
        (finding,) = [one for one in json.loads(said) if one["check"] == "network policies"]
        assert (finding["level"], finding["text"].split()[0]) == (
            ("ok", "enforced:") if enforced else ("broken", "NOT")
        )
        left = product.core.list_namespaced_pod(namespace).items
        assert not [pod for pod in left if "probe" in pod.metadata.name and not pod.metadata.deletion_timestamp]
    told = [one for one in product.session(namespace, "inside")["status"]["conditions"] if one["type"] == "EgressOpen"]
    assert [one["reason"] for one in told] == ([] if enforced else ["APIServerReached"])
