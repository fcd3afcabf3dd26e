"""Templates on real pods: what a session keeps to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.product import SAMPLES, Product

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
TEMPLATE = "agent-123"


def condition(session: Json, kind: str) -> Json:
    """Return a condition of a session's status; one that says nothing where there is none."""
    found: list[Json] = session.get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {"status": "", "reason": "", "message": ""})


def change_steps(product: Product, namespace: str, template: str, steps: int) -> None:
    body = f'{{"spec": {{"session": {{"limits": {{"maxSteps": {steps}}}}}}}}}'
    product.kubectl("patch", "-n", namespace, "agst", template, "--type=merge", "-p", body)


@pytest.mark.requirement("AG-6")
def test_a_session_waits_for_its_template_and_then_keeps_to_the_revision_it_got(
    product: Product, namespace: str
) -> None:
    documents = (SAMPLES / "stories" / "configuration.yaml").read_text().split("\n---\n")
    product.create_session(namespace, "early", templateRef={"name": TEMPLATE}, goal="Wait.", operatingMode="Paused")
    product.wait_for(
        namespace, "early", lambda found: condition(found, "Accepted")["reason"] == "TemplateNotFound", "refused"
    )
    product.kubectl("apply", "-n", namespace, "-f", "-", stdin="\n---\n".join(documents[:3]))
    accepted = product.wait_phase(namespace, "early", "Paused")
    assert accepted["status"]["effective"]["maxSteps"] == 10
    assert condition(accepted, "TemplateCurrent")["status"] == "True"

    change_steps(product, namespace, TEMPLATE, 3)
    old = product.wait_for(
        namespace, "early", lambda found: condition(found, "TemplateCurrent")["status"] == "False", "behind"
    )
    assert condition(old, "TemplateCurrent")["reason"] == "NewerTemplate"
    assert old["status"]["effective"]["maxSteps"] == 10
    product.create_session(namespace, "late", templateRef={"name": TEMPLATE}, goal="Wait.", operatingMode="Paused")
    new = product.wait_phase(namespace, "late", "Paused")
    assert new["status"]["effective"]["maxSteps"] == 3
    assert new["status"]["templateRevision"] != old["status"]["templateRevision"]

    product.create_session(namespace, "greedy", templateRef={"name": TEMPLATE}, goal="Wait.", retry={"maxRetries": 9})
    refused = product.wait_for(
        namespace, "greedy", lambda found: condition(found, "Accepted")["status"] == "False", "refused"
    )
    assert condition(refused, "Accepted")["reason"] == "OverrideNotAllowed"
    with product.gateway() as gateway:
        listed = gateway.get("", namespace=namespace, template=TEMPLATE)
        assert {item["name"] for item in listed["items"]} == {"early", "late", "greedy"}
        assert gateway.get("", namespace=namespace, template="other")["total"] == 0

    product.kubectl("delete", "-n", namespace, "agst", TEMPLATE)
    product.kubectl(
        "patch", "-n", namespace, "ags", "early", "--type=merge", "-p", '{"spec": {"operatingMode": "Running"}}'
    )
    done = product.wait_phase(namespace, "early", "Completed")
    assert "in English, log level info" in done["status"]["result"]
