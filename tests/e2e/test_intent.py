"""What people ask of a session that is in the middle of a tool: pause, resume, cancel, delete; and its time limit."""

import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from kubernetes import client

from tests.e2e.faults import until
from tests.e2e.product import Json, Product, read_until
from tests.e2e.provider import CountingProvider, run_shell, say
from tests.e2e.stage import FOUR_STEPS, Stage

pytestmark = pytest.mark.e2e

SLEEPER = (run_shell("touch waiting; sleep 60; touch late"), say("Rested."))


@pytest.fixture
def stage(product: Product, namespace: str, host: str) -> Iterator[Stage]:
    with CountingProvider(host, FOUR_STEPS).serve() as provider:
        yield Stage(product, namespace, provider)


@pytest.fixture
def sleeper(product: Product, namespace: str, host: str) -> Iterator[Stage]:
    with CountingProvider(host, SLEEPER).serve() as provider:
        yield Stage(product, namespace, provider)


def seconds_between(session: Json, begin: str, end: str) -> float:
    """Return the seconds between two instants of a status."""
    status = session["status"]
    return (datetime.fromisoformat(status[end]) - datetime.fromisoformat(status[begin])).total_seconds()


def await_no_pod(stage: Stage, uid: str) -> None:
    """Wait until no pod of the session is left."""
    until(lambda: not stage.product.session_pods(stage.namespace, uid), "no pod is left")


def live_pods(stage: Stage, uid: str) -> list[str]:
    """Return the names of the session's pods whose container may still run."""
    pods = stage.product.session_pods(stage.namespace, uid)
    return [pod.metadata.name for pod in pods if pod.status.phase not in {"Succeeded", "Failed"}]


@pytest.mark.requirement("LIM-1")
def test_active_time_used_up_ends_the_session_and_its_pod(product: Product, sleeper: Stage) -> None:
    sleeper.begin(limits={"timeoutSeconds": 3})
    failed = product.wait_phase(sleeper.namespace, sleeper.name, "Failed")
    assert failed["status"]["stopReason"] == "Timeout"
    assert 3 <= failed["status"]["usage"]["activeSeconds"] <= 33
    assert seconds_between(failed, "startedAt", "finishedAt") <= 63
    await_no_pod(sleeper, failed["metadata"]["uid"])
    assert not (sleeper.workspace() / "late").exists()


@pytest.mark.requirement("LIFE-4")
def test_paused_session_holds_no_pod_and_goes_on_where_it_was(product: Product, stage: Stage) -> None:
    stage.begin()
    stage.await_tool()
    product.patch_session(stage.namespace, stage.name, operatingMode="Paused")
    pausing = product.wait_phase(stage.namespace, stage.name, "Pausing")
    stage.let_tool_end()
    product.wait_phase(stage.namespace, stage.name, "Paused")
    assert live_pods(stage, pausing["metadata"]["uid"]) == []
    assert stage.effects() == ["one", "two"]
    assert stage.provider.sold == [1, 2]
    product.patch_session(stage.namespace, stage.name, operatingMode="Running")
    done = stage.finish()["status"]
    assert stage.effects() == ["one", "two", "three"]
    assert stage.provider.sold == [1, 2, 3, 4]
    assert (done["agents"][0]["epoch"], done.get("retries", 0)) == (2, 0)


@pytest.mark.requirement("LIFE-5")
def test_cancel_in_a_long_tool_ends_the_pod_within_its_grace(product: Product, sleeper: Stage) -> None:
    sleeper.begin()
    sleeper.await_tool()
    asked_at = time.monotonic()
    product.patch_session(sleeper.namespace, sleeper.name, operatingMode="Cancelled")
    cancelled = product.wait_phase(sleeper.namespace, sleeper.name, "Cancelled")
    assert time.monotonic() - asked_at <= 35, "the grace of a pod is 30 s"
    assert (cancelled["status"]["stopReason"], cancelled["status"]["podsRemaining"]) == ("UserCancelled", 0)
    assert live_pods(sleeper, cancelled["metadata"]["uid"]) == []
    await_no_pod(sleeper, cancelled["metadata"]["uid"])
    assert not (sleeper.workspace() / "late").exists()


@pytest.mark.requirement("LIFE-11")
def test_deleted_session_leaves_nothing_but_its_journal(product: Product, sleeper: Stage) -> None:
    given = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="given"), data={"a.txt": "A"})
    product.core.create_namespaced_config_map(sleeper.namespace, given)
    files = [{"path": "a.txt", "configMapKeyRef": {"name": "given", "key": "a.txt"}}]
    sleeper.begin(context={"files": files})
    sleeper.await_tool()
    uid = product.session(sleeper.namespace, sleeper.name)["metadata"]["uid"]
    assert len(owned(product, sleeper.namespace, uid)) == 3, "a pod, the frozen context and the claim"
    product.kubectl("delete", "agentsession", sleeper.name, "-n", sleeper.namespace, "--wait=false")
    until(lambda: owned(product, sleeper.namespace, uid) == [], "everything of the session is gone")
    with product.gateway() as gateway:
        journal = gateway.get(f"/{uid}/verify", namespace=sleeper.namespace)
        entries = read_until(gateway.http, sleeper.namespace, uid, journal["head"])
    assert journal["ok"]
    assert {"session_start", "message", "tool_call"} <= {entry["type"] for entry in entries}


def owned(product: Product, namespace: str, uid: str) -> list[str]:
    """Return the names of the objects that a session owns."""
    core = product.core
    lists = (
        core.list_namespaced_pod,
        core.list_namespaced_config_map,
        core.list_namespaced_persistent_volume_claim,
    )
    objects = [item for fetch in lists for item in fetch(namespace).items]
    return [o.metadata.name for o in objects if any(ref.uid == uid for ref in o.metadata.owner_references or [])]
