"""Requests in other people's names: one pool of connections, and a client for each who asks.

No connection here carries an identity of our own, neither a certificate nor a token.
"""

import aiohttp

from agentsessions.engine.client import SILENCE_SECONDS, Client
from agentsessions.engine.connections import Connections
from agentsessions.engine.credentials import ClusterAccess, without_identity

MAX_CONNECTIONS = 32


class Callers:
    """Makes clients that speak for the bearers of tokens. `close` it at the end."""

    def __init__(self, access: ClusterAccess, *, field_manager: str) -> None:
        """Open nothing yet.

        Args:
            access: Which API server; as whom is left out.
            field_manager: Our name in `managedFields`, and the user agent.
        """
        self._access = without_identity(access)
        self._field_manager = field_manager
        self._connections = Connections(
            self._access,
            user_agent=field_manager,
            max_connections=MAX_CONNECTIONS,
            silence_seconds=SILENCE_SECONDS,
        )

    def client(self, token: str) -> Client:
        """Return a client that has the rights of a token's bearer; cheap, and not to be closed."""
        return Client(self._access, field_manager=self._field_manager, connections=_Bearing(self._connections, token))

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()


class _Bearing(Connections):
    """Shared connections, with one caller's token."""

    def __init__(self, shared: Connections, token: str) -> None:
        self._shared = shared
        self._token = token

    @property
    def requests(self) -> aiohttp.ClientSession:
        """Those of all callers."""
        return self._shared.requests

    @property
    def watches(self) -> aiohttp.ClientSession:
        """Those of all callers."""
        return self._shared.watches

    def authorization(self) -> dict[str, str]:
        """Return the header with the caller's token."""
        return {"Authorization": f"Bearer {self._token}"}

    async def close(self) -> None:
        """Close nothing: others use it."""
