"""The chart's admission policies, on a real API server: whose pods may carry our labels, and what a reference needs.

The policies are the chart's own, under names and in a namespace of the test's, so that they bind nothing else.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.integration.crds_chart import chart_objects, private_policies
from tests.integration.crds_cluster import (
    Kubectl,
    Manifest,
    a_provider,
    a_session,
    a_template,
    a_tool_server,
    a_webhook,
    an_agent,
    an_approval,
    fresh_namespace,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SECONDS_TO_BIND = 90
ALLOWED = "allowed"
"""The approval that mia may decide."""
MINE = "--resource=agentsessions,modelproviders,sessionapprovals"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"


def a_pod(name: str, **labels: str) -> Manifest:
    """Return a pod that no node will start."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "schedulerName": "nobody",
            "automountServiceAccountToken": False,
            "containers": [{"name": "main", "image": "none"}],
        },
    }


def ours(name: str) -> Manifest:
    """Return a pod with a reserved label."""
    return a_pod(name, **{"agentsessions.dev/session": "s"})


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with fresh_namespace("crds-admission") as kubectl:
        bundle = private_policies(kubectl.namespace)
        kubectl("create", "--filename", "-", manifest=bundle)
        try:
            await_refusal(lambda: kubectl.run("create", "--dry-run=server", "-f", "-", manifest=ours("early")))
            yield kubectl
        finally:
            kubectl.run("delete", "--filename", "-", manifest=bundle)


def await_refusal(attempt: Callable[[], subprocess.CompletedProcess[str]]) -> None:
    """Wait until the API server has picked the policies up; it does so from a watch of its own."""
    deadline = time.monotonic() + SECONDS_TO_BIND
    while attempt().returncode == 0:
        assert time.monotonic() < deadline, f"the policies do not bind after {SECONDS_TO_BIND} s"


@pytest.fixture(scope="module")
def operator(kubectl: Kubectl) -> Kubectl:
    """Return kubectl as the operator of this install namespace, with the right to make pods."""
    name = f"system:serviceaccount:{kubectl.namespace}:agentsessions-operator"
    kubectl("create", "serviceaccount", "agentsessions-operator")
    kubectl("create", "rolebinding", "operator", "--clusterrole=admin", f"--user={name}")
    kubectl("create", "role", "asker", "--verb=create,get,patch", "--resource=sessionapprovals,agentsessions")
    kubectl("create", "rolebinding", "asker", "--role=asker", f"--user={name}")
    return replace(kubectl, user=name)


@pytest.fixture(scope="module")
def member(kubectl: Kubectl) -> Kubectl:
    """Return kubectl as somebody who may create sessions and providers, and read one ConfigMap, and no Secret."""
    kubectl("create", "role", "member", "--verb=create,get,patch,delete,pause,resume", MINE)
    kubectl("create", "role", "approver", "--verb=approve", "--resource=sessionapprovals", f"--resource-name={ALLOWED}")
    kubectl("create", "role", "writer", "--verb=create,patch", "--resource=agentsessiontemplates")
    kubectl(
        "create",
        "role",
        "user",
        "--verb=get",
        "--resource=agentsessiontemplates",
        "--resource-name=for-all",
        "--resource-name=of-mia",
    )
    kubectl("create", "role", "reader", "--verb=get", "--resource=configmaps", "--resource-name=mine")
    kubectl("create", "role", "maker", "--verb=create,patch", "--resource=toolservers,sessionwebhooks")
    keyed = ("--resource-name=keyed", "--resource-name=denied")  # kubectl reads what it patches and applies
    kubectl(
        "create",
        "role",
        "caller",
        "--verb=get",
        "--resource=toolservers,sessionwebhooks",
        "--resource-name=mine",
        *keyed,
    )
    for role in ("member", "reader", "writer", "user", "maker", "caller", "approver"):
        kubectl("create", "rolebinding", f"mia-{role}", f"--role={role}", "--user=mia")
    return replace(kubectl, user="mia")


