"""A real API server with our CRDs. Tests that ask for it fail, and are not skipped, when there is none.

It must run no operator of ours: tests write the status themselves.
"""

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.integration.crds_cluster import ROOT, Kubectl, find_kubeconfig


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    """Path of the kubeconfig of a cluster that answers.

    That of $AGENTSESSIONS_TEST_KUBECONFIG, else the local cluster's; never $KUBECONFIG, which may be anybody's.
    """
    path = os.environ.get("AGENTSESSIONS_TEST_KUBECONFIG") or find_kubeconfig()
    done = Kubectl(path, "default").run("get", "--raw", "/readyz")
    if done.returncode != 0:
        pytest.fail(f"the cluster of {path} does not answer: run `make cluster-up`\n{done.stderr}")
    return path


@pytest.fixture(scope="session")
def cluster(kubeconfig: str) -> Kubectl:
    """Return kubectl for a cluster that has our CRDs."""
    kubectl = Kubectl(kubeconfig, "default")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=90s", "-f", str(ROOT / "crds"))
    return kubectl


@pytest.fixture
def namespace(kubeconfig: str) -> Iterator[str]:
    """Name of a namespace of the test's own, in which pods can be created."""
    kubectl = Kubectl(kubeconfig, f"test-{uuid.uuid4().hex[:8]}")
    kubectl("create", "namespace", kubectl.namespace)
    kubectl("wait", "--for=create", "--timeout=90s", "serviceaccount/default")
    yield kubectl.namespace
    kubectl.run("delete", "namespace", kubectl.namespace, "--wait=false")
