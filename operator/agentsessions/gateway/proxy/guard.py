"""Which addresses a provider's URL may lead to, checked at the moment of dialling.

The name is resolved here and the connection goes to an address that was checked: a name that resolves to something
else a moment later (DNS rebinding) gains nothing. TLS still verifies the name.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import httpcore2

from agentsessions.api.reasons import ErrorCode
from agentsessions.gateway.proxy.faults import ModelFault

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PROVIDERS_URL: Final = "The ModelProvider's url"
NAT64: Final = ip_network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in the last 32 bits."""


def unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def is_public(address: Address) -> bool:
    """Whether an address is on the internet: not loopback, link-local, private, shared, multicast or reserved."""
    real = unwrap(address)
    return real.is_global and not real.is_multicast and not real.is_reserved


def is_allowed(address: Address, networks: Iterable[Network]) -> bool:
    """Whether the proxy may dial `address`: it is public, or the administrator allowed its network."""
    real = unwrap(address)
    return is_public(address) or any(real.version == network.version and real in network for network in networks)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections to allowed addresses only."""

    def __init__(
        self, networks: Sequence[Network], *, own: frozenset[tuple[str, int]] = frozenset(), what: str = PROVIDERS_URL
    ) -> None:
        """Allow public addresses and `networks`, and `own`: addresses with port that this process listens on.

        `what` names, in messages, what led to an address.
        """
        self._what = what
        self._networks = tuple(networks)
        self._own = own
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first checked address of `host` that answers.

        Raises:
            ModelFault: The name does not resolve, or leads to an address that is not allowed.
        """
        failure: Exception | None = None
        for address in await self._checked(host, port):
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        """Wait, for the pool's own retries."""
        await self._inner.sleep(seconds)

    async def _checked(self, host: str, port: int) -> list[Address]:
        if (host, port) in self._own:
            return [ip_address(host)]
        addresses = await resolve(host, port, self._what)
        for address in addresses:
            # One bad address among good ones is refused as well: which one is dialled must not be a matter of luck.
            if not is_allowed(address, self._networks):
                raise ModelFault(
                    ErrorCode.MODEL_ERROR,
                    f"{self._what} leads to {host} ({address}), a loopback, link-local, private or cluster "
                    "address. Use a public one, or ask the administrator to allow its network in the chart's values.",
                )
        return addresses


async def resolve(host: str, port: int, what: str) -> list[Address]:
    """Return the addresses of `host`, best first.

    Raises:
        ModelFault: The name does not resolve.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        message = f"{what} names host {host}, which does not resolve: {error}."
        raise ModelFault(ErrorCode.NETWORK, message, is_retried=True) from error
    # A scope (%eth0) belongs to link-local addresses, which are refused in any case.
    return [ip_address(str(info[4][0]).partition("%")[0]) for info in found]
