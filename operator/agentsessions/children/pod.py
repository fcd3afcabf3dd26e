"""The pod of one agent in one epoch.

Everything that bears on security is written here and nowhere else: no field of a session reaches a security context, a
volume type, a service account or a host setting.
"""

from typing import Any, Final
from urllib.parse import urlsplit

from agentsessions.api import names
from agentsessions.api.v1alpha1.agent import Agent, AgentResources
from agentsessions.api.v1alpha1.placement import Site, Volume
from agentsessions.api.wire import OPENAI_PATH
from agentsessions.children.copying import add_copy
from agentsessions.children.names import claim_name, claim_of, context_name, pod_name
from agentsessions.children.owner import child_labels, owner_reference
from agentsessions.children.placement import build_labels, build_place, build_tolerations
from agentsessions.children.quantity import to_number
from agentsessions.children.settings import PodSettings
from agentsessions.children.snapshot import data_key
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.sites import first_site, site_key

CONTAINER: Final = "agent"
GRACE_SECONDS: Final = 30
NODE_SECONDS: Final = 10
"""Time after which a pod leaves a node that does not answer, on top of the 40 to 50 s in which Kubernetes finds that
out. Its own 300 s are longer than most sessions may run; a node that comes back finds its pod fenced off."""
NODE_TAINTS: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
TOKEN_SECONDS: Final = 3600
DEFAULT_REQUESTS: Final = {"cpu": "100m", "memory": "128Mi"}
DEFAULT_LIMITS: Final = {"memory": "1Gi"}
NO_DNS: Final = {
    "nameservers": ["127.0.0.1"],
    "options": [{"name": "timeout", "value": "1"}, {"name": "attempts", "value": "1"}],
}
"""One name server must be named: nobody answers there, and who asks is told so at once."""
TMP_SIZE: Final = "256Mi"
WORKSPACE_SIZE: Final = "1Gi"
"""Of a workspace without a claim: the kubelet evicts a pod that fills more of its node's disk."""
ENV_SESSION: Final = "AGENTSESSIONS_SESSION"
ENV_AGENT: Final = "AGENTSESSIONS_AGENT"
ENV_EPOCH: Final = "AGENTSESSIONS_EPOCH"
ENV_TOKEN_FILE: Final = "AGENTSESSIONS_TOKEN_FILE"  # noqa: S105  # a path's variable, no token


def build_pod(
    session: SessionView,
    agent: Agent,
    epoch: int,
    settings: PodSettings,
    site: Site | None = None,
    copy_from: Volume | None = None,
) -> dict[str, Any]:
    """Return the pod that plays `agent` (after defaults) in `epoch`.

    Args:
        session: Its session.
        agent: Its agent, after defaults.
        epoch: Its epoch.
        settings: What the installation gives.
        site: Where it runs, and with which volume; where a new session starts when None.
        copy_from: The volume whose files its own is filled with before the agent starts.
    """
    site = site or first_site(session.spec)
    pod = _build_pod(session, agent, epoch, settings, site)
    source = site.volume.filled_from if site.volume is not None else None
    if source is not None and agent.name in source.agents:
        add_copy(pod, claim_of(source, agent.name), settings, is_other=True)
    elif copy_from is not None:
        add_copy(pod, claim_name(session.name, session.uid, agent.name, copy_from), settings)
    return pod


def _build_pod(session: SessionView, agent: Agent, epoch: int, settings: PodSettings, site: Site) -> dict[str, Any]:
    key = site_key(site)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(session.name, session.uid, agent.name, epoch),
            "namespace": session.namespace,
            "labels": {
                **child_labels(session),
                names.LABEL_AGENT: agent.name,
                names.LABEL_EPOCH: str(epoch),
                **({names.LABEL_SITE: key} if key else {}),
                **build_labels(session.labels),
            },
            "ownerReferences": [owner_reference(session)],
        },
        "spec": {
            "serviceAccountName": names.RUNNER_SERVICE_ACCOUNT,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": names.RUNNER_UID,
                "runAsGroup": names.RUNNER_UID,
                "fsGroup": names.RUNNER_UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "tolerations": [*_leave_lost_nodes(), *build_tolerations(site.place)],
            **build_place(session, site.place),
            **_build_names(settings),
            "containers": [_build_container(session, agent, epoch, settings)],
            "volumes": _build_volumes(session, agent, site.volume),
        },
    }


def _leave_lost_nodes() -> list[dict[str, Any]]:
    leave = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": NODE_SECONDS}
    return [{"key": taint, **leave} for taint in NODE_TAINTS]


def _build_names(settings: PodSettings) -> dict[str, Any]:
    """Return how the pod finds the gateway: in its hosts file. It has no DNS: through it, data leaves unseen."""
    if not settings.gateway_addresses:
        return {}
    host = urlsplit(settings.gateway_url).hostname
    return {
        "hostAliases": [{"ip": address, "hostnames": [host]} for address in settings.gateway_addresses],
        "dnsPolicy": "None",
        "dnsConfig": NO_DNS,
    }


