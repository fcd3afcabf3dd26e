"""Pools of connections: one, bounded, for requests; watches have each their own, so that none can starve the other."""

from typing import Final

import aiohttp

from agentsessions.engine.credentials import ClusterAccess

REQUEST_SECONDS: Final = 30.0
"""For one try, the wait for a free connection included."""
CONNECT_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 45.0
"""Below the 90 s after which the API server closes idle connections: a PATCH must not meet a closing one."""


class Connections:
    """The connections of one client, opened when they are first needed."""

    def __init__(self, access: ClusterAccess, *, user_agent: str, max_connections: int, silence_seconds: float) -> None:
        self._access = access
        self._max_connections = max_connections
        self._silence_seconds = silence_seconds
        # Compressing a page costs the API server more than sending it does.
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": user_agent}
        # Not made here: a session belongs to the loop that runs when it is made.
        self._requests: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None

    @property
    def requests(self) -> aiohttp.ClientSession:
        """Bounded in number and time."""
        if self._requests is None:
            timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
            connector = aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=KEEP_ALIVE_SECONDS)
            self._requests = self._session(connector, timeout)
        return self._requests

    @property
    def watches(self) -> aiohttp.ClientSession:
        """Unbounded, as long as something comes."""
        if self._watches is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=self._silence_seconds)
            self._watches = self._session(aiohttp.TCPConnector(limit=0, force_close=True), timeout)
        return self._watches

    def authorization(self) -> dict[str, str]:
        """Return the header that says who asks, with the token as it is now; none when a certificate says it."""
        token = self._access.token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def close(self) -> None:
        """Close all; running watches break."""
        sessions, self._requests, self._watches = (self._requests, self._watches), None, None
        for session in sessions:
            if session is not None:
                await session.close()

    def _session(self, connector: aiohttp.TCPConnector, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar()
        )
