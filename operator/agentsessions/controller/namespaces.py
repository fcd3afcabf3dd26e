"""What each namespace with sessions needs once: made before its first pod, healed by the sweep."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from agentsessions.children.namespace import build_ca, build_network_policy, build_service_account
from agentsessions.controller.authority import Authority
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.patches import merge_diff
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, ApiError, NotFound
from agentsessions.engine.resources import CONFIG_MAP, NETWORK_POLICY, SERVICE_ACCOUNT, Resource, resource_path

OURS: Final = ("data", "spec", "automountServiceAccountToken")
"""Parts of an object that we write and so may have to put right; labels that others add stay."""

log = structlog.get_logger(__name__)


class Namespaces:
    """Keeps service account, CA and network policy in namespaces.

    Args:
        client: The API server.
        authority: The gateway's CA.
        install_namespace: Where the product is.
        metrics: Count what is written.
        used: Tells which namespaces have sessions that are not over.
    """

    def __init__(
        self,
        client: Client,
        authority: Authority,
        install_namespace: str,
        metrics: Metrics,
        used: Callable[[], set[str]],
    ) -> None:
        self._client = client
        self._authority = authority
        self._install_namespace = install_namespace
        self._metrics = metrics
        self._used = used
        self._has_new_ca = asyncio.Event()
        authority.on_change = self._has_new_ca.set
        self._done: set[str] = set()
        self._locks: dict[str, asyncio.Lock] = {}

    async def ensure(self, namespace: str) -> None:
        """Make what is missing in the namespace, unless it was seen to be whole.

        Raises:
            ApiError: An object could not be read or written.
        """
        if namespace in self._done:
            return
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            if namespace not in self._done:
                await self._ensure(namespace)

    def forget(self, namespace: str) -> None:
        """Look again at the next pod: something there was not as it should be."""
        self._done.discard(namespace)

    async def follow_ca(self) -> None:
        """Heal whenever the CA is another one, for ever."""
        while True:
            await self._has_new_ca.wait()
            self._has_new_ca.clear()
            log.info("gateway's CA is new; copying it")
            await self.heal()

    async def heal(self) -> None:
        """Look at each used namespace anew, and make what is missing; problems of one do not hold up the others."""
        namespaces = self._used()
        self._done &= namespaces
        for namespace in sorted(namespaces):
            self.forget(namespace)
            try:
                await self.ensure(namespace)
            except ApiError as error:
                log.warning("namespace not prepared", namespace=namespace, error=str(error))

    async def _ensure(self, namespace: str) -> None:
        await self._ensure_object(SERVICE_ACCOUNT, build_service_account(namespace))
        await self._ensure_object(NETWORK_POLICY, build_network_policy(namespace, self._install_namespace))
        certificate = self._authority.certificate or await self._authority.fetch()
        if certificate is None:
            return  # pods wait for the CA as long as there is no gateway; looked at again when it comes
        if namespace != self._install_namespace:
            await self._ensure_object(CONFIG_MAP, build_ca(namespace, certificate))
        self._done.add(namespace)

    async def _ensure_object(self, resource: Resource, wanted: dict[str, Any]) -> None:
        """Make the object, or put right what is there. Reads first: it is there nearly always."""
        meta = wanted["metadata"]
        namespace, name = meta["namespace"], meta["name"]
        try:
            found = await self._client.get(resource_path(resource, namespace, name))
        except NotFound:
            try:
                await self._client.create(resource, namespace, wanted)
            except AlreadyExists:
                return  # by somebody else just now; the sweep looks at it
            self._metrics.writes.labels("namespace_child").inc()
            return
        patch = merge_diff(_ours(found), _ours(wanted))
        if patch:
            await self._client.merge_patch(resource, namespace, name, patch)
            self._metrics.writes.labels("namespace_child").inc()
            log.info("namespace child put right", namespace=namespace, name=name, kind=resource.kind)


def _ours(obj: dict[str, Any]) -> dict[str, Any]:
    return {key: obj[key] for key in OURS if key in obj}
