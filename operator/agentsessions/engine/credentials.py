"""How to reach the API server, and as whom: a kubeconfig file, or the service account of the pod.

Not supported, and refused with a message instead of a puzzling 401: exec plug-ins, auth providers, passwords, proxies.
"""

import base64
import binascii
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import yaml

SERVICE_ACCOUNT_DIR: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS: Final = 60.0
"""How long a token read from a file is used. The kubelet renews it at 80 % of its life, minutes before its end."""

_UNSUPPORTED_USER: Final = ("exec", "auth-provider", "username", "password", "as")
_UNSUPPORTED_CLUSTER: Final = ("proxy-url",)


class CredentialsError(Exception):
    """No way to the API server could be made of what was found."""


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """A certificate or key: a file that may be renewed, or the content itself. At most one is set."""

    path: str | None = None
    data: bytes | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return self.path is not None or self.data is not None


@dataclass(frozen=True)
class ClusterAccess:
    """A way to one API server."""

    server: str
    """URL without a slash at the end."""
    ssl: ssl.SSLContext | bool
    """False for plain http only."""
    token: Callable[[], str | None] = field(repr=False)
    """Returns the bearer token as it is now; None when a certificate says who we are."""
    default_namespace: str = "default"
    ca: KeyMaterial = KeyMaterial()
    certificate: KeyMaterial = KeyMaterial()
    private_key: KeyMaterial = KeyMaterial()
    insecure: bool = False
    """The server's certificate is not checked (`insecure-skip-tls-verify`)."""
    server_hostname: str | None = None
    """Name to expect in the server's certificate (`tls-server-name`)."""


class FileToken:
    """A bearer token in a file that somebody else renews: read again once it is a minute old."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._token: str | None = None
        self._read_at = 0.0

    def __call__(self) -> str | None:
        """Return the token; the last good one while the file is unreadable or empty, as in the middle of a renewal."""
        now = self._clock()
        if self._token is None or now - self._read_at >= TOKEN_SECONDS:
            self._token = self._read() or self._token
            self._read_at = now
        return self._token

    def _read(self) -> str | None:
        try:
            return self._path.read_text(encoding="ascii").strip() or None
        except OSError as error:
            if self._token is None:
                raise CredentialsError(f"the bearer token cannot be read: {error}") from error
            return None


def load_access(kubeconfig: str | None = None, context: str | None = None) -> ClusterAccess:
    """Find the way to the cluster.

    In this order: the given file, $KUBECONFIG, the service account of the pod, ~/.kube/config.

    Args:
        kubeconfig: Path of a kubeconfig file.
        context: Name of a context in that file; its current one when None.

    Raises:
        CredentialsError: There is none, or it needs something that is not supported.
    """
    explicit = kubeconfig or os.environ.get("KUBECONFIG")
    if explicit:
        return _from_kubeconfig(_first_file(explicit), context)
    if os.environ.get("KUBERNETES_SERVICE_HOST") and SERVICE_ACCOUNT_DIR.joinpath("token").exists():
        return _from_service_account()
    home = Path("~/.kube/config").expanduser()
    if home.exists():
        return _from_kubeconfig(home, context)
    raise CredentialsError(
        "no cluster found: there is no kubeconfig argument, no $KUBECONFIG, no service account mounted at "
        f"{SERVICE_ACCOUNT_DIR} and no {home}. Set KUBECONFIG, or run in a pod"
    )


def without_identity(access: ClusterAccess) -> ClusterAccess:
    """Return the way to the same API server as nobody: a client certificate would beat a caller's token."""
    nobody = KeyMaterial()
    context = access.ssl and _ssl_context(access.ca, nobody, nobody, insecure=access.insecure)
    return replace(access, ssl=context, token=lambda: None, certificate=nobody, private_key=nobody)


def _first_file(paths: str) -> Path:
    names = [name for name in paths.split(os.pathsep) if name]
    if len(names) > 1:
        raise CredentialsError(f"KUBECONFIG names {len(names)} files; merging is not supported: give one")
    return Path(names[0]).expanduser()


def _from_service_account() -> ClusterAccess:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    ca = KeyMaterial(path=str(SERVICE_ACCOUNT_DIR / "ca.crt"))
    token = FileToken(SERVICE_ACCOUNT_DIR / "token")
    token()  # an unreadable file is told of now, not at the first request
    return ClusterAccess(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ssl=_ssl_context(ca, KeyMaterial(), KeyMaterial(), insecure=False),
        token=token,
        default_namespace=_read_text(SERVICE_ACCOUNT_DIR / "namespace").strip() or "default",
        ca=ca,
    )


