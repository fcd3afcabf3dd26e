"""Every manifest that the documentation shows is one that the API server takes, as it stands there (dry run)."""

from collections.abc import Iterator

import pytest

from tests.documents import NAMES, OURS, manifests
from tests.integration.crds_chart import private_policies
from tests.integration.crds_cluster import Kubectl, fresh_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

WITH_MANIFESTS = [name for name in NAMES if manifests(name)]


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with fresh_namespace("crds-docs") as kubectl:
        bundle = private_policies(kubectl.namespace)
        kubectl("create", "--filename", "-", manifest=bundle)
        try:
            yield kubectl
        finally:
            kubectl.run("delete", "--filename", "-", manifest=bundle)


@pytest.mark.parametrize("name", WITH_MANIFESTS)
def test_manifests_of_a_page_are_accepted(kubectl: Kubectl, name: str) -> None:
    found = [one for one in manifests(name) if one["apiVersion"].startswith(OURS)]
    for one in found:
        one["metadata"].pop("namespace", None)  # that of the test has the chart's policies
        said = kubectl("apply", "--server-side", "--dry-run=server", "--filename", "-", manifest=one)
        assert "serverside-applied (server dry run)" in said
