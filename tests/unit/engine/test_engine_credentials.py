"""Ways to a cluster: what is taken, from where, and what is refused with which words."""

import base64
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentsessions.engine import credentials
from agentsessions.engine.credentials import CredentialsError, FileToken, load_access

Write = Callable[..., str]


def make_pair() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return certificate.public_bytes(pem), key.private_bytes(pem, pkcs8, serialization.NoEncryption())


PAIR = make_pair()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_kubeconfig(user: dict[str, Any] | None = None, **cluster: Any) -> str:
        config = {
            "current-context": "main",
            "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://cluster:6443/", **cluster}}],
            "users": [{"name": "u", "user": user or {}}],
        }
        path = tmp_path / "config"
        path.write_text(json.dumps(config))
        return str(path)

    return write_kubeconfig


def test_load_takes_inline_certificates_and_leaves_no_file(write: Write, tmp_path: Path, monkeypatch: Any) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    user = {"client-certificate-data": encoded(PAIR[0]), "client-key-data": encoded(PAIR[1])}
    access = load_access(write(user, **{"certificate-authority-data": encoded(PAIR[0])}))
    assert (access.server, access.default_namespace) == ("https://cluster:6443", "team")
    assert isinstance(access.ssl, ssl.SSLContext)
    assert len(access.ssl.get_ca_certs()) == 1
    assert (access.certificate.data, access.private_key.data, access.ca.data) == (*PAIR, PAIR[0])
    assert access.token() is None
    assert list(temporary.iterdir()) == []
    assert "PRIVATE" not in repr(access)


def test_load_takes_certificate_files_relative_to_the_kubeconfig(write: Write, tmp_path: Path) -> None:
    tmp_path.joinpath("tls.crt").write_bytes(PAIR[0])
    tmp_path.joinpath("tls.key").write_bytes(PAIR[1])
    user = {"client-certificate": "tls.crt", "client-key": "tls.key"}
    access = load_access(write(user, **{"certificate-authority": "tls.crt"}))
    assert access.certificate.path == str(tmp_path / "tls.crt")


def test_load_takes_the_variable_when_no_file_is_given(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", write({"token": "t0ken"}))
    access = load_access()
    assert access.token() == "t0ken"
    assert "t0ken" not in repr(access)


def test_load_takes_the_service_account_of_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {"token": "pod-token\n", "ca.crt": PAIR[0].decode(), "namespace": "mine\n"}.items():
        tmp_path.joinpath(name).write_text(content)
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT_DIR", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    access = load_access()
    assert (access.server, access.default_namespace) == ("https://[fd00::1]:6443", "mine")
    assert access.token() == "pod-token"


def test_load_checks_no_server_certificate_when_told_so(write: Write) -> None:
    access = load_access(write({}, **{"insecure-skip-tls-verify": True, "tls-server-name": "other"}))
    assert isinstance(access.ssl, ssl.SSLContext)
    assert (access.ssl.verify_mode, access.insecure, access.server_hostname) == (ssl.CERT_NONE, True, "other")


def test_load_checks_the_server_certificate_by_default(write: Write) -> None:
    access = load_access(write())
    assert isinstance(access.ssl, ssl.SSLContext)
    assert (access.ssl.verify_mode, access.ssl.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("user", "cluster", "words"),
    [
        pytest.param({"exec": {"command": "x"}}, {}, "'exec'", id="an exec plug-in"),
        pytest.param({"username": "a"}, {}, "'username'", id="a password"),
        pytest.param({}, {"proxy-url": "http://p"}, "'proxy-url'", id="a proxy"),
        pytest.param({}, {"server": "cluster"}, "URL is needed", id="a server without scheme"),
        pytest.param({"client-key-data": "%%"}, {}, "not base64", id="content that is not base64"),
        pytest.param({"client-certificate-data": "AAAA"}, {}, "cannot be used", id="content that is no certificate"),
        pytest.param({"tokenFile": "absent"}, {}, "bearer token cannot be read", id="a token file that is not there"),
        pytest.param({}, {"certificate-authority": "absent"}, "cannot be used", id="a CA file that is not there"),
    ],
)
def test_load_refuses_and_says_why(write: Write, user: dict[str, Any], cluster: dict[str, Any], words: str) -> None:
    with pytest.raises(CredentialsError, match=words):
        load_access(write(user, **cluster))


def test_load_refuses_an_encrypted_key_instead_of_asking_for_its_password(write: Write) -> None:
    key = serialization.load_pem_private_key(PAIR[1], None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    user = {"client-certificate-data": encoded(PAIR[0]), "client-key-data": encoded(locked)}
    with pytest.raises(CredentialsError, match="cannot be used"):
        load_access(write(user))


def test_load_names_the_contexts_that_there_are(write: Write) -> None:
    with pytest.raises(CredentialsError, match="no context 'other'; it has: main"):
        load_access(write(), context="other")


def test_load_without_any_cluster_says_where_it_looked() -> None:
    with pytest.raises(CredentialsError, match="Set KUBECONFIG, or run in a pod"):
        load_access()


def test_load_never_quotes_a_file_that_it_cannot_parse(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("users: [{token: s3cret")
    with pytest.raises(CredentialsError) as caught:
        load_access(str(path))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_token_is_read_again_after_a_minute_and_not_before(tmp_path: Path) -> None:
    path, now = tmp_path / "token", [100.0]
    path.write_text("one\n")
    token = FileToken(path, clock=lambda: now[0])
    assert token() == "one"
    path.write_text("two\n")
    now[0] += 59
    assert token() == "one"
    now[0] += 1
    assert token() == "two"


@pytest.mark.parametrize("content", [pytest.param("", id="empty"), pytest.param(None, id="gone")])
def test_token_stays_while_its_file_is_being_replaced(tmp_path: Path, content: str | None) -> None:
    path, now = tmp_path / "token", [100.0]
    path.write_text("one")
    token = FileToken(path, clock=lambda: now[0])
    token()
    path.unlink()
    if content is not None:
        path.write_text(content)
    now[0] += 61
    assert token() == "one"
