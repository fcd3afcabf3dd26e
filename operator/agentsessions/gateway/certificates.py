"""Makes and judges the gateway's certificates. Pure but for the randomness of keys; `now` is an argument.

One CA signs one leaf. Both are ECDSA P-256: small, fast, and known to every client. The CA can sign nothing below
another CA, and the leaf is for servers alone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME: Final = timedelta(days=3650)
LEAF_LIFETIME: Final = timedelta(days=365)
RENEW_BEFORE: Final = timedelta(days=30)
CLOCK_SKEW: Final = timedelta(minutes=5)
"""Certificates hold from a little before they are made: a node's clock may be behind ours."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """The CA and the leaf that it signed."""

    ca: Pair
    leaf: Pair


def service_names(service: str, namespace: str) -> tuple[str, ...]:
    """Return the names and addresses under which clients reach the service."""
    return (
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
        "localhost",
        "127.0.0.1",
    )


def renew(known: Chain | None, names: tuple[str, ...], now: datetime) -> Chain:
    """Return a chain that holds: the known one, a new leaf of the known CA, or all new.

    Keeping the CA is what lets pods that run now trust the next leaf.
    """
    if known is not None and _is_ca_good(known.ca, now):
        if _is_leaf_good(known, names, now):
            return known
        return Chain(known.ca, _make_leaf(known.ca, names, now))
    ca = _make_ca(now)
    return Chain(ca, _make_leaf(ca, names, now))


def _is_ca_good(ca: Pair, now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(ca.certificate)
        is_pair = certificate.public_key() == _load_key(ca.key).public_key()
    except (ValueError, TypeError):
        return False
    # A leaf must not outlive its CA, so a CA that ends before the next leaf would is replaced with it.
    return is_pair and certificate.not_valid_after_utc - now > LEAF_LIFETIME + RENEW_BEFORE


def _is_leaf_good(chain: Chain, names: tuple[str, ...], now: datetime) -> bool:
    try:
        leaf = x509.load_pem_x509_certificate(chain.leaf.certificate)
        is_pair = leaf.public_key() == _load_key(chain.leaf.key).public_key()
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(chain.ca.certificate))
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return is_pair and alternatives == _alternatives(names) and leaf.not_valid_after_utc - now > RENEW_BEFORE


def _make_ca(now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial in the name keeps a CA and its successor apart where clients hold both.
    serial = x509.random_serial_number()
    name = _name(f"agentsessions-gateway-ca {serial:x}"[:64])
    certificate = (
        _builder(key, now, CA_LIFETIME)
        .serial_number(serial)
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _to_pair(certificate, key)


def _make_leaf(ca: Pair, names: tuple[str, ...], now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(key, now, LEAF_LIFETIME)
        .serial_number(x509.random_serial_number())
        .subject_name(_name(names[0]))
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_alternatives(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
        .sign(_load_key(ca.key), hashes.SHA256())
    )
    return _to_pair(certificate, key)


def _builder(key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .public_key(public)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"a {type(key).__name__} is not an elliptic-curve key")
    return key


def _to_pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(encoding), private)
