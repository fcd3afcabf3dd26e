"""Which API server, and as whom: kubeconfig files as kubectl reads them, or the service account of a pod.

Files of $KUBECONFIG are merged, the first one that names something wins. Users may have a token, a token file, a client
certificate or an exec plugin.
"""

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from agentsessions.cli.execplugin import ExecCredential, run_plugin
from agentsessions.cli.failures import Failure

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LISTS: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
_UNSUPPORTED: Final = ("auth-provider", "username", "password", "as")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Access:
    """A way to an API server."""

    server: str
    """URL without a slash at the end."""
    trust: ssl.SSLContext
    namespace: str
    token: Callable[[], str | None] = field(repr=False)
    """Returns the bearer token as it is now; None for certificate users."""
    user: str = ""
    """Name of the user in the kubeconfig, for messages."""
    proxy: str | None = None


@dataclass(slots=True)
class _Config:
    """Merged files; each entry knows the folder that its paths are relative to."""

    entries: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in _LISTS})
    current: str = ""
    files: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Take a file; what is known already stays."""
        content = _load(path)
        self.files.append(str(path))
        self.current = self.current or content.get("current-context") or ""
        for plural, singular in _LISTS.items():
            for entry in content.get(plural) or ():
                known = self.entries[plural]
                known.setdefault(str(entry.get("name")), {"folder": path.parent, **(entry.get(singular) or {})})

    def find(self, plural: str, name: str) -> dict[str, Any]:
        """Return an entry.

        Raises:
            Failure: There is none.
        """
        known = self.entries[plural]
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise Failure(f"{' and '.join(self.files)} has no {_LISTS[plural]} {name!r}; it has: {names}")
        return known[name]


def load_access(kubeconfig: str | None, context: str | None) -> Access:
    """Return the way to the cluster that the user means.

    Raises:
        Failure: There is none, or what it needs is not supported.
    """
    named = kubeconfig or os.environ.get("KUBECONFIG")
    paths = [Path(part).expanduser() for part in (named or "~/.kube/config").split(os.pathsep) if part]
    config = _Config()
    for path in paths:
        if path.exists():
            config.add(path)
    if not config.files:
        if named is None and SERVICE_ACCOUNT.joinpath("token").exists():
            return _of_pod()
        raise Failure(f"there is no kubeconfig at {named or paths[0]}: set KUBECONFIG, or give --kubeconfig")
    chosen = context or config.current
    if not chosen:
        raise Failure(f"{config.files[0]} has no current-context: give --context, one of {_names(config)}")
    return _to_access(config, config.find("contexts", chosen))


def _names(config: _Config) -> str:
    return ", ".join(sorted(config.entries["contexts"])) or "none"


def _to_access(config: _Config, context: Json) -> Access:
    cluster = config.find("clusters", str(context.get("cluster", "")))
    user: dict[str, Any] = config.find("users", str(context["user"])) if context.get("user") else {}
    for key in _UNSUPPORTED:
        if user.get(key):
            raise Failure(f"the kubeconfig's user {context['user']!r} has {key!r}, which this command cannot use")
    server = str(cluster.get("server", "")).rstrip("/")
    credential = run_plugin(user["exec"], user["folder"], server, cluster) if user.get("exec") else None
    trust = _trust(cluster)
    _load_certificate(trust, user, credential)
    return Access(
        server=server,
        trust=trust,
        namespace=str(context.get("namespace") or "default"),
        token=_token(user, credential),
        user=str(context.get("user", "")),
        proxy=cluster.get("proxy-url"),
    )


def _of_pod() -> Access:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = SERVICE_ACCOUNT / "token"
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        trust=ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt")),
        namespace=SERVICE_ACCOUNT.joinpath("namespace").read_text().strip() or "default",
        token=lambda: _read_token(token),
        user="the pod's service account",
    )


def _load(path: Path) -> Json:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506  # a safe loader, in C
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError):
        raise Failure(f"{path} is no kubeconfig: it is neither YAML nor JSON") from None  # the cause quotes keys
    if not isinstance(content, dict):
        raise Failure(f"{path} is no kubeconfig: it has no contexts, clusters and users")
    return content


def _material(entry: Json, key: str) -> bytes | Path | None:
    """Return a certificate or key: content wins over a file, files are relative to the kubeconfig."""
    if inline := entry.get(f"{key}-data"):
        try:
            return base64.b64decode(inline, validate=True)
        except binascii.Error:
            raise Failure(f"{key}-data in the kubeconfig is not base64") from None
    name = entry.get(key)
    return Path(entry["folder"], str(name)) if name else None


def _trust(cluster: Json) -> ssl.SSLContext:
    ca = _material(cluster, "certificate-authority")
    try:
        match ca:
            case bytes():
                context = ssl.create_default_context(cadata=ca.decode("ascii"))
            case _:
                context = ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ValueError) as error:
        raise Failure(f"the cluster's CA in the kubeconfig cannot be used: {error}") from error
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_certificate(context: ssl.SSLContext, user: Json, credential: ExecCredential | None) -> None:
    certificate, key = _material(user, "client-certificate"), _material(user, "client-key")
    if credential is not None and credential.certificate:
        certificate, key = credential.certificate.encode(), (credential.key or "").encode()
    if certificate is None:
        return
    # The ssl module loads from files alone; content is on disk only for that moment, in a folder that is ours alone.
    with tempfile.TemporaryDirectory(prefix="agentsessions-") as folder:
        try:
            context.load_cert_chain(
                _on_disk(certificate, folder, "tls.crt"), key and _on_disk(key, folder, "tls.key"), password=lambda: ""
            )
        except (OSError, ValueError) as error:
            raise Failure(f"the client certificate of the kubeconfig cannot be used: {error}") from error


def _on_disk(material: bytes | Path, folder: str, name: str) -> str:
    if isinstance(material, Path):
        return str(material)
    path = Path(folder, name)
    path.touch(mode=0o600)
    path.write_bytes(material)
    return str(path)


def _token(user: Json, credential: ExecCredential | None) -> Callable[[], str | None]:
    if credential is not None and credential.token:
        return credential.current
    if name := user.get("tokenFile"):
        path = Path(user["folder"], str(name))
        return lambda: _read_token(path) or None
    token: str | None = user.get("token")
    return lambda: token


def _read_token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"the bearer token in {path} cannot be read: {error}") from error
