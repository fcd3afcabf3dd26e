"""How a client reaches the gateway, and as whom."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from agentsessions.client.calls import Call

Token = str | Callable[[], str]
SILENCE_SECONDS: Final = 40.0
"""Longest silence of an open stream: the gateway sends a ping each 15 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What both clients are made of."""

    url: str
    token: Token = field(repr=False)
    namespace: str
    ca: str | Path | ssl.SSLContext | None
    timeout: float
    retry_seconds: float
    silence_seconds: float = SILENCE_SECONDS

    def bearer(self) -> str:
        """Return the token as it is now."""
        return self.token if isinstance(self.token, str) else self.token()

    def trust(self) -> ssl.SSLContext | bool:
        """Return whom to trust: a CA file, its content, or what the machine trusts."""
        if isinstance(self.ca, ssl.SSLContext):
            return self.ca
        if self.ca is None:
            return True
        if isinstance(self.ca, str) and "-----BEGIN" in self.ca:
            return ssl.create_default_context(cadata=self.ca)
        return ssl.create_default_context(cafile=str(self.ca))

    def request(self, call: Call[Any], token: str) -> dict[str, Any]:
        """Return the arguments of a request for a call."""
        headers: Mapping[str, str] = {"Authorization": f"Bearer {token}", **call.headers}
        sent: dict[str, Any] = {"method": call.method, "url": call.path, "params": call.params(), "headers": headers}
        if call.content is not None:
            sent["content"] = call.content
        elif call.body is not None:
            sent["json"] = call.body
        return sent

    def stream_timeout(self, left: float | None) -> httpx2.Timeout:
        """Return the time-outs of a stream that may go on for so many more seconds."""
        silence = self.silence_seconds if left is None else max(0.05, min(self.silence_seconds, left))
        return httpx2.Timeout(min(self.timeout, silence), read=silence)


def may_send_again(call: Call[Any], error: httpx2.TransportError) -> bool:
    """Return whether a request that failed on its way may be sent again: it did not arrive, or twice is as once."""
    return call.is_repeatable or isinstance(error, httpx2.ConnectError)


def unreachable(url: str, error: Exception) -> str:
    """Return a sentence about a gateway that does not answer."""
    what = str(error) or type(error).__name__
    return f"the gateway at {url} does not answer ({what}): check that it runs and that the URL and its CA are right"
