"""Wrong input on the running product: told in words that name the culprit and the remedy, mended by itself.

All sessions of a test run at once, beside one that is healthy and must not notice. The whole table of what the API
server refuses is in tests/integration/test_crds_refuse.py; here is that `kubectl apply` says so while sessions live.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kubernetes import client

from tests.e2e.product import PATIENCE, SYSTEM, Json, Product
from tests.e2e.provider import CountingProvider
from tests.e2e.stage import FOUR_STEPS, Stage
from tests.e2e.wrong_input import REFERENCES, REFUSED, UNFIT, Fault, a_session, a_storage_class, by

pytestmark = pytest.mark.e2e

ORDINARY_WRITES = [("create", "pods"), *[("patch", "agentsessions")] * 3]
A_NAMESPACE = re.compile(r"\bt-[0-9a-f]{10}\b")
QUICK_WRITES = ORDINARY_WRITES[:-1]  # it was done before the operator saw it run: Starting, then Completed


def name_of(number: int) -> str:
    return f"fault-{number}"


def condition(session: Json, kind: str) -> Json:
    found = session.get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {"status": "", "reason": "", "message": ""})


def put(product: Product, namespace: str, *manifests: Json) -> None:
    """Apply on the server's side: what is large does not fit into the annotation of the other way."""
    for manifest in manifests:
        words = ("apply", "--server-side", "--force-conflicts", "-n", namespace, "-f", "-")
        product.kubectl(*words, stdin=json.dumps(manifest))


def start_all(product: Product, namespace: str, faults: dict[str, Fault]) -> None:
    """Create the session of each fault, and a healthy one among them."""
    put(product, namespace, *(manifest for fault in faults.values() for manifest in fault.before))
    for number, fault in enumerate(faults.values()):
        product.create_session(namespace, name_of(number), goal="Say hello.", **fault.spec)
    product.create_session(namespace, "healthy", goal="Say hello.")


def wait_told(product: Product, namespace: str, faults: dict[str, Fault], kind: str) -> dict[str, Json]:
    """Wait until each session tells its fault by a condition that does not hold; return the conditions."""
    told = {}
    for number, (sentence, fault) in enumerate(faults.items()):

        def is_told(session: Json, reason: str = fault.reason) -> bool:
            found = condition(session, kind)
            return (found["status"], found["reason"]) == ("False", reason)

        what = f"{kind}=False/{fault.reason} for {sentence}"
        told[sentence] = condition(product.wait_for(namespace, name_of(number), is_told, what), kind)
    return told


def untold(faults: dict[str, Fault], told: dict[str, Json]) -> dict[str, Any]:
    """Return for each fault the words that its message lacks."""
    lacking = {
        sentence: ([word for word in fault.words if word not in told[sentence]["message"]], told[sentence]["message"])
        for sentence, fault in faults.items()
    }
    return {sentence: found for sentence, found in lacking.items() if found[0]}


def assert_healthy_cost_at_most_four_writes(product: Product, namespace: str) -> None:
    product.wait_phase(namespace, "healthy", "Completed")
    writes = [(w["verb"], w["objectRef"]["resource"]) for w in product.writes_of_life(namespace, "healthy")]
    assert writes in (ORDINARY_WRITES, QUICK_WRITES)


@pytest.fixture(autouse=True)
def operator_log_is_clean(product: Product, namespace: str) -> Iterator[None]:
    """Fail when the operator logs an error or a traceback, or restarts, while a test runs; other tests' apart."""
    before = operator_log(product)
    yield
    after = operator_log(product)
    assert after[: len(before)] == before, "the operator was replaced or has restarted"
    news = [line for line in after[len(before) :] if namespace in line or not A_NAMESPACE.search(line)]
    assert [line for line in news if is_trouble(line)] == []


def operator_log(product: Product) -> list[str]:
    return product.kubectl("logs", "-n", SYSTEM, "deployment/agentsessions-operator").stdout.splitlines()


def is_trouble(line: str) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return True  # the operator logs JSON alone: anything else is a traceback, or some library's complaint
    return record.get("level") not in {"debug", "info", "warning"} or "Traceback" in line


