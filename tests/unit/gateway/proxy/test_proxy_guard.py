"""Which addresses are dialled."""

from ipaddress import ip_address, ip_network

import pytest

from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.guard import GuardedBackend, is_allowed


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse
        ("10.96.0.1", False),
        ("172.16.9.9", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:a00:1::", False),
    ],
)
def test_only_public_addresses_are_allowed_by_default(address: str, is_public: bool) -> None:
    assert is_allowed(ip_address(address), ()) is is_public


def test_an_allowed_network_opens_its_own_addresses_alone() -> None:
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00:1::/32"))

    assert is_allowed(ip_address("10.1.2.3"), networks)
    assert is_allowed(ip_address("::ffff:10.1.2.3"), networks)
    assert is_allowed(ip_address("fd00:1::9"), networks)
    assert not is_allowed(ip_address("10.2.0.1"), networks)
    assert not is_allowed(ip_address("127.0.0.1"), networks)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::1"])
async def test_backend_refuses_loopback_however_it_is_written(host: str) -> None:
    with pytest.raises(ModelFault) as caught:
        await GuardedBackend(()).connect_tcp(host, 9)

    assert "allow its network" in caught.value.message
    assert not caught.value.is_retried


async def test_backend_says_that_a_name_does_not_resolve() -> None:
    with pytest.raises(ModelFault) as caught:
        await GuardedBackend(()).connect_tcp("no-such-name.invalid", 443)

    assert caught.value.is_retried
    assert "does not resolve" in caught.value.message
