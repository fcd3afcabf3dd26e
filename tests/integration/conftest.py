"""A real API server with our CRDs. Tests that ask for it fail, and are not skipped, when there is none.

It must run no operator of ours: tests write the status themselves.
"""

import os
import uuid
from collections.abc import Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.integration.crds_cluster import ROOT, Kubectl, find_kubeconfig

OPERATORS = (
    "test_controller_children",
    "test_controller_lease",
    "test_controller_lives",
    "test_controller_quotas",
    "test_controller_sessions",
    "test_controller_stranded",
)
"""Files whose tests run an operator on one cluster. It acts on all of that: they take turns."""


class ByFile(LoadScopeScheduling):
    """Keeps the tests of a file in one process, and files that take turns in one, too."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = nodeid.partition("::")[0]
        return "operators" if file.endswith(tuple(f"{name}.py" for name in OPERATORS)) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Give the order in which processes take tests: they share fixtures."""
    return ByFile(config, log)


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