@pytest.mark.requirement("OBJ-6")
def test_wrong_references_are_told_and_mended_without_touching_the_session(product: Product, namespace: str) -> None:
    start_all(product, namespace, REFERENCES)
    told = wait_told(product, namespace, REFERENCES, "Accepted")
    assert untold(REFERENCES, told) == {}
    assert_healthy_cost_at_most_four_writes(product, namespace)
    put(product, namespace, *(manifest for fault in REFERENCES.values() for manifest in fault.repair))
    for number, fault in enumerate(REFERENCES.values()):
        name = name_of(number)
        if fault.repair:
            done = product.wait_phase(namespace, name, "Completed")
            assert condition(done, "Accepted")["status"] == "True"
            assert done["metadata"]["generation"] == 1, "nobody changed its spec"
        else:
            product.patch_session(namespace, name, operatingMode="Cancelled")
            product.wait_phase(namespace, name, "Cancelled")


@pytest.mark.requirement("LIFE-3")
def test_pods_that_cannot_start_name_the_field_that_keeps_them(product: Product, namespace: str) -> None:
    start_all(product, namespace, UNFIT)
    told = wait_told(product, namespace, UNFIT, "Ready")
    assert untold(UNFIT, told) == {}
    assert_healthy_cost_at_most_four_writes(product, namespace)
    with storage_class(product, "not-yet"):
        product.wait_phase(namespace, name_of(2), "Completed")
    for number in (0, 1):
        product.patch_session(namespace, name_of(number), operatingMode="Cancelled")
        cancelled = product.wait_phase(namespace, name_of(number), "Cancelled")
        assert cancelled["status"]["podsRemaining"] == 0


@contextmanager
def storage_class(product: Product, name: str) -> Iterator[None]:
    """Have a storage class like the default one while the block runs."""
    listed = json.loads(product.kubectl("get", "storageclasses", "-o", "json").stdout)["items"]
    put(product, "default", a_storage_class(name, listed[0]))
    try:
        yield
    finally:
        product.kubectl("delete", "storageclass", name)


