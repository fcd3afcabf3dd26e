"""An object without a schema may nest ten thousand levels: whoever writes one must not stop the others."""

import json

import pytest

from tests.e2e.product import GROUP, PATIENCE, SYSTEM, VERSION, Product

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

LEVELS = 4900  # managed fields nest as deep again, and the API server takes 10,000
PARTS = ("deployment/agentsessions-operator", "deployment/agentsessions-gateway")


@pytest.mark.requirement("OBJ-6")
def test_json_of_great_depth_is_told_of_and_disturbs_no_other_session(product: Product, namespace: str) -> None:
    deep = '{"a":' * LEVELS + "1" + "}" * LEVELS
    head = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "AgentSession", "metadata": {"name": "deep"}}
    body = json.dumps(head | {"spec": {"goal": "x", "context": {"json": 0}}}).replace('"json": 0', f'"json": {deep}')
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/agentsessions"
    product.kubectl("create", "--raw", path, "-f", "-", stdin=body)
    try:
        # Lists must be read too, not the stream alone.
        product.kubectl("-n", SYSTEM, "rollout", "restart", *PARTS)
        for part in PARTS:
            product.kubectl("-n", SYSTEM, "rollout", "status", part, PATIENCE)
        product.create_session(namespace, "healthy", goal="Say hello.")
        product.wait_phase(namespace, "healthy", "Completed")
        product.kubectl("-n", namespace, "wait", "--for=condition=Accepted=False", "ags/deep", PATIENCE)
        told = 'jsonpath={.status.conditions[?(@.type=="Accepted")].message}'
        message = product.kubectl("-n", namespace, "get", "ags", "deep", "-o", told).stdout
        assert "context.json: " in message
        assert "nested more than 64 levels deep" in message
    finally:
        product.kubectl("-n", namespace, "delete", "ags", "deep", "--wait")  # no JSON library of the tests can read it
