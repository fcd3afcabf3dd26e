"""Sessions that move, on real pods: to a place that is not there and back, to one that is, to another storage class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.e2e.faults import until
from tests.e2e.product import GROUP, VERSION, Json, Product

pytestmark = pytest.mark.e2e

STEPS = 5
EFFECTS = "effects.txt"


def rules(steps: int = STEPS) -> Iterator[Json]:
    """Yield a script of steps that each wait until a test lets them end, and leave a line."""
    for step in range(1, steps + 1):
        wait = f"touch at-{step}; until [ -e go-{step} ]; do sleep 0.1; done; echo {step} >> {EFFECTS}"
        call = {"name": "shell", "arguments": {"command": wait, "timeout": 240}}
        yield {"when": {"step": step}, "answer": {"toolCalls": [call]}}
    yield {"answer": {"text": "All is written."}}


@dataclass(frozen=True)
class Moved:
    """One session that moves."""

    product: Product
    namespace: str
    name: str = "mover"

    def begin(self, **spec: Any) -> None:
        """Create it, with its script."""
        self.product.create_script(self.namespace, "default", *rules())
        self.product.create_session(
            self.namespace,
            self.name,
            goal="Write lines.",
            workspace={"size": "64Mi"},
            limits={"timeoutSeconds": 900},
            pausePolicy={"gracePeriodSeconds": 240},
            **spec,
        )

    def folder(self) -> Path | None:
        """Return the newest workspace's folder on the node, which is this machine."""
        bound = [claim for claim in claims_of(self.product, self.namespace, self.name) if claim.status.phase == "Bound"]
        if not bound:
            return None
        newest = max(bound, key=lambda claim: claim.metadata.creation_timestamp)
        volume = self.product.core.read_persistent_volume(newest.spec.volume_name).spec
        return Path((volume.local or volume.host_path).path)

    def await_step(self, step: int) -> None:
        """Wait until the call of a step runs."""
        until(lambda: (at := self.folder()) is not None and (at / f"at-{step}").exists(), f"step {step} runs")

    def end_step(self, step: int) -> None:
        """Let the call of a step end."""
        folder = self.folder()
        assert folder is not None
        (folder / f"go-{step}").touch()

    def change(self, **spec: Any) -> None:
        """Change its spec, and wait until it is on its way."""
        self.product.patch_session(self.namespace, self.name, **spec)
        self.product.wait_phase(self.namespace, self.name, "Pausing")

    def await_condition(self, kind: str, reason: str) -> Json:
        """Wait for the reason of a condition, and return the condition."""
        found = self.product.wait_for(
            self.namespace, self.name, lambda one: self.condition(one, kind).get("reason") == reason, f"{kind} {reason}"
        )
        return self.condition(found, kind)

    @staticmethod
    def condition(session: Json, kind: str) -> Json:
        """Return a condition of a session; empty when it has none."""
        conditions = session.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def pod(self) -> Any:
        """Return the pod that status names."""
        session = self.product.wait_phase(self.namespace, self.name, "Running")
        return self.product.core.read_namespaced_pod(session["status"]["agents"][0]["podName"], self.namespace)


@contextmanager
def labelled_node(product: Product, *keys: str) -> Iterator[str]:
    """Give labels to the node, and take them away again."""
    (node,) = [node.metadata.name for node in product.core.list_node().items][:1]
    product.core.patch_node(node, {"metadata": {"labels": dict.fromkeys(keys, "yes")}})
    try:
        yield node
    finally:
        product.core.patch_node(node, {"metadata": {"labels": dict.fromkeys(keys)}})


@contextmanager
def storage_class(name: str) -> Iterator[str]:
    """Make a class like the default one, whose claims may grow."""
    (like,) = [one for one in client.StorageV1Api().list_storage_class().items if one.metadata.name == "standard"]
    body = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": like.provisioner,
        "reclaimPolicy": like.reclaim_policy,
        "volumeBindingMode": like.volume_binding_mode,
        "allowVolumeExpansion": True,
    }
    client.StorageV1Api().create_storage_class(body)
    try:
        yield name
    finally:
        client.StorageV1Api().delete_storage_class(name)


