"""What the product does when nothing happens, what is left of what is gone, and what an ordinary session costs."""

import re
import time

import pytest
from kubernetes import client

from tests.e2e.faults import component, until
from tests.e2e.product import SYSTEM, Product
from tests.e2e.settled import unsettled
from tests.invariants import check_cost, check_left

pytestmark = [pytest.mark.e2e, pytest.mark.alone]  # they count what the whole operator does

QUIET_SECONDS = 120
MOST_WRITES_WHILE_QUIET = 2
PASSES = re.compile(r"^agentsession_passes_total\{[^}]*\} (\S+)$", re.MULTILINE)


def passes(product: Product) -> float:
    """Return how many passes the operator has made so far."""
    pods = product.core.list_namespaced_pod(SYSTEM, label_selector=component("agentsessions-operator")).items
    read = product.core.connect_get_namespaced_pod_proxy_with_path
    texts = [read(f"{pod.metadata.name}:8080", SYSTEM, "metrics") for pod in pods]
    return sum(float(count) for text in texts for count in PASSES.findall(text))


def create_calm_sessions(product: Product, namespace: str, *names: str) -> None:
    """Create sessions whose one answer takes a while: none is over before its pod is seen to run."""
    product.create_script(namespace, "calm", {"answer": {"text": "Hello.", "delayMilliseconds": 3000}})
    agent = {"name": "agent", "model": {"providerRef": {"name": "calm"}}}
    for name in names:
        product.create_session(namespace, name, goal="Say hello.", agents=[agent], workspace={"size": "16Mi"})


@pytest.mark.requirement("LIFE-12")
def test_ordinary_session_costs_what_it_may(product: Product, namespace: str) -> None:
    product.create_session(namespace, "first", goal="Say hello.")  # makes the namespace's own objects
    product.wait_phase(namespace, "first", "Completed")
    product.writes_of_life(namespace, "first")
    begun = passes(product)
    product.create_script(namespace, "calm", {"answer": {"text": "Hello.", "delayMilliseconds": 3000}})
    agent = {"name": "agent", "model": {"providerRef": {"name": "calm"}}}
    product.create_session(namespace, "second", goal="Say hello.", agents=[agent])
    product.wait_phase(namespace, "second", "Completed")
    done = product.writes_of_life(namespace, "second")
    events = product.await_events(namespace, "second", lambda found: len(found) >= 3)
    assert check_cost(passes(product) - begun, done, events) == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_is_written_while_nothing_happens_and_nothing_is_left_of_what_is_gone(
    product: Product, namespace: str
) -> None:
    create_calm_sessions(product, namespace, "done", "paused")
    product.patch_session(namespace, "paused", operatingMode="Paused")
    product.wait_phase(namespace, "paused", "Paused", "Completed")
    product.wait_phase(namespace, "done", "Completed")
    assert unsettled(product, namespace) == []
    before = len(product.operator_writes(namespace))
    time.sleep(QUIET_SECONDS)  # the time in which nothing may happen is what is tested
    assert len(product.operator_writes(namespace)) - before <= MOST_WRITES_WHILE_QUIET
    uids = [product.session(namespace, name)["metadata"]["uid"] for name in ("done", "paused")]
    for name in ("done", "paused"):
        product.custom.delete_namespaced_custom_object(
            "agentsessions.dev", "v1alpha1", namespace, "agentsessions", name
        )

    def left() -> list[str]:
        lists = (
            product.core.list_namespaced_pod,
            product.core.list_namespaced_config_map,
            product.core.list_namespaced_persistent_volume_claim,
            client.NetworkingV1Api().list_namespaced_network_policy,
        )
        objects = [found for list_all in lists for found in list_all(namespace).items]
        return [line for uid in uids for line in check_left(uid, objects)]

    until(lambda: left() == [], "nothing is left of deleted sessions (I4)")
