"""Who may speak to the gateway: pods by their place in a session's status, people by their rights. Keys stay in it."""

import json
import ssl
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentsessions.api import wire
from tests.e2e.agents import (
    HELD_ANSWERS,
    LivePod,
    build_foreign_image,
    create_held_script,
    follow_log,
    held_session,
    live_pod,
)
from tests.e2e.faults import until
from tests.e2e.product import SYSTEM, Json, Product
from tests.e2e.upstream import INPUT_TOKENS, OUTPUT_TOKENS, serve_upstream

pytestmark = pytest.mark.e2e

KNOCK = (Path(__file__).parent / "knock.py").read_text()
CHAT = f"{wire.OPENAI_PATH}/chat/completions"
CALL: Json = {"callId": "call-1", "name": "shell"}
RUNNER_REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", wire.TURN_PATH, None),
    ("POST", CHAT, {"model": "script", "messages": [{"role": "user", "content": "Hello"}]}),
    ("GET", f"{wire.OPENAI_PATH}/models", None),
    ("POST", wire.TOOL_BEGIN_PATH, {**CALL, "arguments": "{}", "sideEffect": "internal"}),
    ("POST", wire.TOOL_SETTLE_PATH, {**CALL, "output": "forged", "durationMilliseconds": 1}),
    ("POST", wire.TOOL_CALL_PATH, {**CALL, "arguments": "{}"}),
    ("POST", wire.COMMIT_PATH, {"k": 1, "outcome": "final"}),
]
"""Every route of agent pods."""
RESERVED = "labels agentsessions.dev/* are reserved for pods of AgentSessions"


# --- provider keys


@pytest.mark.requirement("AG-1")
@pytest.mark.requirement("ID-5")
def test_upstream_key_is_nowhere_but_in_the_gateways_memory(product: Product, namespace: str, host: str) -> None:
    canary = "canary-0451"
    with serve_upstream(host, *HELD_ANSWERS) as upstream:
        upstream.provide(product, namespace, "up", SYSTEM)
        env = [{"name": "CANARY", "value": canary}]
        with held_session(product, namespace, "keyless", "up", env=env) as pod:
            pod.run("sh", "-c", f"echo {canary} > /workspace/canary.txt")
            assert canary in environments(pod)  # so that the searches are known to find
            assert files_with(pod, canary) == {"/workspace/canary.txt"}
            assert upstream.key not in environments(pod)
            assert files_with(pod, upstream.key) == set()
        done = product.session(namespace, "keyless")["status"]
        assert [request["authorization"] for request in upstream.requests()] == [f"Bearer {upstream.key}"] * 3
    assert done["result"] == "The gate was opened."
    assert done["usage"]["steps"] == 3
    assert done["usage"]["toolCalls"] == 2
    assert done["usage"]["totalTokens"] == 3 * (INPUT_TOKENS + OUTPUT_TOKENS)
    assert upstream.key not in json.dumps(product.entries(namespace, "keyless"))
    assert upstream.key not in product.kubectl("logs", "-n", SYSTEM, "deployment/agentsessions-gateway").stdout
    assert upstream.key not in product.kubectl("get", "agentsessions,pods,events", "-n", namespace, "-o", "yaml").stdout
    found = gateway_files_with(product, canary), gateway_files_with(product, upstream.key)
    assert (bool(found[0]), found[1]) == (True, set())  # the canary stands in the spec, which the journal keeps


def environments(pod: LivePod) -> str:
    """Return the environment of every process of a pod that its user may look into."""
    return pod.run("sh", "-c", "env; cat /proc/[0-9]*/environ", check=False).stdout.replace("\0", "\n")


def files_with(pod: LivePod, text: str) -> set[str]:
    """Return the files of a pod that hold a text. It is passed on standard input, to be in no file by our own doing."""
    excluded = [f"--exclude-dir={name}" for name in ("proc", "sys", "dev")]
    done = pod.run("grep", "-rlsF", *excluded, "-f", "-", "/", stdin=text, check=False)
    assert done.returncode in {0, 1, 2}, done.stderr  # 2: some files may not be read
    return set(done.stdout.splitlines())


def gateway_files_with(product: Product, text: str) -> set[str]:
    """Return the files that the gateway writes and that hold a text: its database."""
    words = ["exec", "-i", "-n", SYSTEM, "deployment/agentsessions-gateway", "--", "grep", "-rlF", "-f", "-"]
    done = product.kubectl(*words, "/var/lib/agentsessions", "/tmp", stdin=text, check=False)  # noqa: S108  # the pod's
    assert done.returncode in {0, 1}, done.stderr
    return set(done.stdout.splitlines())


