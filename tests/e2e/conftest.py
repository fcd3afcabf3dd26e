"""Every end-to-end test gets a namespace of its own; its sessions are checked against the invariants afterwards."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from kubernetes import client

from tests.e2e.faults import until
from tests.e2e.product import READER, ROOT, SYSTEM, Json, Product, read_until
from tests.invariants import check_deadline, check_session, check_settled


@pytest.fixture(scope="session")
def product() -> Product:
    """Install the product as built from this checkout, once, and return handles on it."""
    subprocess.run([sys.executable, str(ROOT / "hack" / "cluster"), "up"], check=True)
    product = Product()
    allowed = ["--allow-provider-network", f"{product.machine}/32"]
    subprocess.run([sys.executable, str(ROOT / "hack" / "product"), "install", *allowed], check=True)
    make_reader(product)
    return product


def make_reader(product: Product) -> None:
    """Create the service account by which tests read every namespace's sessions."""
    manifests = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": READER}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": READER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": READER, "namespace": SYSTEM}],
        },
    ]
    product.apply(SYSTEM, *manifests)


@pytest.fixture(scope="session")
def host(product: Product) -> str:
    """Return this machine's address as pods see it; the gateway may buy from providers there."""
    return product.machine


@pytest.fixture
def namespace(product: Product, request: pytest.FixtureRequest) -> Iterator[str]:
    """Make a restricted namespace; check the invariants of its sessions, then remove it."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "test": request.node.name[:60].strip("[]-_.")}
    labels["test"] = "".join(c if c.isalnum() or c in "-_." else "-" for c in labels["test"]).strip("-_.")
    product.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name, labels=labels)))
    yield name
    problems = broken_invariants(product, name)
    product.core.delete_namespace(name)
    assert problems == []


def broken_invariants(product: Product, namespace: str) -> list[str]:
    """Return the broken invariants of all sessions in a namespace."""
    found = unsettled(product, namespace)
    sessions = begun_sessions(product, namespace)
    if not sessions:
        return found
    with product.gateway() as gateway:
        for session in sessions:
            uid, name = session["metadata"]["uid"], session["metadata"]["name"]
            chain = gateway.get(f"/{uid}/verify", namespace=namespace)
            entries = read_until(gateway.http, namespace, uid, chain["head"])
            pods = product.session_pods(namespace, uid)
            found += [f"{name}: {problem}" for problem in check_session(session, pods, entries, chain["problems"])]
    return found


def begun_sessions(product: Product, namespace: str) -> list[Json]:
    """Return the sessions of a namespace that are past Pending."""
    listed = product.custom.list_namespaced_custom_object("agentsessions.dev", "v1alpha1", namespace, "agentsessions")
    return [s for s in listed["items"] if s.get("status", {}).get("phase") not in {None, "Pending"}]


def unsettled(product: Product, namespace: str) -> list[str]:
    """Return what is not as specs want it after 60 s (I7), and phases past their deadline (I8)."""
    found: list[str] = []

    def is_settled() -> bool:
        found[:] = []
        for session in begun_sessions(product, namespace):
            pods = product.session_pods(namespace, session["metadata"]["uid"])
            problems = [*check_settled(session, pods), *check_deadline(session, datetime.now(UTC))]
            found.extend(f"{session['metadata']['name']}: {problem}" for problem in problems)
        return not found

    with suppress(AssertionError):
        until(is_settled, "sessions are settled")
    return found