@pytest.mark.requirement("LIFE-11")
def test_nobody_else_makes_an_agent_pod(kubectl: Kubectl) -> None:
    message = kubectl.refusal("create", "--filename", "-", manifest=ours("forged"))
    assert "labels agentsessions.dev/* are reserved for pods of AgentSessions" in message
    assert "leave these labels out, or create an AgentSession" in message


def test_other_pods_are_nobodys_business(kubectl: Kubectl) -> None:
    kubectl("create", "--filename", "-", manifest=a_pod("free", app="x"))
    assert "are reserved" in kubectl.refusal("label", "pod", "free", "agentsessions.dev/session=s")


def test_a_controller_cannot_make_one_from_a_template(kubectl: Kubectl) -> None:
    controller = replace(kubectl, user="system:serviceaccount:kube-system:replicaset-controller")
    assert "are reserved" in controller.refusal("create", "--filename", "-", manifest=ours("from-template"))


def test_the_operator_makes_it_and_the_cluster_may_finish_it(kubectl: Kubectl, operator: Kubectl) -> None:
    operator("create", "--filename", "-", manifest=ours("real"))
    message = kubectl.refusal("label", "pod", "real", "agentsessions.dev/session-", "--overwrite")
    assert "are reserved" in message, "taking the labels off is a change of the pod, too"
    assert "are reserved" in kubectl.refusal("annotate", "pod", "real", "a=b")
    status = json.dumps({"status": {"message": "as the kubelet writes it"}})
    kubectl("patch", "pod", "real", "--subresource=status", "--type=merge", "--patch", status)
    collector = replace(kubectl, user=COLLECTOR)
    collector("patch", "pod", "real", "--type=merge", "--patch", '{"metadata": {"ownerReferences": null}}')
    kubectl("delete", "pod", "real", "--grace-period=0", "--force")


@pytest.mark.requirement("OBJ-6")
def test_a_reference_needs_the_right_to_read(kubectl: Kubectl, member: Kubectl) -> None:
    def naming(*names: str) -> Manifest:
        files = [{"path": name, "configMapKeyRef": {"name": name, "key": "k"}} for name in names]
        return a_session("-".join(names), context={"files": files})

    member("create", "--filename", "-", manifest=naming("mine"))
    for names in (("other",), ("mine", "other")):
        message = member.refusal("create", "--filename", "-", manifest=naming(*names))
        assert "context or dataSources name ConfigMaps that mia may not read: name one that you may get" in message
    kubectl("create", "--filename", "-", manifest=naming("mine", "other"))
    member("patch", "ags", "mine", "--type=merge", "--patch", '{"spec": {"operatingMode": "Paused"}}')


@pytest.mark.requirement("AG-7")
@pytest.mark.parametrize("field", ["source", "replay"])
def test_making_a_session_from_another_needs_the_right_to_read_its_messages(
    kubectl: Kubectl, member: Kubectl, field: str
) -> None:
    words = ("--verb=get", "--resource=agentsessions.agentsessions.dev/messages", f"--resource-name=may-{field}")
    kubectl("create", "role", f"reads-{field}", *words)
    kubectl("create", "rolebinding", f"mia-reads-{field}", f"--role=reads-{field}", "--user=mia")

    def made_from(name: str, uid: str) -> Manifest:
        reference = {"name": name, "uid": uid}
        named = {"source": {"sessionRef": reference}, "replay": {"of": reference}}[field]
        return a_session(f"{field}-of-{name}", **{field: named})

    message = member.refusal("create", "--filename", "-", manifest=made_from("other", "u-1"))
    assert "made from session other, of which mia may not read the messages" in message
    member("create", "--filename", "-", manifest=made_from(f"may-{field}", "u-1"))


