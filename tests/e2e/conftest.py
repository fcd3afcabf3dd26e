"""Every end-to-end test gets a namespace of its own; its sessions are checked against the invariants afterwards.

Tests run side by side, but for those marked `alone`: they disturb what all share, the product and its node.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client

from tests.e2e.product import READER, ROOT, SYSTEM, Forward, Json, Product, read_until
from tests.e2e.seeds import Api, a_user
from tests.e2e.settled import begun_sessions, unsettled
from tests.invariants import check_audit, check_session

AUDITOR = "agentsessions-test-auditor"
AUDIT_SECONDS = 60


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse to run beside others what must run alone."""
    if item.get_closest_marker("alone") and hasattr(item.config, "workerinput"):
        pytest.fail("this test disturbs others: run it without `-n`, or leave it out by `-m 'not alone'`")


@pytest.fixture(scope="session")
def product(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Product:
    """Install the product as built from this checkout, once in a run of tests, and return handles on it."""
    if hasattr(request.config, "workerinput"):
        install_once(tmp_path_factory.getbasetemp().parent / "installation")
    else:
        install()
    return Product()


def install_once(record: Path) -> None:
    """Install in the first worker that comes here; the others wait for it. All know the record of their run."""
    with record.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        found = file.read()
        if not found:
            file.write("begun\n")
            file.flush()
            install()
            file.write("done\n")
        elif "done" not in found:
            pytest.fail("another worker could not install the product: see its errors")


def install() -> None:
    """Bring up the cluster, and the product in it."""
    subprocess.run([sys.executable, str(ROOT / "hack" / "cluster"), "up"], check=True)
    product = Product()
    allowed = ["--allow-provider-network", f"{product.machine}/32"]
    subprocess.run([sys.executable, str(ROOT / "hack" / "product"), "install", *allowed], check=True)
    make_reader(product)


def make_reader(product: Product) -> None:
    """Create the service account by which tests read every namespace's sessions."""
    manifests: list[Json] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": READER}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": READER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": READER, "namespace": SYSTEM}],
        },
    ]
    rules = [{"apiGroups": ["agentsessions.dev"], "resources": ["agentsessions/audit"], "verbs": ["list"]}]
    auditor = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": AUDITOR}}
    binding = manifests[-1] | {"metadata": {"name": AUDITOR}}
    binding["roleRef"] = binding["roleRef"] | {"name": AUDITOR}
    product.apply(SYSTEM, *manifests, auditor | {"rules": rules}, binding)


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


@pytest.fixture
def api(product: Product, namespace: str) -> Iterator[Api]:
    """Return the API as it is for who may edit in the namespace."""
    with a_user(product, namespace) as api:
        yield api


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
            broken = check_session(session, pods, entries, chain["problems"])
            broken += unaudited(gateway, session)
            found += [f"{name}: {problem}" for problem in broken]
    return found


def unaudited(gateway: Forward, session: Json) -> list[str]:
    """Return what is wrong with the audit of a session; changes whose request died are told after half a minute."""
    meta = session["metadata"]
    query = {"namespace": meta["namespace"], "session": meta["uid"], "limit": 1000}
    deadline = time.monotonic() + AUDIT_SECONDS
    while True:
        answer = gateway.http.get("/api/v1/audit", params=query)
        answer.raise_for_status()
        broken = check_audit(answer.json()["items"], meta["generation"])
        if not broken or time.monotonic() > deadline:
            return broken
        time.sleep(0.5)  # another process is at work; there is nothing to wait on
