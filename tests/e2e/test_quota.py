"""SessionQuota on real pods: never more at once than allowed, and an emergency stop that holds a namespace."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.e2e.product import GROUP, PATIENCE, SAMPLES, VERSION, Json, Product

pytestmark = pytest.mark.e2e

PLACES = 3
SESSIONS = 12


def set_quota(product: Product, namespace: str, **spec: object) -> None:
    quota = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "SessionQuota", "metadata": {"name": "team"}, "spec": spec}
    product.apply(namespace, quota)


def quota_status(product: Product, namespace: str) -> Json:
    found = product.custom.get_namespaced_custom_object(GROUP, VERSION, namespace, "sessionquotas", "team")
    status: Json = found.get("status", {})
    return status


def ready_message(session: Json) -> str:
    message: str = next(c["message"] for c in session["status"]["conditions"] if c["type"] == "Ready")
    return message


def pod_spans(product: Product, namespace: str) -> list[tuple[datetime, datetime]]:
    """Return from when, by the audit log, to when, by the kubelet, each agent pod was there."""
    created = {
        write["objectRef"]["name"]: datetime.fromisoformat(write["requestReceivedTimestamp"])
        for write in product.operator_writes(namespace)
        if (write["verb"], write["objectRef"]["resource"]) == ("create", "pods")
    }
    pods = {pod.metadata.name: pod for pod in product.core.list_namespaced_pod(namespace).items}
    assert created.keys() == pods.keys()
    return [(at, pods[name].status.container_statuses[0].state.terminated.finished_at) for name, at in created.items()]


@pytest.mark.requirement("LIM-4")
def test_twelve_sessions_with_quota_three_never_have_more_than_three_pods(product: Product, namespace: str) -> None:
    set_quota(product, namespace, maxConcurrentSessions=PLACES, maxTokensPerDay=10_000_000)
    names = [f"s{number:02}" for number in range(SESSIONS)]
    for name in names:
        product.create_session(namespace, name, goal="Say hello.")
    product.wait_phase(namespace, names[-1], "Queued")
    words = "SessionQuota team lets 3 session(s) run at the same time"
    product.wait_for(namespace, names[-1], lambda s: words in ready_message(s), "told what is full")
    for name in names:
        product.wait_phase(namespace, name, "Completed")
    product.kubectl("wait", "-n", namespace, "sessionquota/team", "--for=jsonpath={.status.active}=0", PATIENCE)
    spans = pod_spans(product, namespace)  # each has ended: a place is held until its pod has
    assert len(spans) == SESSIONS
    at_once = [sum(begin <= at < end for begin, end in spans) for at, _ in spans]
    assert max(at_once) == PLACES
    done = product.session(namespace, names[0])["status"]
    assert quota_status(product, namespace)["tokensToday"] >= SESSIONS * done["usage"]["totalTokens"] // 2


@pytest.mark.requirement("LIFE-7")
@pytest.mark.requirement("LIM-4")
def test_a_held_namespace_stops_says_so_and_goes_on_when_released(product: Product, namespace: str) -> None:
    product.kubectl("apply", "-n", namespace, "-f", str(SAMPLES / "lives" / "hold.yaml"))
    product.wait_phase(namespace, "urgent", "Running")
    product.wait_phase(namespace, "patient", "Queued")
    product.wait_for(namespace, "patient", lambda s: ready_message(s).startswith("place 1 in the queue"), "its place")
    hold(product, namespace, on=True)
    words = "SessionQuota one-at-a-time holds this namespace: the bill is too high; set its spec.hold to false to go on"
    held = product.wait_phase(namespace, "urgent", "Paused")
    assert held["status"]["stopReason"] == "Emergency"
    assert ready_message(held).startswith(words)
    assert [p for p in product.session_pods(namespace, held["metadata"]["uid"]) if p.status.phase == "Running"] == []
    product.wait_for(namespace, "patient", lambda s: ready_message(s) == words, "told of the hold")
    hold(product, namespace, on=False)
    for name in ("urgent", "patient"):
        done = product.wait_phase(namespace, name, "Completed")
        assert done["status"]["result"] == "Rested."


def hold(product: Product, namespace: str, *, on: bool) -> None:
    patch = json.dumps({"spec": {"hold": on, "holdReason": "the bill is too high"}})
    product.kubectl("patch", "sq", "one-at-a-time", "-n", namespace, "--type=merge", "-p", patch)
