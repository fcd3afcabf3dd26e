"""What `doctor` looks at, in this order: each check says how it is, and what to do where it is not well."""

import re
from collections.abc import Callable
from typing import Any, Final

from agentsessions.api.names import DEFAULT_PROVIDER, GROUP
from agentsessions.cli.connection import Connection
from agentsessions.cli.egress import check_network_policies, probe_network_policies
from agentsessions.cli.failures import Failure
from agentsessions.cli.findings import Finding, Level
from agentsessions.cli.identity import ACCOUNT, AccountToken, commands
from agentsessions.cli.kube import DEPLOYMENTS, PROVIDERS, Kind, KubeError

OLDEST_MINOR: Final = 32
CRDS: Final = Kind("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition")
CLAIMS: Final = Kind("/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim")
OWN_KINDS: Final = (
    "agentsessions",
    "agentsessiontemplates",
    "modelproviders",
    "sessionquotas",
    "toolservers",
    "agentpolicies",
    "sessionapprovals",
    "sessionwebhooks",
)
RIGHTS: Final = (
    ("create", "agentsessions", ""),
    ("patch", "agentsessions", ""),
    ("get", "agentsessions", "messages"),
    ("send", "agentsessions", ""),
    ("get", "agentsessions", "events"),
)
INSTALL: Final = "helm install agentsessions helm/agentsessions --namespace agentsessions-system --create-namespace"


def check_server(connection: Connection) -> Finding:
    """The API server answers, and is new enough."""
    access = connection.kube.access
    version = connection.kube.request("GET", "/version")
    minor = int(re.sub(r"\D.*", "", str(version.get("minor", "0"))) or 0)
    text = f"{access.server} is Kubernetes {version.get('gitVersion')}"
    if minor < OLDEST_MINOR:
        return Finding(Level.BAD, f"{text}; the product needs 1.{OLDEST_MINOR}", ("upgrade the cluster",))
    return Finding(Level.GOOD, text)


def check_kinds(connection: Connection) -> Finding:
    """The product's kinds are known."""
    try:
        found = connection.kube.request("GET", f"/apis/{GROUP}/v1alpha1")
    except KubeError:
        return Finding(Level.BAD, f"this cluster does not know {GROUP}", (INSTALL,), is_end=True)
    known = {one["name"] for one in found["resources"]}
    missing = [kind for kind in OWN_KINDS if kind not in known]
    if missing:
        return Finding(Level.BAD, f"{', '.join(missing)} are missing", ("kubectl apply --server-side -f crds/",))
    return Finding(Level.GOOD, ", ".join(OWN_KINDS))


def check_deployment(name: str) -> Callable[[Connection], Finding]:
    """One of the product's deployments is ready."""

    def check(connection: Connection) -> Finding:
        namespace = connection.system_namespace
        try:
            found = connection.kube.find(DEPLOYMENTS, namespace, name)
        except KubeError as error:
            return Finding(Level.WARNING, f"you may not look at it ({error.reason}); an administrator may")
        if found is None:
            return Finding(
                Level.BAD, f"there is none in namespace {namespace}", (f"{INSTALL}, or give --system-namespace",)
            )
        ready, wanted = found.get("status", {}).get("readyReplicas", 0), found["spec"].get("replicas", 1)
        if ready < max(1, wanted):
            look = (f"kubectl describe pods -n {namespace}", f"kubectl logs deployment/{name} -n {namespace}")
            return Finding(Level.BAD, f"{ready} of {wanted} pods are ready", look)
        return Finding(Level.GOOD, f"{ready} of {wanted} pods are ready in namespace {namespace}")

    return check


def check_storage(connection: Connection) -> Finding:
    """The journal has a volume."""
    namespace = connection.system_namespace
    try:
        claims = connection.kube.list_objects(CLAIMS, namespace)[0]
    except KubeError as error:
        return Finding(Level.WARNING, f"you may not look at it ({error.reason}); an administrator may")
    unbound = [one["metadata"]["name"] for one in claims if one.get("status", {}).get("phase") != "Bound"]
    if unbound:
        todo = f"kubectl describe pvc -n {namespace} (is there a default StorageClass?)"
        return Finding(Level.BAD, f"claim {', '.join(unbound)} is not bound", (todo,))
    if not claims:
        return Finding(Level.WARNING, "no claim: the journal is in a database, or is lost with the gateway's pod")
    return Finding(Level.GOOD, f"claim {', '.join(one['metadata']['name'] for one in claims)} is bound")


