"""Reading the journal as a user does: a port-forward, a short-lived token, HTTPS."""

import json
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from shell import Kubectl

READER = "agentsessions-demo-reader"


def fetch_steps(kubectl: Kubectl, system: str, namespace: str, session: str) -> list[str]:
    """Return one line for each step of a session: number, kind, duration, tokens and the beginning of what it said."""
    with forwarded(kubectl, system) as port:
        url = f"https://localhost:{port}/api/v1/agent-sessions/{session}/steps?namespace={namespace}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {_token(kubectl, namespace)}"})
        with urllib.request.urlopen(request, context=_trust(kubectl, system), timeout=30) as answer:  # noqa: S310  # https, above
            return [_line(step) for step in json.load(answer)["items"]]


@contextmanager
def forwarded(kubectl: Kubectl, system: str) -> Iterator[int]:
    """Forward a free local port to the gateway while the block runs."""
    command = kubectl.command("port-forward", "-n", system, "service/agentsessions-gateway", ":443")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""  # Forwarding from 127.0.0.1:40123 -> 8443
        yield int(line.split("->")[0].rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait()


def _token(kubectl: Kubectl, namespace: str) -> str:
    """Return a 10-minute token of a service account that may view sessions in the namespace."""
    make_account(kubectl, READER, namespace, role="view")
    return kubectl("create", "token", READER, "-n", namespace, "--duration=10m").strip()


def make_account(kubectl: Kubectl, name: str, namespace: str, *, role: str) -> None:
    """Make a service account that has a ClusterRole in its namespace."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    for thing in (account, binding):
        kubectl("apply", "-f", "-", stdin=json.dumps(thing))


def _trust(kubectl: Kubectl, system: str) -> ssl.SSLContext:
    """Return a TLS context that trusts the gateway's own CA."""
    authority = kubectl("get", "configmap", "agentsessions-gateway-ca", "-n", system, "-o", r"jsonpath={.data.ca\.crt}")
    return ssl.create_default_context(cadata=authority)


def _line(step: dict) -> str:
    asked = step.get("input") or {}
    said = " ".join(str(step.get("output") or f"{asked.get('name', '')} {asked.get('arguments', '')}").split())
    milliseconds, tokens = (
        step.get("durationMilliseconds"),
        (step.get("inputTokens") or 0) + (step.get("outputTokens") or 0),
    )
    took = f"{milliseconds:>6} ms" if milliseconds is not None else " " * 9
    return f"{step['number']:>2} {step['type']:<12} {took} {tokens:>6} tokens  {said[:80]}"
