"""Kinds of Kubernetes objects, and the paths they live at."""

from dataclasses import dataclass
from typing import Final

from agentsessions.engine.errors import Invalid


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server serves it. The core group is the empty string."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Value of `apiVersion` in objects of this kind."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


CONFIG_MAP: Final = Resource("", "v1", "configmaps", "ConfigMap")
CONTROLLER_REVISION: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
EVENT: Final = Resource("events.k8s.io", "v1", "events", "Event")
LEASE: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
NAMESPACE: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NETWORK_POLICY: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
PERSISTENT_VOLUME_CLAIM: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
POD: Final = Resource("", "v1", "pods", "Pod")
SECRET: Final = Resource("", "v1", "secrets", "Secret")
SERVICE: Final = Resource("", "v1", "services", "Service")
SERVICE_ACCOUNT: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")


def collection_path(resource: Resource, namespace: str | None = None) -> str:
    """Return the path to list and to create at. No namespace: all of them, or the kind has none."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    if namespace and not resource.namespaced:
        raise ValueError(f"{resource} has no namespaces, but namespace {namespace!r} was given: leave it out")
    where = f"/namespaces/{_segment(namespace)}" if namespace else ""
    return f"{root}{where}/{resource.plural}"


def resource_path(resource: Resource, namespace: str | None, name: str, *, subresource: str | None = None) -> str:
    """Return the path of one object.

    Raises:
        Invalid: The name cannot be one: names come from outside, and must not reach another path.
    """
    if resource.namespaced and not namespace:
        raise ValueError(f"{resource} {name!r} lives in a namespace, but none was given")
    tail = f"/{subresource}" if subresource else ""
    return f"{collection_path(resource, namespace)}/{_segment(name)}{tail}"


def _segment(name: str) -> str:
    # The API server's own rule (IsValidPathSegmentName), and the characters that would end the path.
    if name in {"", ".", ".."} or not name.isascii() or not name.isprintable() or not set("/%?# ").isdisjoint(name):
        raise Invalid(422, "Invalid", f"{name!r} is no name of an object: it may not hold any of '/%?#' or spaces")
    return name
