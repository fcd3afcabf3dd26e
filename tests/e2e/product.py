"""The product on a real cluster, as a test's user sees it: kubectl's API, the gateway's API, the audit log."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from kubernetes import client, config, watch

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "manifests" / "samples"
SYSTEM = "agentsessions-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:agentsessions-operator"
READER = "agentsessions-test-reader"
GROUP, VERSION = "agentsessions.dev", "v1alpha1"
FINAL = frozenset({"Completed", "Failed", "Cancelled", "Expired"})
LONG_SECONDS = 300
"""No wait is longer than this, on a machine that others use too: what is late by then does not come."""
PATIENCE = f"--timeout={LONG_SECONDS}s"
"""The same for kubectl."""

Json = dict[str, Any]


def cluster_says(*words: str) -> str:
    """Return what `hack/cluster WORDS` prints."""
    command = [sys.executable, str(ROOT / "hack" / "cluster"), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"no cluster to test on (`make cluster-up` makes one): {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Forward:
    """A port-forward to the gateway with a reader's token."""

    http: httpx2.Client
    port: int

    def get(self, path: str, **params: Any) -> Json:
        """Return the JSON at `path` below `/api/v1/agent-sessions`."""
        answer = self.http.get(f"/api/v1/agent-sessions{path}", params=params)
        answer.raise_for_status()
        body: Json = answer.json()
        return body