def _from_kubeconfig(path: Path, context_name: str | None) -> ClusterAccess:
    config = _load_yaml(path)
    name = context_name or config.get("current-context")
    if not name:
        raise CredentialsError(f"{path} has no current-context: set one, or name a context")
    context = _named(config, "contexts", "context", name, path)
    cluster = _named(config, "clusters", "cluster", context.get("cluster", ""), path)
    user = _named(config, "users", "user", context["user"], path) if context.get("user") else {}
    _refuse_unsupported(cluster, _UNSUPPORTED_CLUSTER, path)
    _refuse_unsupported(user, _UNSUPPORTED_USER, path)
    server = str(cluster.get("server", "")).rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise CredentialsError(f"cluster of context {name!r} in {path} has server {server!r}: an http(s) URL is needed")
    ca = _material(cluster, "certificate-authority", path)
    certificate, key = _material(user, "client-certificate", path), _material(user, "client-key", path)
    insecure = bool(cluster.get("insecure-skip-tls-verify", False))
    return ClusterAccess(
        server=server,
        ssl=server.startswith("https:") and _ssl_context(ca, certificate, key, insecure=insecure),
        token=_token(user, path),
        default_namespace=context.get("namespace") or "default",
        ca=ca,
        certificate=certificate,
        private_key=key,
        insecure=insecure,
        server_hostname=cluster.get("tls-server-name"),
    )


def _load_yaml(path: Path) -> Mapping[str, Any]:
    try:
        config = yaml.safe_load(_read_text(path))
    except yaml.YAMLError:
        # Without the cause: the parser quotes the line it stumbled over, and these files hold keys.
        raise CredentialsError(f"{path} is neither YAML nor JSON: give a kubeconfig file") from None
    if not isinstance(config, dict):
        raise CredentialsError(f"{path} is no kubeconfig: a mapping with contexts, clusters and users is needed")
    return config


def _named(config: Mapping[str, Any], plural: str, singular: str, name: str, path: Path) -> Mapping[str, Any]:
    entries = {entry.get("name"): entry.get(singular) or {} for entry in config.get(plural) or ()}
    if name not in entries:
        known = ", ".join(sorted(map(str, entries))) or "none"
        raise CredentialsError(f"{path} has no {singular} {name!r}; it has: {known}")
    found: Mapping[str, Any] = entries[name]
    return found


def _refuse_unsupported(entry: Mapping[str, Any], keys: tuple[str, ...], path: Path) -> None:
    for key in keys:
        if entry.get(key):
            raise CredentialsError(
                f"{path} uses {key!r}, which is not supported: use a client certificate, `token` or `tokenFile`, "
                "and a direct connection"
            )


def _material(entry: Mapping[str, Any], key: str, path: Path) -> KeyMaterial:
    """Return a certificate or key. As in kubectl, content wins over a file; files are relative to the kubeconfig."""
    if inline := entry.get(f"{key}-data"):
        try:
            return KeyMaterial(data=base64.b64decode(inline, validate=True))
        except binascii.Error:
            raise CredentialsError(f"{key}-data in {path} is not base64") from None
    if name := entry.get(key):
        return KeyMaterial(path=str(path.parent / name))
    return KeyMaterial()


def _token(user: Mapping[str, Any], path: Path) -> Callable[[], str | None]:
    if name := user.get("tokenFile"):
        source = FileToken(path.parent / name)
        source()
        return source
    token: str | None = user.get("token")
    return lambda: token


def _ssl_context(ca: KeyMaterial, certificate: KeyMaterial, key: KeyMaterial, *, insecure: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca.path, cadata=ca.data.decode("ascii") if ca.data else None)
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            _load_client_certificate(context, certificate, key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise CredentialsError(f"the certificates cannot be used: {error}") from error
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: KeyMaterial, key: KeyMaterial) -> None:
    # The ssl module loads from files alone; content is on disk only for that moment, in a folder that is ours alone.
    with tempfile.TemporaryDirectory(prefix="agentsessions-") as folder:
        context.load_cert_chain(
            str(_on_disk(certificate, folder, "tls.crt")),
            _on_disk(key, folder, "tls.key"),
            password=lambda: "",  # an encrypted key is an error; without this, OpenSSL asks at the terminal and waits
        )


def _on_disk(material: KeyMaterial, folder: str, name: str) -> str | None:
    if material.data is None:
        return material.path
    path = Path(folder, name)
    path.touch(mode=0o600)
    path.write_bytes(material.data)
    return str(path)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path} cannot be read: {error}") from error