@pytest.mark.requirement("AG-5")
def test_an_observer_needs_the_right_to_read_what_it_monitors(kubectl: Kubectl, member: Kubectl) -> None:
    def watching(*monitors: str) -> Manifest:
        return a_session("watcher", role="Observer", monitors=list(monitors))

    kubectl("create", "role", "events", "--verb=get", "--resource=agentsessions/events", "--resource-name=rows")
    kubectl("create", "rolebinding", "mia-events", "--role=events", "--user=mia")
    for monitors in (("other",), ("row*",), ("rows", "other")):
        message = member.refusal("create", "--filename", "-", manifest=watching(*monitors))
        assert "spec.monitors names sessions that mia may not read: name one of which you may get" in message
    member("create", "--filename", "-", manifest=watching("rows"))
    more = '{"spec": {"monitors": ["*"]}}'
    assert "may not read" in member.refusal("patch", "ags", "watcher", "--type=merge", "--patch", more)
    kubectl("patch", "ags", "watcher", "--type=merge", "--patch", more)
    member("patch", "ags", "watcher", "--type=merge", "--patch", '{"spec": {"title": "It sees more than mia"}}')
    kubectl("create", "--filename", "-", manifest=a_session("all", role="Observer", monitors=["x*"] * 32))


@pytest.mark.requirement("LIFE-7")
def test_a_department_needs_the_right_to_read_its_director(kubectl: Kubectl) -> None:
    kubectl("create", "role", "starter", "--verb=create,patch", "--resource=agentsessions")
    kubectl("create", "role", "one", "--verb=get", "--resource=agentsessions", "--resource-name=boss")
    for role in ("starter", "one"):
        kubectl("create", "rolebinding", f"eve-{role}", f"--role={role}", "--user=eve")
    eve = replace(kubectl, user="eve")
    message = eve.refusal("create", "-f", "-", manifest=a_session("d", directorRef={"name": "other"}))
    assert "spec.directorRef names a session that eve may not read: ask for the right to get agentsession" in message
    eve("create", "--filename", "-", manifest=a_session("d", directorRef={"name": "boss"}))


@pytest.mark.requirement("OBJ-8")
@pytest.mark.requirement("AG-6")
def test_data_sources_and_templates_need_the_right_to_read_what_they_name(kubectl: Kubectl, member: Kubectl) -> None:
    def source(name: str) -> list[Manifest]:
        return [{"name": "t", "format": "CSV", "configMapKeyRef": {"name": name, "key": "k"}}]

    member("create", "--filename", "-", manifest=a_session("queries-mine", dataSources=source("mine")))
    refused = a_session("queries-other", dataSources=source("other"))
    assert "may not read" in member.refusal("create", "--filename", "-", manifest=refused)
    kubectl("create", "--filename", "-", manifest=a_template("for-all", session={"dataSources": source("other")}))
    member("create", "--filename", "-", manifest=a_template("of-mia", session={"dataSources": source("mine")}))
    elsewhere = json.dumps({"spec": {"session": {"context": {"configMapKeyRef": {"name": "other", "key": "k"}}}}})
    message = member.refusal("patch", "agst", "of-mia", "--type=merge", "--patch", elsewhere)
    assert "may not read" in message
    member("create", "--filename", "-", manifest=a_session("from-all", templateRef={"name": "for-all"}))
    message = member.refusal("create", "--filename", "-", manifest=a_session("stolen", templateRef={"name": "hidden"}))
    assert "spec.templateRef names an AgentSessionTemplate that mia may not read" in message


