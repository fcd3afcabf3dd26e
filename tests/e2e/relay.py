"""A relay on the agents' way to the gateway that can keep the gateway's answers from them.

What is kept back has happened: the journal has it, and the runner does not know. That is how a test stops a runner
between two of its steps exactly, without a hook in the product. TLS passes through unread: the relay only sees who
speaks, and that an answer begins when the gateway speaks after the runner did.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kubernetes import client

from tests.e2e.faults import component, until
from tests.e2e.product import SYSTEM, Product

SERVICE = "agentsessions-gateway"
NOWHERE = "test-relay"
CHUNK_BYTES = 65_536


@dataclass
class Hold:
    """What is kept back."""

    peer: str | None
    """Address of the pod; none means all."""
    after_answers: int
    seen: int = 0

    def keeps(self, peer: str, *, is_new: bool) -> bool:
        """Note a piece of an answer to `peer`, and say whether it stays here."""
        if self.peer not in {None, peer}:
            return False
        self.seen += is_new
        return self.after_answers == 0 or self.seen > self.after_answers


class Relay:
    """Passes connections on to the gateway."""

    def __init__(self, host: str, target: tuple[str, int]) -> None:
        self.peers: list[str] = []
        """Addresses of those who connected."""
        self.kept = threading.Event()
        """Set when something was kept back."""
        self._target = target
        self._changed = threading.Condition()
        self._hold: Hold | None = None
        self._is_over = False
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]

    def hold(self, peer: str | None = None, *, after_answers: int = 0) -> None:
        """Keep back what the gateway says to `peer`: all from now on, or all after so many more answers."""
        with self._changed:
            self._hold = Hold(peer, after_answers)
            self.kept.clear()

    def release(self) -> None:
        """Pass everything on again."""
        with self._changed:
            self._hold = None
            self._changed.notify_all()

    @contextmanager
    def serve(self) -> Iterator[Relay]:
        """Relay while the block runs."""
        self._start(self._accept)
        try:
            yield self
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
            # A listener that is only closed leaves its accept() asleep.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            for each in self._sockets:
                close(each)
            for thread in self._threads:
                thread.join()

    def _start(self, work: object, *given: object) -> None:
        thread = threading.Thread(target=work, args=given, name="relay")  # type: ignore[arg-type]  # own methods only
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                agent, address = self._listener.accept()
                self.peers.append(address[0])
                gateway = socket.create_connection(self._target)
                self._sockets += [agent, gateway]
                Pipe(self, address[0], agent, gateway)

    def _keep(self, peer: str, *, is_new: bool) -> None:
        with self._changed:
            if self._hold is not None and self._hold.keeps(peer, is_new=is_new):
                self.kept.set()
                self._changed.wait_for(lambda: self._hold is None or self._is_over)


class Pipe:
    """One connection and its way on."""

    def __init__(self, relay: Relay, peer: str, agent: socket.socket, gateway: socket.socket) -> None:
        self._relay = relay
        self._peer = peer
        self._agent_spoke = False
        relay._start(self._ask, agent, gateway)  # noqa: SLF001 - one unit in two classes
        relay._start(self._answer, gateway, agent)  # noqa: SLF001

    def _ask(self, agent: socket.socket, gateway: socket.socket) -> None:
        with suppress(OSError):
            while data := agent.recv(CHUNK_BYTES):
                self._agent_spoke = True
                gateway.sendall(data)
        close(gateway)

    def _answer(self, gateway: socket.socket, agent: socket.socket) -> None:
        with suppress(OSError):
            while data := gateway.recv(CHUNK_BYTES):
                is_new, self._agent_spoke = self._agent_spoke, False
                self._relay._keep(self._peer, is_new=is_new)  # noqa: SLF001 - one unit in two classes
                agent.sendall(data)
        close(agent)


def close(connection: socket.socket) -> None:
    """Close a socket that another thread may be reading."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def relayed(product: Product, host: str) -> Iterator[Relay]:
    """Lead connections to the gateway's Service through a relay in this process while the block runs.

    Connections that are open stay as they are, and so does a port-forward to the gateway that is begun before.
    """
    pod = product.core.list_namespaced_pod(SYSTEM, label_selector=component(SERVICE)).items[0]
    with Relay(host, (pod.status.pod_ip, 8443)).serve() as relay:
        discovery = client.DiscoveryV1Api()
        product.core.patch_namespaced_service(SERVICE, SYSTEM, {"spec": {"selector": {NOWHERE: "none"}}})
        discovery.create_namespaced_endpoint_slice(SYSTEM, endpoint_slice(host, relay.port))
        try:
            address = product.core.read_namespaced_service(SERVICE, SYSTEM).spec.cluster_ip
            until(lambda: is_led_here(relay, address), "the Service leads to the relay")
            yield relay
        finally:
            discovery.delete_namespaced_endpoint_slice(NOWHERE, SYSTEM)
            product.core.patch_namespaced_service(SERVICE, SYSTEM, {"spec": {"selector": {NOWHERE: None}}})


def is_led_here(relay: Relay, address: str) -> bool:
    """Whether a new connection to the Service comes to the relay."""
    before = len(relay.peers)
    try:
        socket.create_connection((address, 443), timeout=1).close()
    except OSError:
        return False
    return len(relay.peers) > before


def endpoint_slice(host: str, port: int) -> client.V1EndpointSlice:
    """Return the endpoint that stands for the gateway."""
    return client.V1EndpointSlice(
        metadata=client.V1ObjectMeta(name=NOWHERE, labels={"kubernetes.io/service-name": SERVICE}),
        address_type="IPv4",
        ports=[client.DiscoveryV1EndpointPort(name="https", port=port, protocol="TCP")],
        endpoints=[client.V1Endpoint(addresses=[host], conditions=client.V1EndpointConditions(ready=True))],
    )
