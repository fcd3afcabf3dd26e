"""Where agent pods reach the gateway: the addresses of its Service, written into each pod, which has no DNS."""

import asyncio
import re
import time
from typing import Final
from urllib.parse import urlsplit

from agentsessions.engine.client import Client
from agentsessions.engine.errors import NotFound, Unreachable
from agentsessions.engine.resources import SERVICE, resource_path

KNOWN_SECONDS: Final = 10.0
"""How long an answer is used again. A Service keeps its addresses while it lives; one made anew has others."""
_SERVICE: Final = re.compile(r"(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\..+)?")


class GatewayService:
    """Reads the gateway's Service when a pod is made, at most every few seconds."""

    def __init__(self, client: Client, gateway_url: str) -> None:
        self._client = client
        self._service = _SERVICE.fullmatch(urlsplit(gateway_url).hostname or "")
        self._addresses: tuple[str, ...] = ()
        self._read_at = -KNOWN_SECONDS
        self._lock = asyncio.Lock()

    async def addresses(self, *, is_fresh: bool = False) -> tuple[str, ...]:
        """Return the Service's cluster addresses; none where the gateway's URL names no Service of the cluster.

        Args:
            is_fresh: Whether they are read now, and known from then on.

        Raises:
            ApiError: The Service cannot be read, or is not there: a pod that was made now would not find the gateway.
        """
        if self._service is None:
            return ()
        async with self._lock:
            if is_fresh or time.monotonic() - self._read_at >= KNOWN_SECONDS:
                self._addresses = await self._fetch(self._service["namespace"], self._service["name"])
                self._read_at = time.monotonic()
            return self._addresses

    async def _fetch(self, namespace: str, name: str) -> tuple[str, ...]:
        try:
            found = await self._client.get(resource_path(SERVICE, namespace, name))
        except NotFound:
            raise Unreachable(f"Service {namespace}/{name} of the gateway is not there: install the chart") from None
        spec = found.get("spec") or {}
        addresses = tuple(one for one in spec.get("clusterIPs") or (spec.get("clusterIP"),) if one and one != "None")
        if not addresses:
            raise Unreachable(
                f"Service {namespace}/{name} of the gateway has no cluster IP: agents find it by nothing else"
            )
        return addresses
