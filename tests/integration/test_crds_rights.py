"""The chart's roles, asked on a real API server: what operator, gateway and people may do, and above all what not.

Roles and bindings are the chart's own, under names of the test's, for an install namespace of the test's.
"""

from collections.abc import Iterator

import pytest

from tests.integration.crds_chart import chart_objects
from tests.integration.crds_cluster import Kubectl, Manifest, fresh_namespace

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.requirement("ID-1"),
    pytest.mark.xdist_group("rights"),
]

ROLES = frozenset({"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"})
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


def to_private(thing: Manifest, namespace: str) -> Manifest:
    """Return a role or binding under a name of the test's, added to no other role."""
    meta = {"name": f"{namespace}-{thing['metadata']['name']}"}
    if "namespace" in thing["metadata"]:
        meta["namespace"] = namespace
    if (role := thing.get("roleRef")) is not None:
        thing = thing | {"roleRef": role | {"name": f"{namespace}-{role['name']}"}}
    return thing | {"metadata": meta}


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with fresh_namespace("crds-rights") as kubectl:
        found = [thing for thing in chart_objects(kubectl.namespace) if thing["kind"] in ROLES]
        bundle = {"apiVersion": "v1", "kind": "List", "items": [to_private(t, kubectl.namespace) for t in found]}
        kubectl("create", "--filename", "-", manifest=bundle)
        for user in ("view", "user", "session-operator", "admin"):
            role = f"--clusterrole={kubectl.namespace}-agentsessions-{user}"
            kubectl("create", "rolebinding", user, role, f"--user=test-{user}")
        try:
            yield kubectl
        finally:
            kubectl.run("delete", "--filename", "-", manifest=bundle)


SESSIONS, PROVIDERS = "agentsessions.agentsessions.dev", "modelproviders.agentsessions.dev"
SERVERS = "toolservers.agentsessions.dev"
WEBHOOKS = "sessionwebhooks.agentsessions.dev"
QUOTAS = "sessionquotas.agentsessions.dev"
TEMPLATES, REVISIONS = "agentsessiontemplates.agentsessions.dev", "controllerrevisions.apps"
POLICIES, APPROVALS = "agentpolicies.agentsessions.dev", "sessionapprovals.agentsessions.dev"

OPERATOR = {
    f"watch {SESSIONS}": True,
    f"patch {SESSIONS}/status": True,
    f"patch {SESSIONS}": False,
    f"create {SESSIONS}": True,
    f"delete {SESSIONS}": True,
    f"patch {PROVIDERS}": False,
    f"watch {SERVERS}": True,
    f"patch {SERVERS}/status": False,
    f"watch {QUOTAS}": True,
    f"patch {QUOTAS}/status": True,
    f"patch {QUOTAS}": False,
    f"watch {TEMPLATES}": True,
    f"patch {TEMPLATES}": False,
    f"create {REVISIONS}": True,
    f"delete {REVISIONS}": True,
    f"patch {REVISIONS}": False,
    f"patch {POLICIES}": False,
    f"patch {POLICIES}/status": True,
    f"create {APPROVALS}": True,
    f"patch {APPROVALS}": False,
    f"patch {APPROVALS}/status": True,
    f"approve {APPROVALS}": False,
    "create pods": True,
    "delete pods": True,
    "create pods/exec": False,
    "patch pods": False,
    "create networkpolicies.networking.k8s.io": True,
    "delete persistentvolumeclaims": True,
    "delete persistentvolumes": False,
    "delete configmaps": False,
    "get secrets": False,
    "create serviceaccounts/token": False,
    "create rolebindings.rbac.authorization.k8s.io": False,
}
GATEWAY = {
    f"watch {SESSIONS}": True,
    f"patch {SESSIONS}": False,
    f"patch {SESSIONS}/status": False,
    f"patch {PROVIDERS}": False,
    f"watch {SERVERS}": True,
    f"patch {SERVERS}/status": True,
    f"patch {SERVERS}": False,
    f"watch {POLICIES}": True,
    f"watch {WEBHOOKS}": True,
    f"patch {WEBHOOKS}": False,
    f"patch {WEBHOOKS}/status": True,
    "create events.events.k8s.io": True,
    f"watch {APPROVALS}": True,
    f"create {APPROVALS}": False,
    f"patch {APPROVALS}": False,
    f"approve {APPROVALS}": False,
    "create tokenreviews.authentication.k8s.io": True,
    "create subjectaccessreviews.authorization.k8s.io": True,
    "get configmaps": True,
    "list configmaps": False,
    f"get {REVISIONS}": True,
    f"list {REVISIONS}": False,
    "get secrets": False,
    "list secrets": False,
    "get pods": False,
    "create pods": False,
}
VIEW = {
    f"list {SESSIONS}": True,
    f"get {SESSIONS}/messages": True,
    f"get {SESSIONS}/events": True,
    f"send {SESSIONS}": False,
    f"create {SESSIONS}/messages": False,
    f"update {SESSIONS}/messages": False,
    f"create {SESSIONS}/import": False,
    f"list {SESSIONS}/audit": False,
    f"delete {SESSIONS}/messages": False,
    f"create {SESSIONS}": False,
    f"patch {SESSIONS}": False,
    f"get {PROVIDERS}": True,
    f"patch {PROVIDERS}": False,
    f"get {SERVERS}": True,
    f"patch {SERVERS}": False,
    f"get {WEBHOOKS}": True,
    f"patch {WEBHOOKS}": False,
    f"get {QUOTAS}": True,
    f"patch {QUOTAS}": False,
    f"get {TEMPLATES}": True,
    f"patch {TEMPLATES}": False,
    f"own {SESSIONS}": False,
    f"pause {SESSIONS}": False,
    f"cancel {SESSIONS}": False,
    f"get {POLICIES}": True,
    f"patch {POLICIES}": False,
    f"list {APPROVALS}": True,
    f"patch {APPROVALS}": False,
    f"approve {APPROVALS}": False,
}
USER = VIEW | {
    f"send {SESSIONS}": True,
    f"update {SESSIONS}/messages": True,
    f"delete {SESSIONS}/messages": True,
    f"create {SESSIONS}": True,
    f"patch {SESSIONS}": True,
    f"delete {SESSIONS}": True,
    f"pause {SESSIONS}": True,
    f"resume {SESSIONS}": True,
    f"cancel {SESSIONS}": True,
    f"patch {PROVIDERS}": True,
    f"patch {TEMPLATES}": True,
    f"patch {SERVERS}": True,
    f"patch {SERVERS}/status": False,
    f"patch {WEBHOOKS}": True,
    f"patch {WEBHOOKS}/status": False,
    f"patch {SESSIONS}/status": False,
    "create pods": False,
    "get secrets": False,
}
SESSION_OPERATOR = USER | {
    f"own {SESSIONS}": True,
    f"create {SESSIONS}/import": True,
    f"list {SESSIONS}/audit": True,
    f"patch {PROVIDERS}": False,
    f"patch {TEMPLATES}": False,
    f"patch {SERVERS}": False,
    f"patch {WEBHOOKS}": False,
    f"patch {APPROVALS}": True,
    f"approve {APPROVALS}": True,
    f"create {APPROVALS}": False,
}
ADMIN = USER | {
    f"create {SESSIONS}/import": True,
    f"list {SESSIONS}/audit": True,
    f"patch {QUOTAS}": True,
    f"delete {QUOTAS}": True,
    f"patch {QUOTAS}/status": False,
    f"own {SESSIONS}": True,
    f"create {POLICIES}": True,
    f"patch {POLICIES}": True,
    f"patch {POLICIES}/status": False,
    f"patch {APPROVALS}": True,
    f"approve {APPROVALS}": True,
}


