"""A receiver outside of the cluster is told of a session's whole life, also by a gateway that dies meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.faults import crash
from tests.e2e.product import LONG_SECONDS, PATIENCE, SYSTEM, Json, Product
from tests.e2e.provider import CountingProvider, say
from tests.process.webhooks.receiver import KEY, Request, is_signed

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.requirement("OPS-4")]


@dataclass
class Receiver:
    """Takes what is posted to it; the first request is not answered before the gate is open."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    news: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, count: int) -> None:
        """Wait for so many requests."""
        self.wait_until(lambda: len(self.requests) >= count)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for requests that make something hold."""
        with self.news:
            assert self.news.wait_for(holds, LONG_SECONDS), self.requests

    def take(self, request: Request) -> None:
        with self.news:
            self.requests.append(request)
            is_first = len(self.requests) == 1
            self.news.notify_all()
        if is_first:
            self.gate.wait(LONG_SECONDS)

    @contextmanager
    def serving(self, host: str) -> Iterator[Receiver]:
        """Serve while the block runs."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(Request(self.path, self.headers["webhook-id"], self.headers, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        with ThreadingHTTPServer((host, 0), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self.gate.set()
                server.shutdown()
                thread.join()


def announce(product: Product, namespace: str, host: str, port: int) -> None:
    """Create a webhook with all that it needs, and a service that leads to this machine; wait until it is Ready."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agentsessions-provider-keys"}
    gateway = {"kind": "ServiceAccount", "name": "agentsessions-gateway", "namespace": SYSTEM}
    slices: Json = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "receiver", "labels": {"kubernetes.io/service-name": "receiver"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [host]}],
        "ports": [{"port": port}],
    }
    product.apply(
        namespace,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "stringData": {"signing": KEY}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "agentsessions-provider-keys"},
            "roleRef": role,
            "subjects": [gateway],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "receiver"},
            "spec": {"clusterIP": "None", "ports": [{"port": port}]},
        },
        slices,
        {
            "apiVersion": "agentsessions.dev/v1alpha1",
            "kind": "SessionWebhook",
            "metadata": {"name": "hook"},
            "spec": {
                "url": f"http://receiver.{namespace}.svc:{port}/in",
                "secretKeyRefs": [{"name": "hook", "key": "signing"}],
                "selector": {"matchLabels": {"told": "yes"}},
            },
        },
    )
    product.kubectl("wait", "-n", namespace, "--for=condition=Ready", "sessionwebhook/hook", PATIENCE)


def test_receiver_is_told_of_each_phase_though_the_gateway_is_killed(
    product: Product, namespace: str, host: str
) -> None:
    with Receiver().serving(host) as receiver, CountingProvider(host, [say("Hello.")]).serve() as provider:
        announce(product, namespace, host, receiver.port)
        answer = provider.hold(1)
        product.create_provider(namespace, "held", provider.spec)
        agents = [{"name": "agent", "model": {"providerRef": {"name": "held"}}}]
        session = {
            "metadata": {"name": "told", "labels": {"told": "yes"}},
            "spec": {"goal": "Greet.", "agents": agents},
        }
        product.apply(namespace, {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentSession", **session})
        receiver.wait(1)
        crash(product, SYSTEM, "agentsessions-gateway")
        receiver.wait(2)
        receiver.gate.set()
        product.wait_phase(namespace, "told", "Running")
        answer.opened.set()
        product.wait_phase(namespace, "told", "Completed")
        receiver.wait_until(lambda: "Completed" in {request.to for request in receiver.requests})
        count = len({request.id for request in receiver.requests})
        all_told = f"--for=jsonpath={{.status.delivered}}={count}"
        product.kubectl("wait", "-n", namespace, all_told, "sessionwebhook/hook", PATIENCE)
        known = product.kubectl("get", "-n", namespace, "sessionwebhook/hook", "-o", "jsonpath={.status}").stdout

    told = {request.id: request.event["data"] for request in receiver.requests}
    phases = [data["to"] for data in told.values()]
    assert phases[-2:] == ["Running", "Completed"]
    assert [data["from"] for data in told.values()] == [None, *phases[:-1]]
    assert receiver.requests[0].id == receiver.requests[1].id
    assert receiver.requests[0].body == receiver.requests[1].body
    assert all(is_signed(request.headers, request.body, KEY) for request in receiver.requests)
    assert list(told.values())[-1]["reason"] == "GoalReached"
    status = json.loads(known)
    assert (status["delivered"], status["waiting"], status["lost"]) == (len(told), 0, 0)
    assert {data["session"]["name"] for data in told.values()} == {"told"}
