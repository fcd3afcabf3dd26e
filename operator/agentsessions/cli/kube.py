"""The API server, spoken to in plain REST with the user's own credentials."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from agentsessions.api.names import API_VERSION, GROUP, VERSION
from agentsessions.cli.failures import Failure
from agentsessions.cli.kubeconfig import Access

Json = dict[str, Any]
MERGE_PATCH: Final = "application/merge-patch+json"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
WRITE: Final = {"fieldManager": "kubectl-agentsession", "fieldValidation": "Strict"}
"""Of each change: a field that is spelled wrong is refused, not dropped."""
PAGE: Final = 500
WATCH_SECONDS: Final = 240
REQUEST_SECONDS: Final = 30.0
AWAY_SECONDS: Final = 60.0
"""How long an API server that was there may be away while something is watched."""
AGAIN_SECONDS: Final = 1.0
NOT_FOUND: Final = 404
GONE: Final = 410
_UNKNOWN_FIELD: Final = re.compile(r'unknown field "(spec[.\w]*)\.\w+"')


class KubeError(Failure):
    """The API server refused."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class KubeAway(Failure):
    """The API server does not answer."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects."""

    root: str
    plural: str
    kind: str

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """Return the path of an object, of a namespace's objects, or of all."""
        where = f"/namespaces/{namespace}" if namespace else ""
        return f"{self.root}{where}/{self.plural}{f'/{name}' if name else ''}"


_OWN: Final = f"/apis/{GROUP}/{VERSION}"
SESSIONS: Final = Kind(_OWN, "agentsessions", "AgentSession")
PROVIDERS: Final = Kind(_OWN, "modelproviders", "ModelProvider")
POLICIES: Final = Kind(_OWN, "agentpolicies", "AgentPolicy")
APPROVALS: Final = Kind(_OWN, "sessionapprovals", "SessionApproval")
QUOTAS: Final = Kind(_OWN, "sessionquotas", "SessionQuota")
CONFIG_MAPS: Final = Kind("/api/v1", "configmaps", "ConfigMap")
ACCOUNTS: Final = Kind("/api/v1", "serviceaccounts", "ServiceAccount")
NAMESPACES: Final = Kind("/api/v1", "namespaces", "Namespace")
DEPLOYMENTS: Final = Kind("/apis/apps/v1", "deployments", "Deployment")


