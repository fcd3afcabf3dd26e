"""A scripted API server with a kubeconfig that leads to it, and the command line run as a program."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentsessions.cli import main
from tests.unit.client.script_server import ScriptServer, serve

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., "Done"]


@pytest.fixture
def server() -> Iterator[ScriptServer]:
    with serve() as found:
        yield found


def kubeconfig(server: str, user: dict[str, Any], namespace: str = "demo") -> dict[str, Any]:
    """Return a kubeconfig with one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        "users": [{"name": "u", "user": user}],
    }


@dataclass(frozen=True)
class Done:
    """What a command line came to."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    server: ScriptServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return what runs a command line against the scripted API server, with a bearer token."""
    path = tmp_path / "config"
    path.write_text(json.dumps(kubeconfig(server.url, {"token": "a-token"})))
    monkeypatch.setenv("KUBECONFIG", str(path))

    def run_words(*words: str, stdin: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = main.run(list(words))
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run_words


def resource(name: str = "hello", phase: str | None = "Running", **changes: Any) -> dict[str, Any]:
    """Return a session as the API server has it."""
    meta = {
        "name": name,
        "namespace": "demo",
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "creationTimestamp": "2026-11-02T10:00:00Z",
    }
    status: dict[str, Any] = {"phase": phase, "usage": {"steps": 2, "totalTokens": 30}} if phase else {}
    found = {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "AgentSession",
        "metadata": {**meta, **changes.pop("metadata", {})},
        "spec": {"goal": "Say hello.", "operatingMode": "Running", **changes.pop("spec", {})},
        "status": {**status, **changes.pop("status", {})},
    }
    return {**found, **changes}


def listed(*items: dict[str, Any]) -> dict[str, Any]:
    """Return a list as the API server has it."""
    return {"kind": "AgentSessionList", "metadata": {"resourceVersion": "9"}, "items": list(items)}
