"""What a verb works with: the cluster that the user means, its gateway, and the session that they name."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import httpx2

from agentsessions.api.names import CA_CONFIG_MAP
from agentsessions.cli.failures import Failure
from agentsessions.cli.forward import Forward, ForwardTransport
from agentsessions.cli.identity import token_source
from agentsessions.cli.kube import CONFIG_MAPS, SESSIONS, Kube, KubeError
from agentsessions.cli.kubeconfig import load_access
from agentsessions.client.sync import Client

LATEST: Final = "@latest"
PREFIX: Final = "agentsession/"
"""In front of names that `-o name` prints."""
SYSTEM_NAMESPACE: Final = "agentsessions-system"
RETRY_SECONDS: Final = 20.0
FORWARDED: Final = "https://localhost"
"""The gateway at the end of a port-forward; its port is found for each request."""


@dataclass(slots=True)
class Given:
    """What the options that all verbs share say."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    gateway: str | None = None
    gateway_ca: str | None = None
    as_account: str | None = None
    system_namespace: str | None = None

    def for_kubectl(self) -> list[str]:
        """Return the options by which kubectl means the same cluster."""
        found = []
        if self.kubeconfig:
            found += ["--kubeconfig", self.kubeconfig]
        if self.context:
            found += ["--context", self.context]
        return found


class Connection:
    """A cluster, seen as one user. Nothing is asked before it is needed."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self._forward: Forward | None = None

    @cached_property
    def kube(self) -> Kube:
        """The API server."""
        return Kube(load_access(self.given.kubeconfig, self.given.context))

    @property
    def namespace(self) -> str:
        """Namespace of the sessions in question."""
        return self.given.namespace or self.kube.access.namespace

    @property
    def system_namespace(self) -> str:
        """Namespace of the product."""
        return self.given.system_namespace or SYSTEM_NAMESPACE

    @cached_property
    def gateway(self) -> Client:
        """The gateway."""
        url, trust = self.given.gateway, self._trust()
        if url:
            return Client(url, self.token, namespace=self.namespace, ca=trust, retry_seconds=RETRY_SECONDS)
        return Client(
            FORWARDED,
            self.token,
            namespace=self.namespace,
            retry_seconds=RETRY_SECONDS,
            transport=self._forwarding(trust),
        )

    @cached_property
    def token(self) -> Callable[[], str]:
        """What returns the bearer token for the gateway."""
        return token_source(self.kube, self.namespace, self.given.as_account)

    def http(self) -> httpx2.Client:
        """Return a client for what is no call of the API; it sends no token."""
        url, trust = self.given.gateway, self._trust()
        if url:
            return httpx2.Client(base_url=url, verify=trust)
        return httpx2.Client(base_url=FORWARDED, transport=self._forwarding(trust), trust_env=False)

    def name_of(self, session: str) -> str:
        """Return the name that the user means: `@latest` is the newest session of the namespace.

        Raises:
            Failure: There is none.
        """
        if session != LATEST:
            return session.removeprefix(PREFIX)
        found = self.kube.list_metadata(SESSIONS, self.namespace)
        if not found:
            raise Failure(
                f"namespace {self.namespace!r} has no session: choose another with -n, or create one with "
                "`kubectl agentsession create`"
            )
        newest: str = max(found, key=newness)["name"]
        return newest

    def session(self, session: str) -> dict[str, Any]:
        """Return a session's resource.

        Raises:
            Failure: There is none.
        """
        name = self.name_of(session)
        found = self.kube.find(SESSIONS, self.namespace, name)
        if found is None:
            raise no_session(name, self.namespace)
        return found

    def close(self) -> None:
        """Leave nothing behind."""
        for part in ("gateway", "kube"):
            if part in self.__dict__:  # else closing would open it
                getattr(self, part).close()
        if self._forward is not None:
            self._forward.stop()

    def _forwarding(self, trust: ssl.SSLContext) -> ForwardTransport:
        self._forward = self._forward or Forward(self.system_namespace, self.given.for_kubectl())
        return ForwardTransport(self._forward, trust)

    def _trust(self) -> ssl.SSLContext:
        if self.given.gateway_ca:
            return ssl.create_default_context(cafile=self.given.gateway_ca)
        authority = self._published_ca()
        # An address that the user gives may be an ingress with a certificate that the machine trusts.
        trust = ssl.create_default_context() if self.given.gateway else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if authority:
            trust.load_verify_locations(cadata=authority)
        return trust

    def _published_ca(self) -> str | None:
        for namespace in (self.system_namespace, self.namespace):
            try:
                found = self.kube.find(CONFIG_MAPS, namespace, CA_CONFIG_MAP)
            except KubeError:  # not allowed: the operator keeps a copy where there are sessions
                continue
            if found is not None:
                authority: str | None = found.get("data", {}).get("ca.crt")
                return authority
        if self.given.gateway:
            return None
        raise Failure(
            f"the gateway's CA (ConfigMap {CA_CONFIG_MAP}) is neither in namespace {self.system_namespace!r} nor in "
            f"{self.namespace!r}, or you may not read it: install the product, name its namespace with "
            "--system-namespace, or give --gateway-ca"
        )


def no_session(name: str, namespace: str) -> Failure:
    """Return what to say of a session that is not there."""
    return Failure(
        f"there is no session {name!r} in namespace {namespace!r}: see `kubectl agentsession list -n {namespace}`"
    )


def newness(metadata: dict[str, Any]) -> tuple[str, int]:
    """Return a key by which younger objects are greater; versions order those of one second."""
    version = str(metadata.get("resourceVersion", "0"))
    return metadata["creationTimestamp"], int(version) if version.isdigit() else 0