@pytest.mark.requirement("AG-8")
@pytest.mark.slow
def test_a_session_moves_and_comes_back_and_no_step_is_lost(product: Product, namespace: str) -> None:
    here, there = f"{namespace}/here", f"{namespace}/there"
    mover = Moved(product, namespace)
    with labelled_node(product, here), storage_class(namespace):
        mover.begin(placement={"nodeSelector": {here: "yes"}})
        mover.await_step(1)
        first = mover.pod()
        assert first.spec.node_selector == {here: "yes"}

        # A place that is not there: its step ends, no pod can start, and it goes on where it was.
        mover.change(placement={"nodeSelector": {here: None, there: "yes"}, "timeoutSeconds": 8})
        mover.end_step(1)
        back = mover.await_condition("Migrated", "RolledBack")
        assert "within 8 s: Unschedulable" in back["message"]
        assert "change spec.placement" in back["message"]
        mover.await_step(2)
        assert mover.pod().spec.node_selector == {here: "yes"}
        mover.product.patch_session(namespace, "mover", workspace={"size": "128Mi"})
        refused = mover.await_condition("WorkspaceResized", "ResizeRefused")
        assert "must support resize" in refused["message"]
        begin_fork(product, namespace)

        # The place comes, and the session is asked to go there once more.
        with labelled_node(product, there):
            mover.change(placement={"timeoutSeconds": 120})
            mover.end_step(2)
            mover.await_condition("Migrated", "Migrated")
            mover.await_step(3)
            assert mover.pod().spec.node_selector == {there: "yes"}

            # Another storage class: the files go along, and the former volume is kept until a step is completed.
            mover.change(workspace={"storageClassName": namespace})
            mover.end_step(3)
            mover.await_step(4)
            copier = mover.pod().status.init_container_statuses[0]
            assert copier.state.terminated.exit_code == 0
            claims = claims_of(product, namespace, "mover")
            assert [claim.metadata.deletion_timestamp for claim in claims] == [None, None]
            mover.product.patch_session(namespace, "mover", workspace={"size": "256Mi"})
            mover.end_step(4)
            mover.await_step(5)
            folder = mover.folder()
            assert folder is not None
            assert (folder / EFFECTS).read_text().split() == ["1", "2", "3", "4"]
            mover.await_condition("WorkspaceResized", "Resized")
            ending = [claim for claim in claims_of(product, namespace, "mover") if claim.metadata.deletion_timestamp]
            assert [claim.spec.storage_class_name for claim in ending] == ["standard"]
            mover.end_step(5)
            done = product.wait_phase(namespace, "mover", "Completed")
    assert (folder / EFFECTS).read_text().split() == ["1", "2", "3", "4", "5"]
    assert done["status"]["usage"]["steps"] == STEPS + 1
    product.core.delete_namespaced_pod(done["status"]["agents"][0]["podName"], namespace)  # Kubernetes waits for it
    check_one_claim(product, namespace)
    events = {event.reason for event in product.await_events(namespace, "mover", lambda all_: len(all_) > 2)}
    assert {"RolledBack", "Migrated"} <= events
    read = product.wait_phase(namespace, "fork", "Completed")["status"]["result"]
    assert read.split()[:STEPS] == ["1", "2", "3", "4", "5"]


def begin_fork(product: Product, namespace: str) -> None:
    """Create a session that begins with the files of the mover, which runs: so it waits."""
    cat = {"toolCalls": [{"name": "shell", "arguments": {"command": f"cat {EFFECTS}"}}]}
    product.create_script(
        namespace, "reader", {"when": {"step": 1}, "answer": cat}, {"answer": {"text": "${result[-1]}"}}
    )
    product.create_session(
        namespace,
        "fork",
        goal="Read.",
        agents=[{"name": "agent", "model": {"providerRef": {"name": "reader"}}}],
        source={"sessionRef": {"name": "mover"}, "history": "Reset", "workspace": "Copy"},
        workspace={"size": "64Mi"},
    )
    told = product.wait_for(
        namespace, "fork", lambda one: Moved.condition(one, "Accepted").get("reason") == "SourceInvalid", "refused"
    )
    assert "which is Running, so that its files may change" in Moved.condition(told, "Accepted")["message"]


def check_one_claim(product: Product, namespace: str) -> None:
    """Check that the former claim goes, and that the new one is as it was wanted last."""
    until(lambda: len(claims_of(product, namespace, "mover")) == 1, "the former claim is gone")
    (claim,) = claims_of(product, namespace, "mover")
    assert claim.spec.storage_class_name == namespace
    assert claim.spec.resources.requests["storage"] == "256Mi"


def claims_of(product: Product, namespace: str, name: str) -> list[Any]:
    """Return the claims of a session."""
    label = f"agentsessions.dev/session={name}"
    found: list[Any] = product.core.list_namespaced_persistent_volume_claim(namespace, label_selector=label).items
    return found


@pytest.mark.requirement("AG-9")
def test_sessions_start_near_to_and_apart_from_others(product: Product, namespace: str) -> None:
    product.create_script(namespace, "hello", {"answer": {"text": "Hello."}})
    product.create_script(namespace, "default", *rules(1))
    agents = [{"name": "agent", "model": {"providerRef": {"name": "hello"}}}]

    def begin(name: str, nearness: str) -> None:
        wish = {"selector": {"matchLabels": {"team": "sales"}}, "nearness": nearness, "strictness": "Required"}
        product.create_session(namespace, name, goal="g", agents=agents, placement={"sessionAffinity": [wish]})
        found = product.wait_for(namespace, name, lambda one: reason_of(one) == "Unschedulable", "unschedulable")
        assert "spec.placement" in Moved.condition(found, "Ready")["message"]

    begin("near", "Near")  # there is nobody yet to be near to
    product.apply(
        namespace,
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "AgentSession",
            "metadata": {"name": "sales", "labels": {"team": "sales"}},
            "spec": {"goal": "Sell.", "workspace": {"size": "64Mi"}, "limits": {"timeoutSeconds": 600}},
        },
    )
    sales = Moved(product, namespace, "sales")
    product.wait_phase(namespace, "near", "Completed")
    sales.await_step(1)
    begin("apart", "Apart")  # there is one node, and a pod of sales is on it
    sales.end_step(1)
    product.wait_phase(namespace, "apart", "Completed")


def reason_of(session: Json) -> str:
    """Return the reason of Ready."""
    return str(Moved.condition(session, "Ready").get("reason", ""))