class Product:
    """Handles on one cluster with the product installed."""

    def __init__(self) -> None:
        self.kubeconfig = cluster_says("kubeconfig")
        self.audit_log = Path(cluster_says("audit-log"))
        self.kubectl_program = str(Path(cluster_says("path")) / "kubectl")
        config.load_kube_config(self.kubeconfig)
        self.core = client.CoreV1Api()
        self.custom = client.CustomObjectsApi()
        self.rbac = client.RbacAuthorizationV1Api()
        self.apps = client.AppsV1Api()

    @property
    def machine(self) -> str:
        """Address of this machine as pods see it."""
        server = urlsplit(self.core.api_client.configuration.host)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((server.hostname, server.port))  # sends nothing, chooses a route
            address: str = way.getsockname()[0]
        return address

    # --- kubectl
    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl."""
        command = [self.kubectl_program, "--kubeconfig", self.kubeconfig, *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, input=stdin)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)} failed: {done.stderr}")
        return done

    def apply(self, namespace: str, *manifests: Json | Path) -> None:
        """Apply manifests (objects or files) in a namespace."""
        for manifest in manifests:
            text = manifest.read_text() if isinstance(manifest, Path) else json.dumps(manifest)
            self.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)

    # --- sessions
    def create_session(self, namespace: str, name: str, **spec: Any) -> Json:
        """Create a session through the API server."""
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "AgentSession", "metadata": {"name": name}, "spec": spec}
        created: Json = self.custom.create_namespaced_custom_object(GROUP, VERSION, namespace, "agentsessions", body)
        return created

    def create_script(self, namespace: str, name: str, *rules: Json) -> None:
        """Create a Scripted ModelProvider with one model."""
        spec = {"type": "Scripted", "models": [{"name": "script"}], "script": {"rules": list(rules)}}
        self.create_provider(namespace, name, spec)

    def create_provider(self, namespace: str, name: str, spec: Json) -> None:
        """Create a ModelProvider."""
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ModelProvider", "metadata": {"name": name}, "spec": spec}
        self.custom.create_namespaced_custom_object(GROUP, VERSION, namespace, "modelproviders", body)

    def session(self, namespace: str, name: str) -> Json:
        """Return a session as it is now."""
        found: Json = self.custom.get_namespaced_custom_object(GROUP, VERSION, namespace, "agentsessions", name)
        return found

    def patch_session(self, namespace: str, name: str, **spec: Any) -> None:
        """Merge-patch a session's spec."""
        self.custom.patch_namespaced_custom_object(
            GROUP,
            VERSION,
            namespace,
            "agentsessions",
            name,
            {"spec": spec},
            _content_type="application/merge-patch+json",
        )

    def wait_for(
        self, namespace: str, name: str, holds: Callable[[Json], bool], what: str, *, seconds: int = LONG_SECONDS
    ) -> Json:
        """Watch a session until `holds`; fail with its status when it does not in time."""
        about: Json = {"field_selector": f"metadata.name={name}"}
        deadline = time.monotonic() + seconds
        while True:
            # From a list each time: the version of an object that rested may be older than what can be watched.
            listed = self.custom.list_namespaced_custom_object(GROUP, VERSION, namespace, "agentsessions", **about)
            last = next(iter(listed["items"]), {})
            if last and holds(last):
                return last
            left = int(deadline - time.monotonic())
            if left <= 0:
                raise AssertionError(f"{namespace}/{name}: not {what} in {seconds} s: {json.dumps(last.get('status'))}")
            for event in watch.Watch().stream(
                self.custom.list_namespaced_custom_object,
                GROUP,
                VERSION,
                namespace,
                "agentsessions",
                resource_version=listed["metadata"]["resourceVersion"],
                timeout_seconds=left,
                **about,
            ):
                if event["type"] != "DELETED" and holds(event["object"]):
                    found: Json = event["object"]
                    return found

    def wait_phase(self, namespace: str, name: str, *phases: str, seconds: int = LONG_SECONDS) -> Json:
        """Wait until the session is in one of `phases`; a final phase other than those fails at once."""

        def holds(session: Json) -> bool:
            phase = session.get("status", {}).get("phase")
            if phase in FINAL and phase not in phases:
                raise AssertionError(f"{namespace}/{name} ended {phase}: {json.dumps(session['status'])}")
            return phase in phases

        return self.wait_for(namespace, name, holds, " or ".join(phases), seconds=seconds)

    def session_pods(self, namespace: str, session_uid: str) -> list[Any]:
        """Return the pods that a session owns."""
        pods = self.core.list_namespaced_pod(namespace).items
        return [p for p in pods if any(o.uid == session_uid for o in p.metadata.owner_references or [])]

    # --- gateway
    @contextmanager
    def gateway(self, token: str | None = None) -> Iterator[Forward]:
        """Forward a port to the gateway, with a reader of all namespaces unless another token is given."""
        command = ["-n", SYSTEM, "port-forward", "service/agentsessions-gateway", ":443"]
        process = subprocess.Popen(
            [self.kubectl_program, "--kubeconfig", self.kubeconfig, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "->" in line, f"no port-forward to the gateway: {line}"
            port = int(line.split("->")[0].rsplit(":", 1)[1])
            headers = {"Authorization": f"Bearer {token or self.reader_token()}"}
            url = f"https://localhost:{port}"
            with httpx2.Client(base_url=url, headers=headers, verify=self.trust(), timeout=30) as http:
                yield Forward(http, port)
        finally:
            process.terminate()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def trust(self) -> ssl.SSLContext:
        """Return a TLS context that trusts the gateway's CA."""
        data = self.core.read_namespaced_config_map("agentsessions-gateway-ca", SYSTEM).data["ca.crt"]
        return ssl.create_default_context(cadata=data)

    def reader_token(self) -> str:
        """Return a token of a service account that may view sessions everywhere."""
        return self.token_of(SYSTEM, READER)

    def token_of(self, namespace: str, account: str, audiences: list[str] | None = None) -> str:
        """Return a short-lived token of a service account."""
        spec = client.V1TokenRequestSpec(audiences=audiences or [], expiration_seconds=3600)
        request = client.AuthenticationV1TokenRequest(spec=spec)
        answer = self.core.create_namespaced_service_account_token(account, namespace, request)
        token: str = answer.status.token
        return token

    def entries(self, namespace: str, name: str) -> list[Json]:
        """Return every entry that a session's journal has now."""
        with self.gateway() as gateway:
            head = gateway.get(f"/{name}/verify", namespace=namespace)["head"]
            return read_until(gateway.http, namespace, name, head)

    # --- audit log
    def await_writes(self, namespace: str, are_due: Callable[[list[Json]], bool]) -> list[Json]:
        """Return the operator's writes once they are as is due, or else as they are in the end.

        The API server writes down what it did after it has answered: who saw a write does not yet find it in the log.
        """
        deadline = time.monotonic() + LONG_SECONDS
        while not are_due(found := self.operator_writes(namespace)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def writes_of_life(self, namespace: str, name: str) -> list[Json]:
        """Return the operator's writes of a session that is over, and of its pods; Events apart.

        The Event of its end is the last thing that the operator writes about it: what came before is in the log then.
        """
        last = self.await_events(namespace, name, lambda events: bool(FINAL & {event.reason for event in events}))
        ends = {event.metadata.name for event in last if event.reason in FINAL}

        def are_all_there(writes: list[Json]) -> bool:
            return any(write["objectRef"].get("name") in ends for write in writes)

        writes = self.await_writes(namespace, are_all_there)
        about = [write for write in writes if write["objectRef"].get("name", "").startswith(name)]
        return [write for write in about if write["objectRef"]["resource"] != "events"]

    def await_events(self, namespace: str, name: str, are_due: Callable[[list[Any]], bool]) -> list[Any]:
        """Return the Events about a session once they are as is due, or else as they are in the end.

        The operator writes them after the status that they tell of.
        """
        deadline, about = time.monotonic() + LONG_SECONDS, f"involvedObject.name={name}"
        while True:
            found: list[Any] = self.core.list_namespaced_event(namespace, field_selector=about).items
            if are_due(found) or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def operator_writes(self, namespace: str) -> list[Json]:
        """Return the operator's accepted and refused writes in a namespace that are in the log, oldest first."""
        verbs = {"create", "update", "patch", "delete"}
        found = []
        with self.audit_log.open() as lines:
            for line in lines:
                if namespace not in line:
                    continue
                record = json.loads(line)
                about = record.get("objectRef", {})
                is_ours = record["user"]["username"] == OPERATOR and record["verb"] in verbs
                if is_ours and about.get("namespace") == namespace and record["stage"] == "ResponseComplete":
                    found.append(record)
        return found


def read_events(http: httpx2.Client, namespace: str, name: str, after: int = 0) -> Iterator[Json]:
    """Yield the entries of a session's event stream until it ends; each has `id` and `event` of its frame."""
    path = f"/api/v1/agent-sessions/{name}/events"
    with http.stream("GET", path, params={"namespace": namespace, "after": after}) as answer:
        answer.raise_for_status()
        frame: dict[str, str] = {}
        for line in answer.iter_lines():
            if not line and "data" in frame and "id" not in frame:
                frame = {}  # text of an answer under way: no entry yet
            elif not line and "data" in frame:
                outside = {"agent": "", "epoch": 0, "step": 0}  # what an entry of the session itself leaves out
                yield {"id": int(frame["id"]), "event": frame["event"], **outside, **json.loads(frame["data"])}
                frame = {}
            elif line and not line.startswith(":"):
                field, _, value = line.partition(": ")
                frame[field] = value


def read_until(http: httpx2.Client, namespace: str, name: str, head: int) -> list[Json]:
    """Return the entries 1..`head` of a session, read as a stream."""
    found: list[Json] = []
    if head:
        for entry in read_events(http, namespace, name):
            found.append(entry)
            if entry["seq"] >= head:
                break
    return found
