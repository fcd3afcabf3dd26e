import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from agentsessions.gateway.certificates import Chain, Pair, renew, service_names
from agentsessions.gateway.tls import _load, _to_chain, _to_secret  # the forms it is kept in

NOW = datetime.now(UTC)
NAMES = service_names("agentsessions-gateway", "agentsessions-system")


@pytest.fixture(scope="module")
def chain() -> Chain:
    return renew(None, NAMES, NOW)


def shake_hands(chain: Chain, name: str) -> None:
    """Connect to a server with the leaf, as a client that trusts the CA and checks all there is to check."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(serving, chain)
    asking = ssl.create_default_context(cadata=chain.ca.certificate.decode())
    asking.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=name)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue


@pytest.mark.parametrize("name", NAMES)
def test_a_strict_client_accepts_the_gateway_under_each_of_its_names(chain: Chain, name: str) -> None:
    shake_hands(chain, name)


def test_a_client_refuses_the_gateway_under_another_name(chain: Chain) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(chain, "example.com")


def test_certificates_that_hold_are_kept(chain: Chain) -> None:
    assert renew(chain, NAMES, NOW + timedelta(days=330)) is chain


def test_a_leaf_that_ends_within_30_days_is_renewed_under_the_same_ca(chain: Chain) -> None:
    renewed = renew(chain, NAMES, NOW + timedelta(days=336))
    assert renewed.ca == chain.ca
    assert renewed.leaf != chain.leaf


def test_a_leaf_never_outlives_its_ca(chain: Chain) -> None:
    late = NOW + timedelta(days=3650 - 380)
    renewed = renew(chain, NAMES, late)
    ca, leaf = (x509.load_pem_x509_certificate(pair.certificate) for pair in (renewed.ca, renewed.leaf))
    assert renewed.ca != chain.ca
    assert leaf.not_valid_after_utc < ca.not_valid_after_utc


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(lambda chain, other: Chain(chain.ca, other.leaf), id="a leaf of another CA"),
        pytest.param(
            lambda chain, other: Chain(chain.ca, Pair(chain.leaf.certificate, other.leaf.key)), id="a foreign key"
        ),
        pytest.param(lambda chain, _: Chain(chain.ca, Pair(b"", b"")), id="an empty leaf"),
    ],
)
def test_a_leaf_that_does_not_fit_is_replaced(chain: Chain, known: object) -> None:
    broken = known(chain, renew(None, NAMES, NOW))  # type: ignore[operator]  # parametrized with functions
    renewed = renew(broken, NAMES, NOW)
    assert renewed.ca == chain.ca
    shake_hands(renewed, "localhost")


def test_a_ca_that_cannot_be_read_is_replaced(chain: Chain) -> None:
    renewed = renew(Chain(Pair(b"no certificate", chain.ca.key), chain.leaf), NAMES, NOW)
    assert renewed.ca != chain.ca
    shake_hands(renewed, "localhost")


def test_other_names_get_a_leaf_of_their_own(chain: Chain) -> None:
    renewed = renew(chain, service_names("agentsessions-gateway", "elsewhere"), NOW)
    shake_hands(renewed, "agentsessions-gateway.elsewhere.svc")
    assert renewed.ca == chain.ca


def test_a_secret_gives_back_what_was_kept_in_it(chain: Chain) -> None:
    assert _to_chain(_to_secret(chain)) == chain


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param({}, id="no data"),
        pytest.param({"data": {"ca.crt": "Y2E="}}, id="only a part"),
        pytest.param({"data": dict.fromkeys(("ca.crt", "ca.key", "tls.crt", "tls.key"), "%")}, id="no base64"),
    ],
)
def test_a_secret_without_a_whole_chain_holds_none(secret: dict[str, object]) -> None:
    assert _to_chain(secret) is None