def check_provider(connection: Connection) -> Finding:
    """A session that names no provider finds one."""
    for namespace in (connection.namespace, connection.system_namespace):
        try:
            found = connection.kube.find(PROVIDERS, namespace, DEFAULT_PROVIDER)
        except KubeError as error:
            return Finding(Level.WARNING, f"you may not look ({error.reason})")
        if found is not None:
            kind = found["spec"].get("type")
            return Finding(Level.GOOD, f"ModelProvider {DEFAULT_PROVIDER} in namespace {namespace}, type {kind}")
    todo = "kubectl apply -f manifests/default-provider.yaml, or name one in each session with --provider"
    return Finding(Level.WARNING, f"no ModelProvider {DEFAULT_PROVIDER}", (todo,))


def check_rights(connection: Connection) -> Finding:
    """The user may do with sessions what the verbs do."""
    missing = [
        f"{verb} {resource}{f'/{part}' if part else ''}"
        for verb, resource, part in RIGHTS
        if not _may(connection, verb, resource, part)
    ]
    where = f"in namespace {connection.namespace}"
    if missing:
        todo = f"kubectl create rolebinding USER-edit -n {connection.namespace} --clusterrole=edit --user=USER"
        return Finding(Level.WARNING, f"you may not {', '.join(missing)} {where}", (todo,))
    return Finding(Level.GOOD, f"create, steer, read and talk with sessions {where}")


def _may(connection: Connection, verb: str, resource: str, subresource: str) -> bool:
    attributes = {
        "group": GROUP,
        "resource": resource,
        "subresource": subresource,
        "verb": verb,
        "namespace": connection.namespace,
    }
    body: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = connection.kube.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
    return bool(answer["status"]["allowed"])


def check_identity(connection: Connection) -> Finding:
    """The gateway has a way to know the user."""
    if connection.given.as_account:
        return Finding(Level.GOOD, f"service account {connection.given.as_account}, as asked")
    if connection.kube.access.token():
        return Finding(Level.GOOD, "the kubeconfig's bearer token")
    try:
        AccountToken(connection.kube, connection.namespace, ACCOUNT)()
    except Failure:
        text = "your kubeconfig has a client certificate, and nobody speaks for you at the gateway"
        return Finding(Level.BAD, text, commands(connection.namespace), is_end=True)
    return Finding(
        Level.GOOD, f"service account {connection.namespace}/{ACCOUNT} (your kubeconfig has a client certificate)"
    )


def check_gateway(connection: Connection) -> Finding:
    """The gateway answers, and shows the namespace's sessions."""
    found = connection.gateway.count(namespace=connection.namespace)
    way = connection.given.gateway or f"a port-forward to namespace {connection.system_namespace}"
    return Finding(Level.GOOD, f"answers through {way}: {found} sessions in namespace {connection.namespace}")


Check = Callable[[Connection], Finding]
NETWORK_POLICIES: Final = "network policies"
CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("API server", check_server),
    ("kinds", check_kinds),
    ("operator", check_deployment("agentsessions-operator")),
    ("gateway", check_deployment("agentsessions-gateway")),
    ("journal's storage", check_storage),
    ("default model", check_provider),
    (NETWORK_POLICIES, check_network_policies),
    ("your rights", check_rights),
    ("who you are to the gateway", check_identity),
    ("way to the gateway", check_gateway),
)


def choose_checks(*, is_probing: bool) -> tuple[tuple[str, Check], ...]:
    """Return what to look at; who probes makes pods."""
    tried = {NETWORK_POLICIES: probe_network_policies} if is_probing else {}
    return tuple((title, tried.get(title, check)) for title, check in CHECKS)