def build_resources(resources: AgentResources | None) -> dict[str, dict[str, str]]:
    """Return requests and limits, with defaults that never contradict what was chosen."""
    requests = dict(resources.requests or {}) if resources else {}
    limits = dict(resources.limits or {}) if resources else {}
    for kind, default in DEFAULT_LIMITS.items():
        limits.setdefault(kind, max(default, requests.get(kind, default), key=to_number))
    for kind, default in DEFAULT_REQUESTS.items():
        requests.setdefault(kind, min(default, limits.get(kind, default), key=to_number))
    return {"requests": requests, "limits": limits}


def _build_container(session: SessionView, agent: Agent, epoch: int, settings: PodSettings) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": agent.image or settings.runner_image,
        "imagePullPolicy": settings.pull_policy,
        "workingDir": names.WORKSPACE_DIR,
        "env": _build_env(session, agent, epoch, settings),
        "resources": build_resources(agent.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "File",
        "volumeMounts": _build_mounts(session),
    }
    if agent.image is None:
        container["command"] = ["agentsessions-runner"]
    return container


def _build_env(session: SessionView, agent: Agent, epoch: int, settings: PodSettings) -> list[dict[str, str]]:
    """Return the environment: the session's own first, so that ours wins where both name a variable."""
    ours = {
        names.ENV_GATEWAY_URL: settings.gateway_url,
        ENV_SESSION: f"{session.namespace}/{session.name}",
        ENV_AGENT: agent.name,
        ENV_EPOCH: str(epoch),
        "HOME": names.WORKSPACE_DIR,
    }
    if agent.image is not None:
        ours |= {
            "OPENAI_BASE_URL": settings.gateway_url + OPENAI_PATH,
            "SSL_CERT_FILE": names.CA_PATH,
            ENV_TOKEN_FILE: names.TOKEN_PATH,
        }
    theirs = [{"name": var.name, "value": var.value} for var in agent.env or () if var.name not in ours]
    return theirs + [{"name": name, "value": value} for name, value in ours.items()]


def _build_mounts(session: SessionView) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "workspace", "mountPath": names.WORKSPACE_DIR},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # a path in the pod: its own emptyDir
        {"name": "token", "mountPath": _parent(names.TOKEN_PATH), "readOnly": True},
        {"name": "ca", "mountPath": _parent(names.CA_PATH), "readOnly": True},
    ]
    if _has_files(session):
        mounts.append({"name": "context", "mountPath": names.CONTEXT_DIR, "readOnly": True})
    if session.spec.data_sources:
        mounts.append({"name": "data", "mountPath": names.DATA_DIR, "readOnly": True})
    return mounts


def _build_volumes(session: SessionView, agent: Agent, volume: Volume | None) -> list[dict[str, Any]]:
    token = {"audience": names.TOKEN_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": _leaf(names.TOKEN_PATH)}
    ca_leaf = _leaf(names.CA_PATH)
    volumes: list[dict[str, Any]] = [
        _build_workspace(session, agent, volume),
        {"name": "tmp", "emptyDir": {"sizeLimit": TMP_SIZE}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": "ca", "configMap": {"name": names.CA_CONFIG_MAP, "items": [{"key": ca_leaf, "path": ca_leaf}]}},
    ]
    if _has_files(session):
        volumes.append({"name": "context", "configMap": _build_context(session)})
    if session.spec.data_sources:
        volumes.append({"name": "data", "configMap": _build_data(session)})
    return volumes


def _build_workspace(session: SessionView, agent: Agent, volume: Volume | None) -> dict[str, Any]:
    if volume is None:
        return {"name": "workspace", "emptyDir": {"sizeLimit": WORKSPACE_SIZE}}
    claim = claim_name(session.name, session.uid, agent.name, volume)
    return {"name": "workspace", "persistentVolumeClaim": {"claimName": claim}}


def _build_context(session: SessionView) -> dict[str, Any]:
    files = (session.spec.context and session.spec.context.files) or []
    return {
        "name": context_name(session.name, session.uid),
        "items": [{"key": f"file-{number}", "path": file.path} for number, file in enumerate(files)],
    }


def _build_data(session: SessionView) -> dict[str, Any]:
    """Return where data sources are found: their names are identifiers, and so no paths."""
    sources = session.spec.data_sources or []
    return {
        "name": context_name(session.name, session.uid),
        "items": [
            {"key": data_key(number), "path": f"{source.name}.{source.format.lower()}"}
            for number, source in enumerate(sources)
        ],
    }


def _has_files(session: SessionView) -> bool:
    return bool(session.spec.context and session.spec.context.files)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _leaf(path: str) -> str:
    return path.rpartition("/")[2]