GATEWAY_AT_HOME = {"get secrets": True, "list secrets": False, "delete secrets": False, "patch secrets": False}
ASKED = {
    "operator anywhere": OPERATOR,
    "gateway anywhere": GATEWAY,
    "gateway at home": GATEWAY_AT_HOME,
    "view at home": VIEW,
    "user at home": USER,
    "session-operator at home": SESSION_OPERATOR,
    "admin at home": ADMIN,
}
"""Who is asked about where: a part of the product or a role, and the install namespace or another one."""


def a_review(kubectl: Kubectl, who: str, question: str) -> Manifest:
    """Return what asks the API server whether somebody may do `verb resource[/subresource]`."""
    name, _, where = who.partition(" ")
    verb, thing = question.split()
    thing, _, subresource = thing.partition("/")
    resource, _, group = thing.partition(".")
    user, groups = f"test-{name}", ["system:authenticated"]
    if name in {"operator", "gateway"}:
        user = f"system:serviceaccount:{kubectl.namespace}:agentsessions-{name}"
        groups += ["system:serviceaccounts", f"system:serviceaccounts:{kubectl.namespace}"]
    namespace = kubectl.namespace if where == "at home" else "default"
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": asked},
    }


@pytest.fixture(scope="module")
def answers(kubectl: Kubectl) -> dict[tuple[str, str], bool]:
    """What the API server says to all that is asked: a program for each question would take minutes."""
    asked = [(who, question) for who, questions in ASKED.items() for question in questions]
    reviews = {"apiVersion": "v1", "kind": "List", "items": [a_review(kubectl, *one) for one in asked]}
    said = kubectl("create", "--filename", "-", "--output", "jsonpath={.status.allowed} ", manifest=reviews).split()
    return {one: answer == "true" for one, answer in zip(asked, said, strict=True)}


@pytest.mark.parametrize(
    ("who", "question", "answer"),
    [(who, question, answer) for who, questions in ASKED.items() for question, answer in questions.items()],
)
def test_who_may_do_what(answers: dict[tuple[str, str], bool], who: str, question: str, *, answer: bool) -> None:
    assert answers[who, question] is answer


def test_roles_of_the_cluster_take_ours_up() -> None:
    labels = {thing["metadata"]["name"]: thing["metadata"]["labels"] for thing in chart_objects("x")}
    assert {key for key in labels["agentsessions-view"] if key.startswith(AGGREGATE)} == {
        f"{AGGREGATE}{role}" for role in ("view", "edit", "admin")
    }
    assert {key for key in labels["agentsessions-user"] if key.startswith(AGGREGATE)} == {
        f"{AGGREGATE}{role}" for role in ("edit", "admin")
    }
    for role in ("session-operator", "admin"):
        found = {key for key in labels[f"agentsessions-{role}"] if key.startswith(AGGREGATE)}
        assert found == {f"{AGGREGATE}admin"}
