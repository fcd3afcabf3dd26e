"""A session with an MCP server: reached by the gateway alone, with a key that the pod never sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.agents import LivePod, live_pod
from tests.e2e.product import SYSTEM, Json, Product

pytestmark = [pytest.mark.e2e, pytest.mark.requirement("AG-2")]

TOKEN = "token-of-the-shelf-0123456789"
SERVER = Path(__file__).parents[1] / "mcp_server.py"


@contextmanager
def serve_shelf(host: str) -> Iterator[str]:
    """Run the MCP server while the block does; yield its address."""
    env = {**os.environ, "MCP_TOKEN": TOKEN, "MCP_HOST": host}
    with subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        try:
            yield f"http://{host}:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def calls_of(url: str) -> list[Json]:
    """Return what the server really did."""
    with urllib.request.urlopen(f"{url}/calls", timeout=10) as answer:  # noqa: S310  # http, above
        found: list[Json] = json.load(answer)
    return found


def provide(product: Product, namespace: str, url: str, *allowed: str, side_effect: str = "None") -> None:
    """Create the ToolServer, its key, and the right of the gateway to read it, as the docs tell a tenant."""
    secret = {"metadata": {"name": "shelf"}, "stringData": {"header": f"Bearer {TOKEN}"}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agentsessions-provider-keys"}
    binding = {
        "metadata": {"name": "agentsessions-provider-keys"},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": "agentsessions-gateway", "namespace": SYSTEM}],
    }
    server = {
        "metadata": {"name": "shelf"},
        "spec": {
            "url": f"{url}/mcp",
            "headers": [{"name": "Authorization", "secretKeyRef": {"name": "shelf", "key": "header"}}],
            "allowedTools": [{"name": name, "sideEffect": side_effect} for name in allowed],
        },
    }
    product.apply(
        namespace,
        {"apiVersion": "v1", "kind": "Secret", **secret},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", **binding},
        {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "ToolServer", **server},
    )


def ask_for(name: str, **arguments: Any) -> Json:
    """Return a scripted answer that asks for one call."""
    return {"toolCalls": [{"name": name, "arguments": arguments}]}


def is_not_found(session: Json) -> bool:
    """Whether a session waits for a tool that its server does not allow."""
    conditions = session.get("status", {}).get("conditions", [])
    return any(one["type"] == "Accepted" and one["reason"] == "ToolNotFound" for one in conditions)


def test_session_uses_the_tools_of_a_server_that_it_cannot_reach(product: Product, namespace: str, host: str) -> None:
    with serve_shelf(host) as url:
        provide(product, namespace, url, "search")
        rules = (
            {"when": {"step": 1}, "answer": ask_for("shelf__search", query="bolts")},
            {"when": {"step": 2}, "answer": ask_for("shelf__secret")},
            {"when": {"step": 3}, "answer": ask_for("shelf__order", part="bolts")},
            {"when": {"step": 4}, "answer": ask_for("http", url=f"{url}/calls")},
            {"when": {"step": 5}, "answer": ask_for("shell", command="mkfifo gate; cat gate")},
            {"answer": {"text": "There are bolts, and they are ordered."}},
        )
        product.create_script(namespace, "script", *rules)
        tools: list[Json] = [
            {"serverRef": {"name": "shelf"}, "allow": ["search", "order"]},
            {"builtin": "Http", "allowHosts": [url.removeprefix("http://")]},
            {"builtin": "Shell"},
        ]
        agent = {"name": "agent", "model": {"providerRef": {"name": "script"}}, "tools": tools}
        product.create_session(namespace, "shop", goal="Order bolts.", agents=[agent])
        product.wait_for(namespace, "shop", is_not_found, "waiting for its tools")
        provide(product, namespace, url, "search", "order")

        pod = live_pod(product, namespace, "shop")
        check_pod(pod)
        pod.open_gate()
        done = product.wait_phase(namespace, "shop", "Completed")
        entries = product.entries(namespace, "shop")
        made = calls_of(url)

    results = [(e["body"]["name"], e["body"]["isError"]) for e in entries if e["type"] == "tool_result"]
    assert done["status"]["result"] == "There are bolts, and they are ordered."
    assert [call["tool"] for call in made] == ["search", "order"]
    assert results == [
        ("shelf__search", False),
        ("shelf__secret", True),
        ("shelf__order", False),
        ("http", False),
        ("shell", False),
    ]
    assert TOKEN not in json.dumps(entries)


def check_pod(pod: LivePod) -> None:
    """Assert that the pod knows neither the server's key nor where the server is."""
    assert pod.run("sh", "-c", "until [ -p gate ]; do sleep 0.1; done").returncode == 0
    known = pod.run("sh", "-c", "env; cat /proc/1/environ; cat -- .agentsessions/* 2>/dev/null; true").stdout
    assert TOKEN not in known
    assert "/mcp" not in known
