"""Kubeconfig files: merged as kubectl merges them; tokens, certificates and plugins."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentsessions.cli.failures import Failure
from agentsessions.cli.kubeconfig import load_access
from tests.unit.cli.conftest import kubeconfig

SERVER = "https://cluster.example:6443"


def write(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def plugin(folder: Path, status: dict[str, Any], exit_code: int = 0) -> Path:
    """Write a credential plugin that counts its runs and prints credentials."""
    path = folder / "plugin"
    said = json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
    path.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        f"with open({str(folder / 'runs')!r}, 'a') as runs:\n"
        "    about, region = os.environ['KUBERNETES_EXEC_INFO'], os.environ.get('REGION', '')\n"
        "    runs.write(about + region + ' '.join(sys.argv[1:]) + '\\n')\n"
        f"print({said!r})\n"
        f"sys.exit({exit_code})\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def user_with(path: Path) -> dict[str, Any]:
    env = [{"name": "REGION", "value": "north"}]
    return {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "args": ["token"], "env": env}
    }


def test_token_and_namespace_are_those_of_the_context(tmp_path: Path) -> None:
    access = load_access(write(tmp_path / "config", kubeconfig(SERVER, {"token": "t"})), None)
    assert (access.server, access.token(), access.namespace) == (SERVER, "t", "demo")


def test_first_file_that_names_something_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first: dict[str, Any] = {
        "contexts": [{"name": "there", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "there",
    }
    first["users"] = [{"name": "u", "user": {"token": "of-the-first"}}]
    second = kubeconfig(SERVER, {"token": "t"})
    paths = [write(tmp_path / "one", first), write(tmp_path / "two", second), str(tmp_path / "missing")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(paths))
    assert load_access(None, None).namespace == "default"
    assert load_access(None, "here").namespace == "demo"
    assert load_access(None, "here").token() == "of-the-first"


def test_unknown_context_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no context 'nope'; it has: here"):
        load_access(write(tmp_path / "config", kubeconfig(SERVER, {"token": "t"})), "nope")


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="there is no kubeconfig at"):
        load_access(str(tmp_path / "none"), None)


def test_broken_file_is_told_without_its_content(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        load_access(write(tmp_path / "config", "token: [secret"), None)
    assert "secret" not in str(caught.value)


def test_token_file_is_relative_to_the_kubeconfig_and_read_each_time(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    access = load_access(write(tmp_path / "config", kubeconfig(SERVER, {"tokenFile": "token"})), None)
    assert access.token() == "one"
    (tmp_path / "token").write_text("two\n")
    assert access.token() == "two"


def test_missing_token_file_is_told(tmp_path: Path) -> None:
    access = load_access(write(tmp_path / "config", kubeconfig(SERVER, {"tokenFile": "none"})), None)
    with pytest.raises(Failure, match=r"bearer token in .*none cannot be read"):
        access.token()


def test_certificate_user_has_no_token(tmp_path: Path) -> None:
    config = kubeconfig(SERVER, {})
    assert load_access(write(tmp_path / "config", config), None).token() is None


def test_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    user = {"client-certificate-data": base64.b64encode(b"nonsense").decode(), "client-key-data": ""}
    with pytest.raises(Failure, match="client certificate"):
        load_access(write(tmp_path / "config", kubeconfig(SERVER, user)), None)


def test_plugin_gives_the_token_and_is_asked_once(tmp_path: Path) -> None:
    path = plugin(tmp_path, {"token": "from-plugin"})
    access = load_access(write(tmp_path / "config", kubeconfig(SERVER, user_with(path))), None)
    assert [access.token(), access.token()] == ["from-plugin"] * 2
    (run,) = (tmp_path / "runs").read_text().splitlines()
    assert run.endswith("northtoken")
    assert '"kind": "ExecCredential"' in run


def test_plugin_is_asked_again_before_its_token_ends(tmp_path: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    path = plugin(tmp_path, {"token": "short-lived", "expirationTimestamp": soon})
    access = load_access(write(tmp_path / "config", kubeconfig(SERVER, user_with(path))), None)
    access.token()
    assert len((tmp_path / "runs").read_text().splitlines()) == 2


def test_plugin_that_fails_is_told(tmp_path: Path) -> None:
    path = plugin(tmp_path, {}, exit_code=3)
    with pytest.raises(Failure, match="failed with exit code 3"):
        load_access(write(tmp_path / "config", kubeconfig(SERVER, user_with(path))), None)


def test_missing_plugin_is_told_with_its_hint(tmp_path: Path) -> None:
    user = {"exec": {"command": "no-such-plugin", "installHint": "install it from the cloud's page"}}
    with pytest.raises(Failure, match=r"'no-such-plugin' is not there: install it from the cloud's page"):
        load_access(write(tmp_path / "config", kubeconfig(SERVER, user)), None)


@pytest.mark.parametrize("key", ["auth-provider", "username", "as"])
def test_what_is_not_supported_is_told(tmp_path: Path, key: str) -> None:
    with pytest.raises(Failure, match=f"{key!r}, which this command cannot use"):
        load_access(write(tmp_path / "config", kubeconfig(SERVER, {key: "x"})), None)