@pytest.mark.requirement("ID-2")
def test_child_sessions_give_nobody_the_rights_of_the_operator(
    kubectl: Kubectl, member: Kubectl, operator: Kubectl
) -> None:
    def leads(*templates: str) -> Manifest:
        return {"role": "Director", "childSessions": {"max": 2, "templates": list(templates)}}

    def a_child(name: str, **spec: Any) -> Manifest:
        child = a_session(name, directorRef={"name": "boss"}, **spec)
        child["metadata"]["ownerReferences"] = [BOSS | {"uid": boss}]
        return child

    message = member.refusal("create", "--filename", "-", manifest=a_session("spy", **leads("hidden")))
    assert (
        "spec.childSessions names an AgentSessionTemplate that mia may not read: ask for the right to get hidden"
        in message
    )
    message = member.refusal("create", "--filename", "-", manifest=a_session("spy", **leads("for-all", "hidden")))
    assert "all AgentSessionTemplates" in message
    member("create", "--filename", "-", manifest=a_session("boss", owner="mia", **leads("for-all")))
    member("create", "--filename", "-", manifest=a_session("plain", role="Director"))
    for name, patch in {
        "plain": {"childSessions": {"max": 9}},
        "boss": {"childSessions": {"max": 9, "templates": ["hidden"]}},
    }.items():
        words = member.refusal("patch", "ags", name, "--type=merge", "--patch", json.dumps({"spec": patch}))
        assert "spec.childSessions cannot change after creation" in words

    boss = kubectl("get", "ags", "boss", "--output=jsonpath={.metadata.uid}")
    message = member.refusal("create", "--filename", "-", manifest=a_child("forged"))
    assert "a session that an AgentSession owns is made by" in message, "it would spend the director's limits"
    adopt = {"metadata": {"ownerReferences": a_child("x")["metadata"]["ownerReferences"]}}
    message = member.refusal("patch", "ags", "plain", "--type=merge", "--patch", json.dumps(adopt))
    assert "made by" in message
    operator("create", "--filename", "-", manifest=a_child("made", owner="mia", limits={"maxSteps": 2}))
    raise_it = '{"spec": {"limits": {"maxSteps": 99}}}'
    for who in (member, kubectl):
        words = who.refusal("patch", "ags", "made", "--type=merge", "--patch", raise_it)
        assert "spec.limits of a child session were taken out of its director's and cannot change" in words
    member("patch", "ags", "made", "--type=merge", "--patch", '{"spec": {"operatingMode": "Paused", "title": "mine"}}')


def test_many_references_stay_within_the_budget(kubectl: Kubectl) -> None:
    files = [{"path": f"f{n}", "configMapKeyRef": {"name": f"m{n}", "key": "k"}} for n in range(64)]
    sources = [{"name": f"t{n}", "format": "CSV", "configMapKeyRef": {"name": f"d{n}", "key": "k"}} for n in range(16)]
    kubectl("create", "--filename", "-", manifest=a_session("many", context={"files": files}, dataSources=sources))


@pytest.mark.requirement("ID-5")
def test_a_key_needs_the_right_to_read_its_secret(kubectl: Kubectl, member: Kubectl) -> None:
    with_key = a_provider(
        "keyed",
        type="OpenAICompatible",
        url="https://example.com/v1",
        apiKeySecretRef={"name": "key", "key": "token"},
    )
    message = member.refusal("create", "--filename", "-", manifest=with_key)
    assert "spec.apiKeySecretRef names a Secret that mia may not read: ask for the right to get key" in message
    kubectl("create", "--filename", "-", manifest=with_key)
    elsewhere = '{"spec": {"url": "https://mia.example.com/v1"}}'
    message = member.refusal("patch", "modelprovider", "keyed", "--type=merge", "--patch", elsewhere)
    assert "may not read" in message, "a new address would be sent the key"
    member("patch", "modelprovider", "keyed", "--type=merge", "--patch", '{"metadata": {"labels": {"a": "b"}}}')


@pytest.mark.requirement("ID-2")
def test_the_owner_of_a_session_is_who_creates_it(kubectl: Kubectl, member: Kubectl) -> None:
    message = member.refusal("create", "--filename", "-", manifest=a_session("theirs", owner="somebody"))
    assert "spec.owner is somebody, and you are mia: name yourself, leave it out, or ask for the verb own" in message
    member("create", "--filename", "-", manifest=a_session("mias", owner="mia"))
    kubectl("create", "--filename", "-", manifest=a_session("given", owner="mia"))