# --- programs of others

CLIENT = """
import json, os
from openai import OpenAI, NotFoundError
client = OpenAI(api_key=open(os.environ["AGENTSESSIONS_TOKEN_FILE"]).read(), max_retries=0)
ask = lambda text, **more: client.chat.completions.create(
    model="script", messages=[{"role": "user", "content": text}], **more)
whole = ask("Count to three in one piece.")
stream = ask("Count to three as a stream.", stream=True, stream_options={"include_usage": True})
chunks = list(stream)
try:
    client.chat.completions.create(model="other", messages=[{"role": "user", "content": "Hello"}])
except NotFoundError as error:
    refusal = error.code
print(json.dumps({
    "models": [model.id for model in client.models.list()],
    "whole": whole.choices[0].message.content,
    "wholeTokens": whole.usage.total_tokens,
    "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
    "streamedTokens": [chunk.usage.total_tokens for chunk in chunks if chunk.usage],
    "finished": [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1],
    "refusal": refusal,
}))
"""


@pytest.mark.requirement("AG-1")
def test_openai_client_library_in_an_agent_pod_works_streamed_and_not(product: Product, namespace: str) -> None:
    counted = {"inputTokens": 7, "outputTokens": 5}
    product.create_script(
        namespace,
        "counting",
        {"when": {"text": "one piece"}, "answer": {"text": "one two three", **counted}},
        {"when": {"text": "stream"}, "answer": {"text": "uno dos tres", "streamMilliseconds": 200, **counted}},
    )
    pod = start_waiting(product, namespace, "library", "counting")
    told = json.loads(pod.run("python3", "-c", CLIENT).stdout)
    pod.open_gate()
    done = product.wait_phase(namespace, "library", "Completed")
    assert told == {
        "models": ["script"],
        "whole": "one two three",
        "wholeTokens": 12,
        "streamed": "uno dos tres",
        "streamedTokens": [12],
        "finished": "stop",
        "refusal": "model_not_found",
    }
    assert done["status"]["usage"]["steps"] == 2
    assert done["status"]["usage"]["totalTokens"] == 24


def start_waiting(product: Product, namespace: str, name: str, provider: str) -> LivePod:
    """Start a session of the foreign image that does nothing until its gate is opened, and stays when told to end."""
    agent = {
        "name": "agent",
        "image": build_foreign_image(),
        "model": {"providerRef": {"name": provider}},
        "env": [{"name": "BEHAVIOUR", "value": "wait"}],
    }
    product.create_session(namespace, name, goal="Wait.", agents=[agent], retry={"initialBackoffSeconds": 1})
    return await_waiting(product, namespace, name)


def await_waiting(product: Product, namespace: str, name: str) -> LivePod:
    """Return the pod of a running session once it waits at its gate."""
    pod = live_pod(product, namespace, name)
    assert next(follow_log(product, namespace, pod.name)) == "waiting"
    return pod


# --- pods that are not the session's


@pytest.mark.requirement("ID-1")
def test_pod_forged_by_a_user_who_may_create_pods_gets_nothing(product: Product, namespace: str) -> None:
    mallory = make_editor(product, namespace)
    with held_session(product, namespace, "victim", create_held_script(product, namespace)) as pod:
        before = told_by_agents(product, namespace, "victim")
        forged = forge(pod.manifest())
        product.kubectl("create", *mallory, "-n", namespace, "-f", "-", stdin=json.dumps(forged))
        succeeded = "--for=jsonpath={.status.phase}=Succeeded"
        done = product.kubectl("wait", succeeded, "pod/forged", "-n", namespace, "--timeout=90s", check=False)
        said = product.kubectl("logs", "-n", namespace, "pod/forged").stdout
        assert done.returncode == 0, said
        answers = json.loads(said)
        assert answers == [[path, 425, "not_fenced"] for _, path, _ in RUNNER_REQUESTS]
        assert told_by_agents(product, namespace, "victim") == before
        row = product.session(namespace, "victim")["status"]["agents"][0]
        assert (row["podUID"], row["epoch"]) == (pod.uid, 1)


