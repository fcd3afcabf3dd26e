"""Each rule of the CRDs refuses on a real API server what it is for, in its own words and no others."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config

from agentsessions.api.names import GROUP, VERSION
from tests.integration.crds_cluster import Kubectl, fresh_namespace
from tests.integration.crds_words import ROWS, Row

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

WHY = re.compile(r'^(Forbidden|Invalid value: "\w*"): ')
"""What the API server writes in front of a rule's words."""
PLURALS = {
    "AgentSession": "agentsessions",
    "AgentSessionTemplate": "agentsessiontemplates",
    "ModelProvider": "modelproviders",
    "ToolServer": "toolservers",
    "AgentPolicy": "agentpolicies",
    "SessionApproval": "sessionapprovals",
    "SessionWebhook": "sessionwebhooks",
}


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with fresh_namespace("crds-words") as kubectl:
        yield kubectl


@pytest.fixture(scope="module")
def objects(kubectl: Kubectl) -> Iterator[client.CustomObjectsApi]:
    with config.new_client_from_config(kubectl.kubeconfig) as api:
        yield client.CustomObjectsApi(api)


def attempt(objects: client.CustomObjectsApi, namespace: str, row: Row) -> None:
    """Do what the row is about."""
    where = (GROUP, VERSION, namespace, PLURALS[row.rule.kind])
    name = row.begin["metadata"]["name"]
    if not row.change:
        objects.create_namespaced_custom_object(*where, row.begin, dry_run="All")
        return
    objects.create_namespaced_custom_object(*where, row.begin)
    try:
        if row.status:
            objects.patch_namespaced_custom_object_status(*where, name, {"status": row.status})
        if "status" in row.change:
            objects.patch_namespaced_custom_object_status(*where, name, row.change, dry_run="All")
        else:
            objects.patch_namespaced_custom_object(*where, name, row.change, dry_run="All")
    finally:
        objects.delete_namespaced_custom_object(*where, name)


@pytest.mark.requirement("LIFE-2")
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_rule_refuses_in_its_own_words(objects: client.CustomObjectsApi, kubectl: Kubectl, row: Row) -> None:
    with pytest.raises(client.ApiException) as refused:
        attempt(objects, kubectl.namespace, row)
    status: dict[str, Any] = json.loads(refused.value.body)
    causes = [(cause["field"], WHY.sub("", cause["message"])) for cause in status["details"]["causes"]]
    assert causes == row.said