@pytest.mark.requirement("ID-2")
def test_a_session_with_an_owner_is_changed_by_the_owner_or_with_the_verb_own(
    kubectl: Kubectl, member: Kubectl
) -> None:
    member("create", "--filename", "-", manifest=a_session("owned", owner="mia"))
    member("create", "--filename", "-", manifest=a_session("unowned"))
    for name in ("ben", "cleo"):
        kubectl("create", "rolebinding", f"{name}-member", "--role=member", f"--user={name}")
    kubectl("create", "role", "owning", "--verb=own", "--resource=agentsessions.agentsessions.dev")
    kubectl("create", "rolebinding", "cleo-owning", "--role=owning", "--user=cleo")
    ben, cleo = replace(kubectl, user="ben"), replace(kubectl, user="cleo")
    pause = ("--type=merge", "--patch", '{"spec": {"operatingMode": "Paused"}}')
    message = ben.refusal("patch", "ags", "owned", *pause)
    assert "this session belongs to mia, and you are ben: ask its owner, or for the verb own" in message
    ben("patch", "ags", "owned", "--type=merge", "--patch", '{"metadata": {"labels": {"a": "b"}}}')
    ben("patch", "ags", "unowned", *pause)
    member("patch", "ags", "owned", *pause)
    cleo("patch", "ags", "owned", "--type=merge", "--patch", '{"spec": {"operatingMode": "Running"}}')


@dataclass(frozen=True)
class Denial:
    """What a policy denies, and all that it then says, as one who reads it sees it."""

    policy: str
    wrong: Manifest
    """What mia applies."""
    words: str
    """With `{namespace}` for the namespace."""
    right: Manifest | None = None
    """What is there before."""