@contextmanager
def full_quota(product: Product, namespace: str) -> Iterator[None]:
    """Have a quota that takes no pod while the block runs; wait until it is in force."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"}}
    put(product, namespace, {**quota, "spec": {"hard": {"pods": "0"}}})
    in_force = ("--for=jsonpath={.status.hard.pods}=0", "resourcequota/no-pods", PATIENCE)
    product.kubectl("wait", "-n", namespace, *in_force)
    yield
    product.kubectl("delete", "-n", namespace, "resourcequota", "no-pods")


@pytest.mark.requirement("LIFE-11")
def test_pod_that_a_quota_refuses_is_told_and_made_when_there_is_room(
    product: Product, namespace: str, host: str
) -> None:
    product.create_session(namespace, "healthy", goal="Say hello.")
    product.wait_phase(namespace, "healthy", "Completed")
    with CountingProvider(host, FOUR_STEPS).serve() as provider:
        stage = Stage(product, namespace, provider, "underway")
        stage.begin()
        stage.await_tool()
        told_of_the_quota(product, namespace)
        stage.let_tool_end()
        for name, steps in {"newcomer": 1, "underway": 4}.items():
            done = product.wait_phase(namespace, name, "Completed")
            assert done["status"]["usage"]["steps"] == steps
    assert_healthy_cost_at_most_four_writes(product, namespace)


def told_of_the_quota(product: Product, namespace: str) -> None:
    """Let a quota refuse the pod of a new session, and the next pod of one that runs."""
    running = product.wait_phase(namespace, "underway", "Running")
    with full_quota(product, namespace):
        product.create_session(namespace, "newcomer", goal="Say hello.")
        pod = product.session_pods(namespace, running["metadata"]["uid"])[0].metadata.name
        product.core.delete_namespaced_pod(pod, namespace, grace_period_seconds=0)
        new = product.wait_for(namespace, "newcomer", lambda s: is_refused(s, "Accepted"), "refused")
        lost = product.wait_for(namespace, "underway", lambda s: is_refused(s, "Ready"), "refused")
    assert (new["status"]["phase"], lost["status"]["phase"]) == ("Pending", "Starting")
    for message in (condition(new, "Accepted")["message"], condition(lost, "Ready")["message"]):
        assert "exceeded quota: no-pods" in message
        assert "make room in the quota" in message


def is_refused(session: Json, kind: str) -> bool:
    found = condition(session, kind)
    return (found["status"], found["reason"]) == ("False", "PodRefused")


@pytest.mark.slow
@pytest.mark.alone
def test_session_waits_for_a_node_and_starts_when_there_is_one(product: Product, namespace: str) -> None:
    product.kubectl("cordon", "--selector", "kubernetes.io/hostname")
    try:
        product.create_session(namespace, "waits", goal="Say hello.")

        def is_unschedulable(session: Json) -> bool:
            return bool(condition(session, "Ready")["reason"] == "Unschedulable")

        stuck = product.wait_for(namespace, "waits", is_unschedulable, "unschedulable")
    finally:
        product.kubectl("uncordon", "--selector", "kubernetes.io/hostname")
    assert "free or add a node" in condition(stuck, "Ready")["message"]
    product.wait_phase(namespace, "waits", "Completed")


@pytest.mark.requirement("OBJ-1")
@pytest.mark.requirement("LIFE-1")
def test_apply_refuses_while_sessions_live(product: Product, namespace: str) -> None:
    product.apply(
        namespace, a_session("lives", operatingMode="Paused"), a_session("cancelled", operatingMode="Cancelled")
    )
    product.wait_phase(namespace, "lives", "Paused")
    product.wait_phase(namespace, "cancelled", "Cancelled")
    wrong = {}
    for sentence, (manifest, words) in REFUSED.items():
        done = product.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest), check=False)
        if done.returncode == 0 or any(word not in done.stderr for word in words):
            wrong[sentence] = done.stdout + done.stderr
    assert wrong == {}
    server_side = ("apply", "--server-side", "-n", namespace, "-f", "-")
    done = product.kubectl(*server_side, stdin=json.dumps(REFUSED["a context of 2 MiB"][0]), check=False)
    assert "spec.context.text: Too long: may not be more than 262144" in done.stderr
    product.patch_session(namespace, "lives", operatingMode="Running")
    product.wait_phase(namespace, "lives", "Completed")


@pytest.mark.requirement("ID-5")
def test_pod_with_our_labels_is_refused_to_everybody_else(product: Product, namespace: str) -> None:
    pods = {"pod": {}, "agent": {"agentsessions.dev/agent": "agent"}, "other": {"agentsessions.dev/anything": "x"}}
    for name, labels in pods.items():
        allowed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
        safe = {**allowed, "seccompProfile": {"type": "RuntimeDefault"}}
        container = {"name": "agent", "image": "localhost/nothing:1", "securityContext": safe}
        pod = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}}
        if not labels:
            product.core.create_namespaced_pod(namespace, pod)  # what is refused below is refused for its labels
            continue
        with pytest.raises(client.ApiException) as refused:
            product.core.create_namespaced_pod(namespace, pod)
        assert refused.value.status == 403
        assert "labels agentsessions.dev/* are reserved" in refused.value.body
        assert "create an AgentSession" in refused.value.body


def test_provider_whose_key_is_not_there_fails_the_session_by_the_name_of_the_secret(
    product: Product, namespace: str
) -> None:
    reference = {"name": "not-there", "key": "apiKey"}
    spec = {"type": "OpenAICompatible", "url": "https://models.example.com/v1", "apiKeySecretRef": reference}
    product.create_provider(namespace, "no-key", {**spec, "models": [{"name": "m"}]})
    product.create_session(namespace, "keyless", goal="Say hello.", retry={"maxRetries": 0}, **by("no-key"))
    status = product.wait_phase(namespace, "keyless", "Failed")["status"]
    assert status["stopReason"] == "RetriesExhausted"
    assert f"key 'apiKey' of Secret {namespace}/not-there" in status["error"]["message"]
