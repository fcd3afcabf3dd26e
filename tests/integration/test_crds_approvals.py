"""Who may decide about a call, and who may pause, resume and cancel: the chart's policies on a real API server."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.integration.crds_chart import private_policies
from tests.integration.crds_cluster import Kubectl, a_session, an_approval, fresh_namespace
from tests.integration.test_crds_admission import await_refusal

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with fresh_namespace("crds-approvals") as kubectl:
        bundle = private_policies(kubectl.namespace)
        kubectl("create", "--filename", "-", manifest=bundle)
        dry = ("create", "--dry-run=server", "-f", "-")
        try:
            await_refusal(lambda: kubectl.run(*dry, manifest=an_approval("early")))
            yield kubectl
        finally:
            kubectl.run("delete", "--filename", "-", manifest=bundle)


@pytest.fixture(scope="module")
def operator(kubectl: Kubectl) -> Kubectl:
    """Return kubectl as the operator of this install namespace."""
    name = f"system:serviceaccount:{kubectl.namespace}:agentsessions-operator"
    kinds = "--resource=sessionapprovals,sessionapprovals/status"
    kubectl("create", "role", "operator", "--verb=get,create,patch", kinds)
    kubectl("create", "rolebinding", "operator", "--role=operator", f"--user={name}")
    return replace(kubectl, user=name)


@pytest.fixture(scope="module")
def people(kubectl: Kubectl) -> dict[str, Kubectl]:
    """Return kubectl as somebody who may decide, as another one, and as somebody who may only change the object."""
    kubectl("create", "role", "patcher", "--verb=get,patch", "--resource=sessionapprovals,agentsessions")
    kubectl("create", "role", "approver", "--verb=approve", "--resource=sessionapprovals")
    for user, roles in {"amy": ("patcher", "approver"), "bob": ("patcher", "approver"), "pat": ("patcher",)}.items():
        for role in roles:
            kubectl("create", "rolebinding", f"{user}-{role}", f"--role={role}", f"--user={user}")
    return {user: replace(kubectl, user=user) for user in ("amy", "bob", "pat")}


def answer(name: str, who: str, word: str = "Approve", **more: str) -> tuple[str, ...]:
    patch = {"spec": {"decisions": {who: {"answer": word, **more}}}}
    return ("patch", "sap", name, "--type=merge", "--patch", json.dumps(patch))


@pytest.mark.requirement("POL-2")
def test_the_operator_alone_asks_and_tells_the_outcome(kubectl: Kubectl, operator: Kubectl) -> None:
    assert "made and decided by" in kubectl.refusal("create", "-f", "-", manifest=an_approval("forged"))
    operator("create", "-f", "-", manifest=an_approval("real"))
    outcome = ("patch", "sap", "real", "--subresource=status", "--type=merge", "--patch")
    assert "made and decided by" in kubectl.refusal(*outcome, '{"status": {"outcome": "Approved"}}')
    other = '{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]}}'
    assert "made and decided by" in kubectl.refusal("patch", "sap", "real", "--type=merge", "--patch", other)
    request = '{"spec": {"request": {"tool": "files"}}}'
    assert "spec.request cannot change" in kubectl.refusal("patch", "sap", "real", "--type=merge", "--patch", request)


@pytest.mark.requirement("POL-2")
@pytest.mark.requirement("ID-3")
def test_who_may_approve_does_so_in_their_own_name_and_once(operator: Kubectl, people: dict[str, Kubectl]) -> None:
    operator("create", "-f", "-", manifest=an_approval("asked", quorum=2))
    amy, bob, pat = people["amy"], people["bob"], people["pat"]
    assert "pat may not decide asked: ask for the verb approve" in pat.refusal(*answer("asked", "pat"))
    assert "answer in your own name" in amy.refusal(*answer("asked", "bob"))
    amy(*answer("asked", "amy"))
    assert "a decision stays as it was first made" in amy.refusal(*answer("asked", "amy", "Deny"))
    bob(*answer("asked", "bob"))
    found = json.loads(bob("get", "sap", "asked", "-o", "json"))
    assert found["spec"]["decisions"] == {"amy": {"answer": "Approve"}, "bob": {"answer": "Approve"}}


@pytest.mark.requirement("POL-2")
def test_what_is_decided_takes_no_more_answers(operator: Kubectl, people: dict[str, Kubectl]) -> None:
    operator("create", "-f", "-", manifest=an_approval("over"))
    people["amy"](*answer("over", "amy"))
    outcome = ("patch", "sap", "over", "--subresource=status", "--type=merge", "--patch")
    operator(*outcome, '{"status": {"outcome": "Approved"}}')
    assert "it is decided: what comes later does not count" in people["bob"].refusal(*answer("over", "bob", "Deny"))
    assert "cannot change once it is set" in operator.refusal(*outcome, '{"status": {"outcome": "Denied"}}')


@pytest.mark.requirement("POL-2")
def test_a_barred_owner_a_pod_and_a_wrong_word_are_refused(
    kubectl: Kubectl, operator: Kubectl, people: dict[str, Kubectl]
) -> None:
    operator("create", "-f", "-", manifest=an_approval("barred", barred="amy"))
    amy, bob = people["amy"], people["bob"]
    assert "amy owns the session, and the rule wants somebody else" in amy.refusal(*answer("barred", "amy"))
    assert "answer an Approval with Approve or Deny" in bob.refusal(*answer("barred", "bob", "RunAgain"))
    operator("create", "-f", "-", manifest=an_approval("doubt", kind="Doubt"))
    assert "give `output`" in bob.refusal(*answer("doubt", "bob", "Happened"))
    runner = f"system:serviceaccount:{kubectl.namespace}:agentsessions-runner"
    for role in ("patcher", "approver"):
        kubectl("create", "rolebinding", f"runner-{role}", f"--role={role}", f"--user={runner}")
    assert "a pod can never decide" in replace(kubectl, user=runner).refusal(*answer("doubt", runner, "RunAgain"))

    bob(*answer("doubt", "bob", "Happened", output="mailed"))


@pytest.mark.requirement("ID-3")
@pytest.mark.parametrize(("verb", "mode"), [("pause", "Paused"), ("resume", "Running"), ("cancel", "Cancelled")])
def test_operating_modes_are_verbs_of_their_own(
    kubectl: Kubectl, people: dict[str, Kubectl], verb: str, mode: str
) -> None:
    before = "Paused" if mode == "Running" else "Running"
    kubectl("create", "-f", "-", manifest=a_session(verb, operatingMode=before))
    patch = ("patch", "ags", verb, "--type=merge", "--patch", json.dumps({"spec": {"operatingMode": mode}}))
    pat, can_i = people["pat"], ("auth", "can-i", verb, "agentsessions.agentsessions.dev", "--quiet")
    assert pat.run(*can_i).returncode != 0
    assert f"pat may not {verb} session {verb}: ask for the verb {verb} on agentsessions" in pat.refusal(*patch)
    pat("patch", "ags", verb, "--type=merge", "--patch", '{"spec": {"title": "a title is no mode"}}')
    kubectl("create", "role", verb, f"--verb={verb}", "--resource=agentsessions")
    kubectl("create", "rolebinding", f"pat-{verb}", f"--role={verb}", "--user=pat")
    assert pat.run(*can_i).returncode == 0
    pat(*patch)