BOSS = {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentSession", "name": "boss", "controller": True}
FILES = [{"path": "a", "configMapKeyRef": {"name": "other", "key": "k"}}]
OWN = "the verb own on agentsessions in namespace {namespace}"
DENIALS = {
    "a pod with our labels": Denial(
        "agentsessions-pods",
        ours("denied"),
        "labels agentsessions.dev/* are reserved for pods of AgentSessions, which only "
        "system:serviceaccount:{namespace}:agentsessions-operator may create and change, not mia: leave these labels "
        "out, or create an AgentSession",
    ),
    "a ConfigMap of others": Denial(
        "agentsessions-context",
        a_session("denied", context={"files": FILES}),
        "context or dataSources name ConfigMaps that mia may not read: name one that you may get, or ask for the right "
        "to get all ConfigMaps of namespace {namespace}",
    ),
    "a template of others": Denial(
        "agentsessions-templates",
        a_session("denied", templateRef={"name": "hidden"}),
        "spec.templateRef names an AgentSessionTemplate that mia may not read: ask for the right to get hidden in "
        "namespace {namespace}",
    ),
    "a source that is not theirs": Denial(
        "agentsessions-source",
        a_session("denied", source={"sessionRef": {"name": "theirs"}}),
        "this session is made from session theirs, of which mia may not read the messages: ask for the right to get "
        "agentsessions/messages in namespace {namespace}",
    ),
    "a Secret of others": Denial(
        "agentsessions-provider-keys",
        a_provider(
            "denied",
            type="OpenAICompatible",
            url="https://example.com/v1",
            apiKeySecretRef={"name": "key", "key": "token"},
        ),
        "spec.apiKeySecretRef names a Secret that mia may not read: ask for the right to get key in namespace "
        "{namespace}",
    ),
    "sessions of others to see": Denial(
        "agentsessions-roles",
        a_session("denied", role="Observer", monitors=["*"]),
        "spec.monitors names sessions that mia may not read: name one of which you may get agentsessions and "
        "agentsessions/events, or ask for the right to get all of them in namespace {namespace}",
    ),
    "a Secret of others for a header": Denial(
        "agentsessions-tool-server-keys",
        a_tool_server("denied", headers=[{"name": "X-Key", "secretKeyRef": {"name": "key", "key": "header"}}]),
        "spec.headers names Secrets that mia may not read: name one that you may get, or ask for the right to get all "
        "Secrets of namespace {namespace}",
    ),
    "a Secret of others to sign with": Denial(
        "agentsessions-webhook-keys",
        a_webhook("denied"),
        "spec.secretKeyRefs names Secrets that mia may not read: name one that you may get, or ask for the right to "
        "get all Secrets of namespace {namespace}",
    ),
    "a ToolServer of others": Denial(
        "agentsessions-tool-servers",
        a_session("denied", agents=an_agent(tools=[{"serverRef": {"name": "theirs"}, "allow": ["a"]}])),
        "agents name ToolServers that mia may not read: name one that you may get, or ask for the right to get "
        "all ToolServers of namespace {namespace}",
    ),
    "another owner": Denial(
        "agentsessions-owner",
        a_session("denied", owner="somebody"),
        "spec.owner is somebody, and you are mia: name yourself, leave it out, or ask for " + OWN,
    ),
    "a session of others": Denial(
        "agentsessions-owner",
        a_session("of-others", owner="somebody", title="Mine"),
        "this session belongs to somebody, and you are mia: ask its owner, or for " + OWN,
        right=a_session("of-others", owner="somebody"),
    ),
    "a mode without its verb": Denial(
        "agentsessions-verbs",
        a_session("endless", operatingMode="Cancelled"),
        "mia may not cancel session endless: ask for the verb cancel on agentsessions in namespace {namespace}",
        right=a_session("endless", operatingMode="Running"),
    ),
    "a child session of their own": Denial(
        "agentsessions-child-sessions",
        {**a_session(), "metadata": {"name": "forged", "ownerReferences": [BOSS | {"uid": "u"}]}},
        "a session that an AgentSession owns is made by system:serviceaccount:{namespace}:agentsessions-operator "
        "alone, not by mia: leave metadata.ownerReferences out, and name the director in spec.directorRef",
    ),
    "a question of their own": Denial(
        "agentsessions-approvals",
        an_approval("denied"),
        "SessionApprovals are made and decided by system:serviceaccount:{namespace}:agentsessions-operator alone, not "
        "by mia: answer in spec.decisions",
    ),
    "an answer without the right": Denial(
        "agentsessions-approvers",
        an_approval("asked", {"mia": {"answer": "Approve"}}),
        "mia may not decide asked: ask for the verb approve on sessionapprovals in namespace {namespace}",
        right=an_approval("asked"),
    ),
    "an answer of others": Denial(
        "agentsessions-decisions",
        an_approval(ALLOWED, {"somebody": {"answer": "Approve"}}),
        'answer in your own name: write spec.decisions["mia"]',
        right=an_approval(ALLOWED),
    ),
}


def test_every_policy_has_a_denial_word_for_word() -> None:
    policies = [thing for thing in chart_objects("x") if thing["kind"] == "ValidatingAdmissionPolicy"]
    assert [len(policy["spec"]["validations"]) for policy in policies] == [1] * len(policies)
    assert {policy["metadata"]["name"] for policy in policies} == {denial.policy for denial in DENIALS.values()}


@pytest.mark.requirement("OBJ-6")
@pytest.mark.parametrize("denial", DENIALS.values(), ids=DENIALS.keys())
def test_a_policy_denies_in_its_own_words(kubectl: Kubectl, operator: Kubectl, member: Kubectl, denial: Denial) -> None:
    if denial.right is not None:
        maker = operator if denial.right["kind"] == "SessionApproval" else kubectl
        maker("apply", "--filename", "-", manifest=denial.right)
    if denial.wrong["kind"] == "Pod":
        kubectl("create", "role", "pods", "--verb=create,get", "--resource=pods")
        kubectl("create", "rolebinding", "mia-pods", "--role=pods", "--user=mia")
    message = member.refusal("apply", "--filename", "-", manifest=denial.wrong)
    name = f"{kubectl.namespace}-{denial.policy}"
    _, _, said = message.partition(f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: ")
    assert said.strip() == denial.words.format(namespace=kubectl.namespace)


@pytest.mark.requirement("ID-2")
def test_a_session_with_an_owner_is_deleted_by_the_owner_or_with_the_verb_own(
    kubectl: Kubectl, member: Kubectl
) -> None:
    for name in ("kept", "dropped", "overruled"):
        member("create", "--filename", "-", manifest=a_session(name, owner="mia"))
    kubectl("create", "rolebinding", "dan-member", "--role=member", "--user=dan")
    message = replace(kubectl, user="dan").refusal("delete", "ags", "kept")
    assert "this session belongs to mia, and you are dan: ask its owner, or for the verb own" in message
    member("delete", "ags", "dropped")
    kubectl("delete", "ags", "overruled")


@pytest.mark.requirement("ID-2")
@pytest.mark.parametrize(
    "part",
    [
        "system:serviceaccount:kube-system:namespace-controller",
        "system:serviceaccount:kube-system:generic-garbage-collector",
        "system:serviceaccount:{install}:agentsessions-operator",
    ],
    ids=["a whole namespace", "what an owner reference takes along", "a session whose time is over"],
)
def test_what_the_cluster_deletes_needs_no_owner(kubectl: Kubectl, member: Kubectl, part: str) -> None:
    user = part.format(install=kubectl.namespace)
    name = f"gone-{user.rpartition(':')[2]}"
    kubectl("create", "rolebinding", name, "--role=member", f"--user={user}")
    member("create", "--filename", "-", manifest=a_session(name, owner="mia"))
    replace(kubectl, user=user)("delete", "ags", name)


def test_a_namespace_goes_with_sessions_that_have_an_owner() -> None:
    with fresh_namespace("crds-gone") as doomed:
        bundle = private_policies(doomed.namespace)
        doomed("create", "--filename", "-", manifest=bundle)
        try:
            early = ours("early")
            await_refusal(lambda: doomed.run("create", "--dry-run=server", "-f", "-", manifest=early))
            doomed("create", "--filename", "-", manifest=a_session("owned", owner="mia"))
            doomed("delete", "namespace", doomed.namespace, "--timeout=90s")
        finally:
            doomed.run("delete", "--filename", "-", manifest=bundle)


@pytest.mark.requirement("ID-5")
def test_a_tool_servers_header_needs_the_right_to_read_its_secret(kubectl: Kubectl, member: Kubectl) -> None:
    headers = [{"name": "Authorization", "secretKeyRef": {"name": "key", "key": "header"}}]
    with_key = a_tool_server("keyed", headers=headers)
    message = member.refusal("create", "--filename", "-", manifest=with_key)
    assert "spec.headers names Secrets that mia may not read: name one that you may get" in message
    kubectl("create", "--filename", "-", manifest=with_key)
    elsewhere = '{"spec": {"url": "https://mia.example.com/mcp"}}'
    message = member.refusal("patch", "toolserver", "keyed", "--type=merge", "--patch", elsewhere)
    assert "spec.headers names Secrets that mia may not read" in message
    member("create", "--filename", "-", manifest=a_tool_server("open"))


@pytest.mark.requirement("AG-2")
def test_naming_a_tool_server_needs_the_right_to_read_it(kubectl: Kubectl, member: Kubectl) -> None:
    def naming(*names: str) -> Manifest:
        tools = [{"serverRef": {"name": name}, "allow": ["search"]} for name in names]
        return a_session(f"calls-{'-'.join(names)}", agents=an_agent(tools=[*tools, {"builtin": "Shell"}]))

    member("create", "--filename", "-", manifest=naming("mine"))
    for names in (("other",), ("mine", "other")):
        message = member.refusal("create", "--filename", "-", manifest=naming(*names))
        assert "agents name ToolServers that mia may not read: name one that you may get" in message
    kubectl("create", "--filename", "-", manifest=naming("mine", "other"))
    member("create", "--filename", "-", manifest=a_session("calls-nobody", agents=an_agent()))