@pytest.mark.requirement("ID-1")
def test_pod_with_a_sessions_labels_is_refused_at_creation_and_later(product: Product, namespace: str) -> None:
    mallory = make_editor(product, namespace)
    with held_session(product, namespace, "victim", create_held_script(product, namespace)) as pod:
        manifest = pod.manifest()
        labelled = forge(manifest)
        labelled["metadata"]["labels"] = manifest["metadata"]["labels"]
        created = product.kubectl(
            "create", *mallory, "-n", namespace, "-f", "-", stdin=json.dumps(labelled), check=False
        )
        assert created.returncode != 0
        assert RESERVED in created.stderr
        assert "create an AgentSession" in created.stderr
        product.kubectl("create", *mallory, "-n", namespace, "-f", "-", stdin=json.dumps(forge(manifest)))
        for target, change in (
            ("forged", "agentsessions.dev/agent=agent"),
            (pod.name, "agentsessions.dev/epoch-"),
            (pod.name, "another=label"),
        ):
            changed = product.kubectl("label", *mallory, "-n", namespace, "pod", target, change, check=False)
            assert changed.returncode != 0, f"label {change} of {target} was taken"
            assert RESERVED in changed.stderr
        assert pod.manifest()["metadata"]["labels"] == manifest["metadata"]["labels"]


@pytest.mark.requirement("ID-1")
def test_pod_of_an_older_epoch_is_told_to_end(product: Product, namespace: str) -> None:
    product.create_script(namespace, "script", {"answer": {"text": "Hello."}})
    old = start_waiting(product, namespace, "moved", "script")
    # It stays as long as it may, for it ignores SIGTERM: long enough for all that follows.
    product.core.delete_namespaced_pod(old.name, namespace, grace_period_seconds=120)
    product.wait_for(
        namespace, "moved", lambda session: session["status"]["agents"][0]["epoch"] == 2, "in its second epoch"
    )
    new = await_waiting(product, namespace, "moved")
    requests = json.dumps(RUNNER_REQUESTS)
    answers = json.loads(old.run("python3", "-c", KNOCK, requests).stdout)
    assert answers == [[path, 412, "stale_epoch"] for _, path, _ in RUNNER_REQUESTS]
    answers = json.loads(new.run("python3", "-c", KNOCK, json.dumps(RUNNER_REQUESTS[1:3])).stdout)
    assert [status for _, status, _ in answers] == [200, 200]
    entries = [entry for entry in product.entries(namespace, "moved") if entry["agent"]]
    assert {entry["epoch"] for entry in entries} == {2}
    new.open_gate()
    product.wait_phase(namespace, "moved", "Completed")


def make_editor(product: Product, namespace: str) -> list[str]:
    """Create a service account that may edit the namespace, and return kubectl's options to act as it."""
    bind(product, namespace, "mallory", "ClusterRole", "edit")
    return [f"--as=system:serviceaccount:{namespace}:mallory"]


def forge(manifest: Json) -> Json:
    """Return a pod that is to the letter like an agent's, but for name and labels, and tries all routes of runners."""
    [container] = manifest["spec"]["containers"]
    copied = ("serviceAccountName", "automountServiceAccountToken", "securityContext", "volumes", "enableServiceLinks")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "forged", "ownerReferences": manifest["metadata"]["ownerReferences"]},
        "spec": {
            **{name: manifest["spec"][name] for name in copied},
            "restartPolicy": "Never",
            "containers": [container | {"command": ["python3", "-c", KNOCK, json.dumps(RUNNER_REQUESTS)]}],
        },
    }


def told_by_agents(product: Product, namespace: str, name: str) -> list[Json]:
    """Return the journal's entries but those of the session's phases, which may come late."""
    return [entry for entry in product.entries(namespace, name) if entry["type"] != "state"]


# --- people and programs

READS = {
    "": ("list", "agentsessions"),
    "/hello": ("get", "agentsessions"),
    "/hello/verify": ("get", "agentsessions"),
    "/hello/steps": ("get", "agentsessions/messages"),
    "/hello/events": ("get", "agentsessions/events"),
}
"""What people may read, and the right that it needs."""


@pytest.mark.requirement("ID-1")
def test_reader_without_rights_is_told_which_one_is_missing(product: Product, namespace: str) -> None:
    complete(product, namespace)
    bind(product, namespace, "nobody", "ClusterRole", "system:basic-user")
    with product.gateway(product.token_of(namespace, "nobody")) as gateway:
        for path, (verb, resource) in READS.items():
            answer = gateway.http.get(f"/api/v1/agent-sessions{path}", params={"namespace": namespace})
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path
            assert f"verb '{verb}' on resource '{resource}'" in answer.json()["detail"]
            assert "Say hello" not in answer.text


