"""Templates on real pods: what a session keeps to, and what keeps it."""

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


def a_policy(name: str, labels: dict[str, str], word: str) -> Json:
    """Return a policy that denies commands with a word to the sessions with these labels."""
    rule = {"name": word, "tools": ["shell"], "when": f"arguments.command.contains('{word}')", "action": "Deny"}
    spec = {"selector": {"matchLabels": labels}, "rules": [rule]}
    return {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": name}, "spec": spec}


@pytest.mark.requirement("POL-1")
@pytest.mark.requirement("AG-6")
def test_policies_bind_sessions_of_a_template_by_its_reference_and_by_their_labels(
    product: Product, namespace: str
) -> None:
    words = ("publish", "delete", "look")
    asked = [{"name": "shell", "arguments": {"command": f"echo {word}"}} for word in words]
    product.create_script(
        namespace, "script", {"when": {"step": 1}, "answer": {"toolCalls": asked}}, {"answer": {"text": "Done."}}
    )
    agents = [{"name": "agent", "model": {"providerRef": {"name": "script"}}}]
    kind = {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentSessionTemplate", "metadata": {"name": "press"}}
    template = {**kind, "spec": {"session": {"agents": agents, "policyRef": {"name": "by-name"}}}}
    policies = a_policy("by-name", {"team": "nobody"}, "publish"), a_policy("by-label", {"team": "press"}, "delete")
    specs: dict[str, Json] = {"bound": {"templateRef": {"name": "press"}}, "free": {"agents": agents}}
    sessions = [
        {
            "apiVersion": "agentsessions.dev/v1alpha1",
            "kind": "AgentSession",
            "metadata": {"name": name, "labels": {"team": "press" if name == "bound" else "other"}},
            "spec": {"goal": "Publish it.", **spec},
        }
        for name, spec in specs.items()
    ]
    product.apply(namespace, *policies, template, *sessions)
    failed, policies_of = {}, {}
    for name in specs:
        product.wait_phase(namespace, name, "Completed")
        entries = product.entries(namespace, name)
        failed[name] = [e["body"]["isError"] for e in entries if e["type"] == "tool_result"]
        policies_of[name] = {e["body"]["policy"] for e in entries if e["type"] == "policy_decision"}
    assert failed == {"bound": [True, True, False], "free": [False, False, False]}
    assert policies_of == {"bound": {"by-name", "by-label"}, "free": set()}
