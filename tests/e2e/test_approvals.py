"""A call that a person must approve, on real pods: asked, refused to the wrong one, approved, and done exactly once."""

from __future__ import annotations

import json

import pytest

from tests.e2e.faults import until
from tests.e2e.product import Json, Product
from tests.e2e.test_lives import apply, live_pods, workspace_of

pytestmark = pytest.mark.e2e

OPERATORS = "clusterrole=agentsessions-session-operator"
"""Who may decide."""


def approval_of(product: Product, namespace: str) -> Json:
    found = json.loads(product.kubectl("get", "sap", "-n", namespace, "-o", "json").stdout)["items"]
    assert len(found) == 1, found
    return dict(found[0])


def answer(product: Product, namespace: str, name: str, *, user: str, under: str, word: str = "Approve") -> str:
    """Answer as somebody; return what kubectl says, empty when it was taken."""
    patch = json.dumps({"spec": {"decisions": {under: {"answer": word}}}})
    words = ("patch", "sap", name, "-n", namespace, "--type=merge", "-p", patch, "--as", user)
    done = product.kubectl(*words, check=False)
    return "" if done.returncode == 0 else done.stderr


@pytest.mark.requirement("POL-1")
@pytest.mark.requirement("POL-2")
def test_an_asked_call_waits_without_a_pod_and_once_approved_runs_exactly_once(
    product: Product, namespace: str
) -> None:
    patch = ("create", "role", "patch-only", "-n", namespace, "--resource=sessionapprovals.agentsessions.dev")
    product.kubectl(*patch, "--verb=get,patch")
    roles = {"erin": "clusterrole=agentsessions-user", "dana": "role=patch-only", "sam": OPERATORS}
    for user, role in roles.items():
        product.kubectl("create", "rolebinding", user, "-n", namespace, f"--{role}", f"--user={user}")
    apply(product, namespace, "approval.yaml")
    waiting = product.wait_phase(namespace, "press-release", "Waiting")
    assert waiting["status"]["agents"][0]["epoch"] == 1
    until(lambda: live_pods(product, namespace, waiting) == [], "its pod is released")
    approval = approval_of(product, namespace)
    name, request = approval["metadata"]["name"], approval["spec"]["request"]
    assert (request["tool"], request["rule"]) == ("shell", "publishing")
    assert "echo published" in request["arguments"]
    assert (workspace_of(product, namespace) / "drafts").read_text() == "written\n"
    listed = product.kubectl("get", "sap", "-n", namespace).stdout
    assert all(word in listed for word in (name, "press-release", "shell"))
    with product.gateway() as gateway:
        page = gateway.http.get(f"/ui/sessions/{namespace}/press-release").text
    assert "echo published" in page
    assert f"/approvals/{name}/approve" in page
    assert "may not approve sessionapprovals" in page, "who reads may not decide, and is told"

    assert "cannot patch" in answer(product, namespace, name, user="erin", under="erin")
    assert "ask for the verb approve" in answer(product, namespace, name, user="dana", under="dana")
    assert "answer in your own name" in answer(product, namespace, name, user="sam", under="erin")
    assert answer(product, namespace, name, user="sam", under="sam") == ""
    twice = answer(product, namespace, name, user="sam", under="sam", word="Deny")
    assert "a decision stays as it was first made" in twice or "it is decided" in twice

    done = product.wait_phase(namespace, "press-release", "Completed")
    before, after = waiting["status"]["agents"][0], done["status"]["agents"][0]
    assert (after["epoch"], after["podUID"] != before["podUID"]) == (2, True)
    assert (workspace_of(product, namespace) / "publish.log").read_text() == "published\n"
    assert (workspace_of(product, namespace) / "drafts").read_text() == "written\n"
    told = [e["body"] for e in product.entries(namespace, "press-release") if e["type"] == "approval"]
    assert [one["outcome"] for one in told] == ["Pending", "Approved"]
    assert told[1]["by"] == ["sam"]
    assert approval_of(product, namespace)["status"]["decidedBy"] == ["sam"]
    assert "it is decided" in answer(product, namespace, name, user="sam", under="sam", word="Deny")


@pytest.mark.requirement("POL-2")
def test_what_nobody_decides_in_time_ends_by_the_rule(product: Product, namespace: str) -> None:
    product.kubectl("create", "rolebinding", "sam", "-n", namespace, f"--{OPERATORS}", "--user=sam")
    rules = [
        {
            "name": rule.lower(),
            "tools": ["shell"],
            "when": f"session.name == '{rule.lower()}'",
            "action": "Ask",
            "approval": {"expireAfterSeconds": 1, "onExpiry": rule},
        }
        for rule in ("Deny", "Allow", "Pause")
    ]
    policy = {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "soon"}}
    product.apply(namespace, {**policy, "spec": {"rules": rules}})
    call = {"toolCalls": [{"name": "shell", "arguments": {"command": "echo it ran"}}]}
    script = ({"when": {"step": 1}, "answer": call}, {"answer": {"text": "It said: ${result[-1]}"}})
    product.create_script(namespace, "script", *script)
    agent = {"name": "agent", "model": {"providerRef": {"name": "script"}}}
    for name in ("deny", "allow", "pause"):
        product.create_session(namespace, name, goal="Try it.", agents=[agent])

    denied = product.wait_phase(namespace, "deny", "Completed")
    allowed = product.wait_phase(namespace, "allow", "Completed")
    paused = product.wait_phase(namespace, "pause", "Paused")
    assert "was denied, and did not run" in denied["status"]["result"]
    assert allowed["status"]["result"].startswith("It said: it ran")
    assert paused["status"]["stopReason"] == "ApprovalExpired"
    found = json.loads(product.kubectl("get", "sap", "-n", namespace, "-o", "json").stdout)["items"]
    asked = {one["spec"]["session"]: one for one in found}
    assert asked["deny"]["status"]["outcome"] == "Denied"
    assert asked["allow"]["status"]["outcome"] == "Approved"
    assert not any("decidedBy" in one["status"] for one in found)
    late = answer(product, namespace, asked["deny"]["metadata"]["name"], user="sam", under="sam")
    assert "it is decided" in late
    assert answer(product, namespace, asked["pause"]["metadata"]["name"], user="sam", under="sam") == ""
    done = product.wait_phase(namespace, "pause", "Completed")
    assert done["status"]["result"].startswith("It said: it ran")