@pytest.mark.requirement("ID-1")
def test_viewer_reads_sessions_of_their_namespace_alone(product: Product, namespace: str) -> None:
    complete(product, namespace)
    bind(product, namespace, "viewer", "ClusterRole", "view")
    await_right(product, namespace, "viewer", "agentsessions/events")
    with product.gateway(product.token_of(namespace, "viewer")) as gateway:
        statuses = read_all(gateway.http, namespace)
        assert statuses == dict.fromkeys(READS, 200)
        assert [item["name"] for item in gateway.get("", namespace=namespace)["items"]] == ["hello"]
        assert gateway.get("/hello/steps", namespace=namespace)["items"]
        for elsewhere in (SYSTEM, "default"):
            assert read_all(gateway.http, elsewhere) == dict.fromkeys(READS, 403)
        assert gateway.http.get("/api/v1/agent-sessions", params={"namespace": "*"}).status_code == 403


@pytest.mark.requirement("ID-1")
def test_who_may_see_sessions_does_not_yet_read_what_they_said(product: Product, namespace: str) -> None:
    complete(product, namespace)
    rules = [{"apiGroups": ["agentsessions.dev"], "resources": ["agentsessions"], "verbs": ["get", "list"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "peek"}, "rules": rules}
    product.apply(namespace, role)
    bind(product, namespace, "peeker", "Role", "peek")
    await_right(product, namespace, "peeker", "agentsessions")
    with product.gateway(product.token_of(namespace, "peeker")) as gateway:
        statuses = read_all(gateway.http, namespace)
    assert statuses == {path: 403 if "/" in resource else 200 for path, (_, resource) in READS.items()}


@pytest.mark.requirement("ID-1")
def test_tokens_of_pods_and_people_do_not_mix(product: Product, namespace: str) -> None:
    bind(product, namespace, "viewer", "ClusterRole", "view")
    with held_session(product, namespace, "hello", create_held_script(product, namespace)) as pod:
        with product.gateway(pod.token()) as gateway:
            assert gateway.http.get(wire.TURN_PATH).status_code == 200  # it is good where it belongs
            assert read_all(gateway.http, namespace) == dict.fromkeys(READS, 401)
            assert ask_api_server(product, namespace, pod.token()) == 401
        others = {
            "a person's": product.token_of(namespace, "viewer"),
            "an account's, for our audience but of no pod": product.token_of(
                namespace, "agentsessions-runner", ["agentsessions-gateway"]
            ),
            "nobody's": "not-a-token",
        }
        for whose, token in others.items():
            with product.gateway(token) as gateway:
                statuses = [
                    gateway.http.request(method, path, json=body).status_code for method, path, body in RUNNER_REQUESTS
                ]
                assert statuses == [401] * len(RUNNER_REQUESTS), whose
        with product.gateway() as gateway:
            del gateway.http.headers["Authorization"]
            assert read_all(gateway.http, namespace) == dict.fromkeys(READS, 401)
            assert gateway.http.get(wire.TURN_PATH).status_code == 401


def complete(product: Product, namespace: str) -> None:
    """Run a session `hello` to its end."""
    product.create_session(namespace, "hello", goal="Say hello.")
    product.wait_phase(namespace, "hello", "Completed")


def read_all(http: httpx2.Client, namespace: str) -> dict[str, int]:
    """Return the status of each read of `hello`."""
    return {
        path: http.get(f"/api/v1/agent-sessions{path}", params={"namespace": namespace}).status_code for path in READS
    }


def ask_api_server(product: Product, namespace: str, token: str) -> int:
    """Return the API server's status for a token that asks for pods."""
    server = product.core.api_client.configuration
    trust = ssl.create_default_context(cafile=server.ssl_ca_cert)
    url = f"{server.host}/api/v1/namespaces/{namespace}/pods"
    return httpx2.get(url, headers={"Authorization": f"Bearer {token}"}, verify=trust).status_code


def await_right(product: Product, namespace: str, account: str, resource: str) -> None:
    """Wait until the API server has taken note of a new binding."""
    subresource = resource.partition("/")[2]
    user = f"--as=system:serviceaccount:{namespace}:{account}"
    words = ["auth", "can-i", user, "-n", namespace, "get", "agentsessions.agentsessions.dev"]
    words += [f"--subresource={subresource}"] if subresource else []
    until(lambda: product.kubectl(*words, check=False).returncode == 0, f"{account} may get {resource}")


def bind(product: Product, namespace: str, account: str, kind: str, role: str) -> None:
    """Create a service account with a role in the namespace."""
    product.apply(
        namespace,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{account}-{role}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        },
    )
