"""Credentials by a program that the kubeconfig names (`users[].user.exec`): EKS, GKE, AKS, oidc-login and others."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from agentsessions.cli.failures import Failure

INFO: Final = "KUBERNETES_EXEC_INFO"
EARLY: Final = timedelta(seconds=30)
"""How long before its end a token is asked for anew."""
Json = Mapping[str, Any]


@dataclass(slots=True)
class ExecCredential:
    """What a plugin said, and how to ask it again."""

    spec: Json = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    command: list[str]
    token: str | None = field(default=None, repr=False)
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    def current(self) -> str | None:
        """Return the token, a new one when it is about to end."""
        if self.expires_at is not None and datetime.now(UTC) >= self.expires_at - EARLY:
            self.ask()
        return self.token

    def ask(self) -> None:
        """Run the plugin.

        Raises:
            Failure: It failed, or said something else than credentials.
        """
        stdin = None if self._may_talk() else subprocess.DEVNULL
        done = subprocess.run(  # noqa: S603  # what the kubeconfig names, as kubectl does
            self.command, check=False, stdout=subprocess.PIPE, stdin=stdin, text=True, env=self.environment
        )
        if done.returncode != 0:
            raise Failure(
                f"the kubeconfig's credential plugin {self.command[0]} failed with exit code {done.returncode}: "
                "log in as its own message says, then try again"
            )
        try:
            status: Json = json.loads(done.stdout)["status"]
        except (ValueError, KeyError, TypeError):
            raise Failure(f"the kubeconfig's credential plugin {self.command[0]} printed no ExecCredential") from None
        self.token = status.get("token")
        self.certificate, self.key = status.get("clientCertificateData"), status.get("clientKeyData")
        expires = status.get("expirationTimestamp")
        self.expires_at = datetime.fromisoformat(expires) if expires else None

    def _may_talk(self) -> bool:
        return self.spec.get("interactiveMode", "IfAvailable") != "Never" and sys.stdin.isatty()


def run_plugin(spec: Json, folder: Path, server: str, cluster: Json) -> ExecCredential:
    """Ask a plugin for credentials.

    Args:
        spec: `exec` of the user.
        folder: Folder of the kubeconfig; a command with a slash is relative to it.
        server: URL of the API server.
        cluster: Its entry, for plugins that want to know it.

    Raises:
        Failure: The program is not there, or failed.
    """
    command = str(spec.get("command", ""))
    program = str(Path(folder, command)) if "/" in command else shutil.which(command)
    if not program or not Path(program).exists():
        hint = str(spec.get("installHint") or "install it, or put it on PATH").strip()
        raise Failure(f"the kubeconfig's credential plugin {command!r} is not there: {hint}")
    environment = {**os.environ, **{one["name"]: one["value"] for one in spec.get("env") or ()}}
    environment[INFO] = json.dumps(_info(spec, server, cluster))
    found = ExecCredential(spec, environment, [program, *map(str, spec.get("args") or ())])
    found.ask()
    return found


def _info(spec: Json, server: str, cluster: Json) -> dict[str, Any]:
    about: dict[str, Any] = {"interactive": sys.stdin.isatty() and spec.get("interactiveMode") != "Never"}
    if spec.get("provideClusterInfo"):
        about["cluster"] = {
            "server": server,
            "tls-server-name": cluster.get("tls-server-name", ""),
            "insecure-skip-tls-verify": bool(cluster.get("insecure-skip-tls-verify")),
            "certificate-authority-data": cluster.get("certificate-authority-data", ""),
        }
    version = str(spec.get("apiVersion") or "client.authentication.k8s.io/v1")
    return {"apiVersion": version, "kind": "ExecCredential", "spec": about}
