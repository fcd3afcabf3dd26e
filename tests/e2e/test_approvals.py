"""A call that a person must approve, on real pods: asked, refused to the wrong one, approved, and done exactly once."""

from __future__ import annotations

import json

import pytest

from tests.e2e.faults import until
from tests.e2e.product import Json, Product
from tests.e2e.test_lives import apply, live_pods, workspace_of

pytestmark = pytest.mark.e2e


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
    for user, role in (("erin", "agentsessions-user"), ("sam", "agentsessions-session-operator")):
        product.kubectl("create", "rolebinding", user, "-n", namespace, f"--clusterrole={role}", f"--user={user}")
    apply(product, namespace, "approval.yaml")
    waiting = product.wait_phase(namespace, "press-release", "Waiting")
    assert waiting["status"]["agents"][0]["epoch"] == 1
    until(lambda: live_pods(product, namespace, waiting) == [], "its pod is released")
    approval = approval_of(product, namespace)
    name, request = approval["metadata"]["name"], approval["spec"]["request"]
    assert (request["tool"], request["rule"]) == ("shell", "publishing")
    assert "echo published" in request["arguments"]
    assert (workspace_of(product, namespace) / "drafts").read_text() == "written\n"

    assert "cannot patch" in answer(product, namespace, name, user="erin", under="erin")
    assert "answer in your own name" in answer(product, namespace, name, user="sam", under="erin")
    assert answer(product, namespace, name, user="sam", under="sam") == ""

    done = product.wait_phase(namespace, "press-release", "Completed")
    assert done["status"]["agents"][0]["epoch"] == 2
    assert (workspace_of(product, namespace) / "publish.log").read_text() == "published\n"
    assert (workspace_of(product, namespace) / "drafts").read_text() == "written\n"
    told = [e["body"] for e in product.entries(namespace, "press-release") if e["type"] == "approval"]
    assert [one["outcome"] for one in told] == ["Pending", "Approved"]
    assert told[1]["by"] == ["sam"]
    assert approval_of(product, namespace)["status"]["decidedBy"] == ["sam"]
    assert "it is decided" in answer(product, namespace, name, user="sam", under="sam", word="Deny")
