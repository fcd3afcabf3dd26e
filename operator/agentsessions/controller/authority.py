"""The gateway's CA, as it stands in the install namespace. The gateway makes and renews it; we follow."""

from collections.abc import Callable

from agentsessions.api.names import CA_CONFIG_MAP
from agentsessions.engine.client import Client
from agentsessions.engine.errors import NotFound
from agentsessions.engine.resources import CONFIG_MAP, resource_path


class Authority:
    """Reads the CA, and tells when it is another one."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self.certificate: str | None = None
        """PEM, as last read; None while the gateway has not written one."""
        self.on_change: Callable[[], None] = lambda: None

    async def fetch(self) -> str | None:
        """Read the CA now; None while there is none.

        Raises:
            ApiError: The API server does not answer.
        """
        try:
            found = await self._client.get(resource_path(CONFIG_MAP, self._namespace, CA_CONFIG_MAP))
        except NotFound:
            return self.certificate
        certificate = (found.get("data") or {}).get("ca.crt")
        if certificate is not None and certificate != self.certificate:
            self.certificate = str(certificate)
            self.on_change()
        return self.certificate
