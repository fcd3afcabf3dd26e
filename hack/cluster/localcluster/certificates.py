"""The cluster's certificate authority, what it signs, and the kubeconfigs with it, made by the `openssl` program.

A certificate is made again when what it should say, or the authority, changed: the request is kept beside it, and is
written last, so that an interrupted attempt is not mistaken for a complete one.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .layout import DOMAIN, Layout
from .shell import run
from .store import write_text

_DAYS: Final = "3650"
_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a certificate is for; `names` makes it a server's."""

    file: str
    user: str
    group: str = ""
    names: tuple[str, ...] = ()


def subjects(layout: Layout) -> list[Subject]:
    """Return every certificate that the cluster needs."""
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}")
    api_names = tuple(f"DNS:{name}" for name in (*service, "localhost"))
    api_ips = tuple(f"IP:{address}" for address in (layout.service_ip, layout.bridge_ip, layout.uplink_ip, "127.0.0.1"))
    node = f"system:node:{layout.node_name}"
    return [
        Subject("kube-apiserver", "kube-apiserver", names=api_names + api_ips),
        Subject("kubelet-server", node, names=(f"DNS:{layout.node_name}", f"IP:{layout.bridge_ip}")),
        Subject("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Subject("admin", "kubernetes-admin", "system:masters"),
        Subject("kubelet", node, "system:nodes"),
        Subject("kube-controller-manager", "system:kube-controller-manager"),
        Subject("kube-scheduler", "system:kube-scheduler"),
        Subject("kube-proxy", "system:kube-proxy"),
    ]


def ensure(layout: Layout) -> None:
    """Make what is missing or out of date, and the kubeconfig of every client."""
    directory = layout.certificates
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    _ensure_authority(directory)
    _ensure_service_account_key(directory)
    for subject in subjects(layout):
        _ensure_signed(directory, subject)
        if not subject.names:
            write_text(directory / f"{subject.file}.kubeconfig", _render_kubeconfig(layout, subject))
    write_text(layout.kubeconfig, (directory / "admin.kubeconfig").read_text())


def _ensure_authority(directory: Path) -> None:
    if (directory / "ca.crt").exists():
        return
    request = "[req]\ndistinguished_name=name\nprompt=no\n[name]\nCN=agentsessions-ca\n[extensions]\n"
    request += "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign,digitalSignature\n"
    request += "subjectKeyIdentifier=hash\n"
    _sign(directory, "ca", request, ())


def _ensure_service_account_key(directory: Path) -> None:
    key = directory / "service-accounts.key"
    if not key.exists():
        write_text(key, run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]))


def _ensure_signed(directory: Path, subject: Subject) -> None:
    authority = directory / "ca.crt"
    request = _render_request(subject, hashlib.sha256(authority.read_bytes()).hexdigest())
    made_from = directory / f"{subject.file}.request"
    if made_from.exists() and made_from.read_text() == request:
        return
    made_from.unlink(missing_ok=True)
    _sign(directory, subject.file, request, ("-CA", str(authority), "-CAkey", str(directory / "ca.key")))
    write_text(made_from, request)


def _sign(directory: Path, file: str, request: str, authority: tuple[str, ...]) -> None:
    config = directory / f"{file}.new"
    write_text(config, request)
    key, certificate = directory / f"{file}.key", directory / f"{file}.crt"
    outputs = ("-keyout", f"{key}.new", "-out", f"{certificate}.new", "-days", _DAYS)
    run(["openssl", "req", "-x509", *_KEY, "-config", config, "-extensions", "extensions", *authority, *outputs])
    Path(f"{key}.new").chmod(0o600)
    Path(f"{key}.new").replace(key)
    Path(f"{certificate}.new").replace(certificate)
    config.unlink()


def _render_request(subject: Subject, authority_digest: str) -> str:
    usage = "serverAuth" if subject.names else "clientAuth"
    group = f"O={subject.group}\n" if subject.group else ""
    names = f"subjectAltName={','.join(subject.names)}\n" if subject.names else ""
    return (
        f"# authority {authority_digest}\n[req]\ndistinguished_name=name\nprompt=no\n[name]\n{group}CN={subject.user}\n"
        f"[extensions]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        f"extendedKeyUsage={usage}\n{names}"
    )


def _render_kubeconfig(layout: Layout, subject: Subject) -> str:
    """Return a kubeconfig that carries its certificates: it works wherever it is copied to on this machine."""
    directory = layout.certificates

    def data(file: str) -> str:
        return base64.b64encode((directory / file).read_bytes()).decode()

    cluster = {"server": layout.api_url, "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data(f"{subject.file}.crt"), "client-key-data": data(f"{subject.file}.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.name, "cluster": cluster}],
        "users": [{"name": subject.user, "user": user}],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": subject.user}}],
        "current-context": layout.name,
    }
    return json.dumps(content, indent=2) + "\n"