class Kube:
    """One API server."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._http = httpx2.Client(
            base_url=access.server, verify=access.trust, timeout=REQUEST_SECONDS, proxy=access.proxy, trust_env=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- objects
    def get(self, kind: Kind, namespace: str | None, name: str) -> Json:
        """Return an object."""
        return self.request("GET", kind.path(namespace, name))

    def find(self, kind: Kind, namespace: str | None, name: str) -> Json | None:
        """Return an object, or None when there is none."""
        try:
            return self.get(kind, namespace, name)
        except KubeError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def list_objects(self, kind: Kind, namespace: str | None, **params: Any) -> tuple[list[Json], str]:
        """Return all objects, read in pages, and the version of the list."""
        return self._list(kind, namespace, "application/json", params)

    def list_metadata(self, kind: Kind, namespace: str | None) -> list[Json]:
        """Return the metadata of all objects: light where objects are heavy."""
        return [item["metadata"] for item in self._list(kind, namespace, METADATA_LIST, {})[0]]

    def create(self, kind: Kind, namespace: str | None, body: Json) -> Json:
        """Create an object."""
        return self.request("POST", kind.path(namespace), body=body, params=WRITE)

    def patch(self, kind: Kind, namespace: str | None, name: str, body: Json) -> Json:
        """Change an object by a merge patch."""
        return self.request("PATCH", kind.path(namespace, name), body=body, params=WRITE, media=MERGE_PATCH)

    def lacks_namespace(self, namespace: str) -> bool:
        """Return whether there is no such namespace, as far as the user may know."""
        try:
            return self.find(NAMESPACES, None, namespace) is None
        except KubeError:
            return False

    # --- watching
    def watch(self, kind: Kind, namespace: str | None, version: str, **params: Any) -> Iterator[tuple[str, Json]]:
        """Yield changes after a version as (type, object) until the connection ends.

        Raises:
            KubeError: 410 when the version is too old.
        """
        asked = {"watch": "true", "resourceVersion": version, "timeoutSeconds": WATCH_SECONDS, **params}
        timeout = httpx2.Timeout(REQUEST_SECONDS, read=WATCH_SECONDS + REQUEST_SECONDS)
        with self._http.stream(
            "GET", kind.path(namespace), params=asked, headers=self._headers(), timeout=timeout
        ) as answer:
            if not answer.is_success:
                answer.read()
                raise _to_error(answer)
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise KubeError(status.get("code", GONE), status.get("reason", ""), status.get("message", ""))
                yield event["type"], event["object"]

    def follow(self, kind: Kind, namespace: str, name: str) -> Iterator[Json | None]:
        """Yield an object as it is, then each time it changes; None, and the end, once it is gone.

        An API server that goes away is waited for.
        """
        away_since: float | None = None
        is_known = False
        while True:
            try:
                found = self.find(kind, namespace, name)
                is_known, away_since = True, None
                yield found
                if found is None:
                    return
                uid, version = found["metadata"]["uid"], found["metadata"]["resourceVersion"]
                for type_, changed in self.watch(kind, namespace, version, fieldSelector=f"metadata.name={name}"):
                    if type_ == "DELETED" or changed["metadata"]["uid"] != uid:
                        yield None
                        return
                    yield changed
            except (httpx2.TransportError, KubeAway) as error:
                away_since = away_since or time.monotonic()
                if not is_known or time.monotonic() - away_since > AWAY_SECONDS:
                    raise error if isinstance(error, KubeAway) else self._away(error) from error
                time.sleep(AGAIN_SECONDS)
            except KubeError as error:
                if error.status != GONE:
                    raise

    # --- requests
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Json | None = None,
        body: Json | None = None,
        media: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        """Return what the API server answers.

        Raises:
            KubeError: It refused.
            KubeAway: It cannot be reached.
        """
        headers = {**self._headers(), "Accept": accept, **({"Content-Type": media} if body is not None else {})}
        content = None if body is None else json.dumps(body).encode()
        try:
            answer = self._http.request(method, path, params=params, content=content, headers=headers)
        except httpx2.TransportError as error:
            raise self._away(error) from error
        if not answer.is_success:
            raise _to_error(answer)
        found: Json = answer.json()
        return found

    def _list(self, kind: Kind, namespace: str | None, accept: str, params: Json) -> tuple[list[Json], str]:
        items: list[Json] = []
        position = ""
        while True:
            asked = {**params, "limit": PAGE, **({"continue": position} if position else {})}
            page = self.request("GET", kind.path(namespace), params=asked, accept=accept)
            items += page["items"] or ()  # null where a list of metadata is empty
            position = page["metadata"].get("continue", "")
            if not position:
                return items, page["metadata"]["resourceVersion"]

    def _headers(self) -> dict[str, str]:
        token = self.access.token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _away(self, error: Exception) -> KubeAway:
        return KubeAway(
            f"the API server at {self.access.server} does not answer ({error}): check `kubectl cluster-info`, "
            "or choose another cluster with --context"
        )


def new_object(kind: Kind, name: str | None, spec: Json, namespace: str | None = None) -> Json:
    """Return the body of a new object of ours."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": API_VERSION, "kind": kind.kind, "metadata": metadata, "spec": spec}


def _to_error(answer: httpx2.Response) -> KubeError:
    try:
        status = answer.json()
    except ValueError:
        status = {}
    reason = str(status.get("reason", "")) if isinstance(status, dict) else ""
    message = str(status.get("message", "")) if isinstance(status, dict) else ""
    if answer.status_code == NOT_FOUND and not reason:
        message = (
            "this cluster does not know agentsessions: install the product (README, Install on your cluster), "
            "or choose another cluster with --context"
        )
    if field := _UNKNOWN_FIELD.search(message):
        message += f": see `kubectl explain agentsession.{field[1]}`"
    if answer.status_code == httpx2.codes.UNAUTHORIZED:
        message = "the API server does not know you (401): log in again, or choose another user with --context"
    return KubeError(answer.status_code, reason, message or f"the API server answered {answer.status_code}")
