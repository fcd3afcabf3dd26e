"""Two gateways over one PostgreSQL database, which runs on the node: restarts and crashes that nobody notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from hack.postgres.localpostgres.programs import ensure_programs
from hack.postgres.localpostgres.server import Server, create_folder
from tests.e2e.faults import component, kill_containers
from tests.e2e.product import LONG_SECONDS, PATIENCE, SYSTEM, Product, read_events
from tests.e2e.provider import CountingProvider
from tests.e2e.replicas import two_gateways
from tests.e2e.stage import FOUR_STEPS, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.requirement("LIFE-11")]

GATEWAY = "agentsessions-gateway"
OPEN_CALLS = "SELECT owner FROM model_calls WHERE state = 'open'"


@pytest.fixture(scope="module")
def database(product: Product, host: str) -> Iterator[Server]:
    """Run the product on it."""
    with create_folder() as folder, Server(ensure_programs(), folder, is_durable=True, host=host) as server:
        server.create_database("journal")
        with two_gateways(product, server.remote_url("journal")):
            yield server


@pytest.fixture
def stage(database: Server, product: Product, namespace: str, host: str) -> Iterator[Stage]:
    del database
    with CountingProvider(host, FOUR_STEPS).serve() as provider:
        yield Stage(product, namespace, provider)


@dataclass
class Viewer:
    """Follows a session to its end, and comes back with the last id that it saw whenever it is cut off."""

    stage: Stage
    ids: list[int] = field(default_factory=list)
    connections: int = 0
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Follow while the block runs, and then to the end."""
        thread = threading.Thread(target=self._follow, name="viewer", daemon=True)
        thread.start()
        yield
        assert self._is_over.wait(LONG_SECONDS), f"no end of the stream after {self.ids}"
        thread.join()

    def _follow(self) -> None:
        while not self._is_over.is_set():
            # A port-forward goes to one pod, and ends with it.
            with suppress(httpx2.HTTPError, AssertionError), self.stage.product.gateway() as gateway:
                self.connections += 1
                after = self.ids[-1] if self.ids else 0
                for event in read_events(gateway.http, self.stage.namespace, self.stage.name, after):
                    self.ids.append(event["id"])
                    if event["event"] == "done":
                        self._is_over.set()


def gateways(product: Product) -> list[Any]:
    """Return the gateways' pods."""
    return list(product.core.list_namespaced_pod(SYSTEM, label_selector=component(GATEWAY)).items)


def assert_seen_whole(stage: Stage, viewer: Viewer) -> None:
    done = stage.product.session(stage.namespace, stage.name)["status"]
    assert stage.effects() == ["one", "two", "three"]
    assert done["agents"][0]["epoch"] == 1, "the runner outlives the gateways"
    with stage.product.gateway() as gateway:
        head = gateway.get(f"/{stage.name}/verify", namespace=stage.namespace)["head"]
    assert viewer.ids == list(range(1, head + 1))


@pytest.mark.slow
def test_rolling_restart_loses_no_event_and_buys_nothing_twice(product: Product, stage: Stage) -> None:
    viewer = Viewer(stage)
    stage.begin()
    stage.running_pod()
    with viewer.follow():
        stage.await_tool()
        old = [f"pod/{pod.metadata.name}" for pod in gateways(product)]
        product.kubectl("rollout", "restart", f"deployment/{GATEWAY}", "-n", SYSTEM)
        product.kubectl("rollout", "status", f"deployment/{GATEWAY}", "-n", SYSTEM, PATIENCE)
        product.kubectl("wait", *old, "-n", SYSTEM, "--for=delete", PATIENCE)
        stage.let_tool_end()
        stage.finish()
    assert_seen_whole(stage, viewer)
    assert viewer.connections > 1
    assert stage.provider.asked == [1, 2, 3, 4]


@pytest.mark.slow
def test_answer_of_a_gateway_that_died_for_good_is_bought_again_by_the_other(
    product: Product, stage: Stage, database: Server
) -> None:
    gate = stage.provider.hold(1)
    viewer = Viewer(stage)
    stage.begin()
    stage.running_pod()
    with viewer.follow():
        assert gate.reached.wait(LONG_SECONDS)
        owner = database.execute(OPEN_CALLS, "journal").strip()
        kill_containers(product, SYSTEM, owner)
        product.core.delete_namespaced_pod(owner, SYSTEM, grace_period_seconds=0)
        gate.opened.set()
        stage.await_tool()
        stage.let_tool_end()
        stage.finish()
    assert_seen_whole(stage, viewer)
    assert stage.provider.asked == [1, 1, 2, 3, 4]
    product.kubectl("wait", "pod", "-l", component(GATEWAY), "-n", SYSTEM, "--for=condition=Ready", PATIENCE)


@pytest.mark.slow
def test_restart_of_the_database_is_waited_for(stage: Stage, database: Server) -> None:
    viewer = Viewer(stage)
    stage.begin()
    stage.running_pod()
    with viewer.follow():
        stage.await_tool()
        database.stop()
        stage.let_tool_end()  # its result cannot be journaled now
        database.start()
        stage.finish()
    assert_seen_whole(stage, viewer)
    assert stage.provider.asked == [1, 2, 3, 4]
