"""Agent images of others: metered and limited like ours, whatever they do, and locked into a restricted pod."""

import json
from typing import Any

import pytest
from kubernetes import client

from tests.e2e.agents import LivePod, build_foreign_image, create_held_script, follow_log, held_session, live_pod
from tests.e2e.faults import processes_of
from tests.e2e.product import PATIENCE, SYSTEM, Json, Product
from tests.e2e.provider import say
from tests.e2e.upstream import INPUT_TOKENS, MODEL, OUTPUT_TOKENS, Upstream, serve_upstream

pytestmark = pytest.mark.e2e

ANSWER_TOKENS = INPUT_TOKENS + OUTPUT_TOKENS
SERVICE_LINK = "DECOY_SERVICE_HOST"
OF_THE_RUNTIME = {"/dev/shm", "/dev/mqueue", "/dev/termination-log"}  # noqa: S108  # the pod's
"""What every container may write: memory that counts as its own, and its last words."""


def run_foreign(product: Product, namespace: str, upstream: Upstream, behaviour: str, **spec: Any) -> None:
    """Create a session of the foreign image over the upstream."""
    upstream.provide(product, namespace, "up", SYSTEM)
    agent = {
        "name": "agent",
        "image": build_foreign_image(),
        "model": {"providerRef": {"name": "up"}},
        "env": [{"name": "BEHAVIOUR", "value": behaviour}, {"name": "MODEL", "value": MODEL}],
    }
    product.create_session(namespace, behaviour, goal="Do as you like.", agents=[agent], **spec)


def follow_until_over(product: Product, namespace: str, pod: str) -> list[str]:
    """Return what the endless image was answered, up to and with the first word that its session is over."""
    answers = []
    for line in follow_log(product, namespace, pod):
        answers.append(line)
        if line.startswith("412"):
            return answers
    raise AssertionError(f"the pod ended before its session: {answers}")


@pytest.mark.requirement("LIM-1")
def test_agent_that_ignores_refusals_is_ended_at_max_steps(product: Product, namespace: str, host: str) -> None:
    with serve_upstream(host, say("Ask again.")) as upstream:
        run_foreign(product, namespace, upstream, "forever", limits={"maxSteps": 3})
        failed = product.wait_phase(namespace, "forever", "Failed")
        pod = failed["status"]["agents"][0]["podName"]  # still there: it ignores SIGTERM, as long as it is let
        answers = follow_until_over(product, namespace, pod)
        sold = upstream.sold()
    assert answers[:4] == ["200", "200", "200", "402 step_limit"]
    assert "200" not in answers[3:]
    assert sold == 3
    status = failed["status"]
    assert status["stopReason"] == "StepLimit"
    assert status["usage"]["steps"] == 3
    assert status["usage"]["totalTokens"] == 3 * ANSWER_TOKENS
    product.kubectl("wait", "--for=delete", f"pod/{pod}", "-n", namespace, PATIENCE)


@pytest.mark.requirement("LIFE-5")
def test_no_process_is_left_of_a_cancel_by_force_that_says_so(product: Product, namespace: str, host: str) -> None:
    with serve_upstream(host, say("Ask again.")) as upstream:
        run_foreign(product, namespace, upstream, "wait", shutdown={"gracePeriodSeconds": 0})
        pod = live_pod(product, namespace, "wait").manifest()
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        assert processes_of(container) != []
        product.patch_session(namespace, "wait", operatingMode="Cancelled")
        status = product.wait_phase(namespace, "wait", "Cancelled")["status"]
        assert processes_of(container) == [], "it ignores SIGTERM: who calls it gone must have killed it"
    assert (status["stopReason"], status["podsRemaining"]) == ("ForceTerminated", 0)


@pytest.mark.requirement("LIM-1")
def test_agent_that_ignores_refusals_is_ended_at_max_tokens(product: Product, namespace: str, host: str) -> None:
    limit = 3 * ANSWER_TOKENS + 20  # room for the beginning of a fourth question, and not for what it would need
    with serve_upstream(host, say("Ask again.")) as upstream:
        limits = {"maxSteps": 100, "maxTokens": limit, "maxOutputTokens": OUTPUT_TOKENS}
        run_foreign(product, namespace, upstream, "forever", limits=limits)
        failed = product.wait_phase(namespace, "forever", "Failed")
        pod = failed["status"]["agents"][0]["podName"]  # still there: it ignores SIGTERM, as long as it is let
        answers = follow_until_over(product, namespace, pod)
        sold = upstream.sold()
    refused = answers.index("402 token_limit")
    assert answers[:refused] == ["200"] * sold
    assert "200" not in answers[refused:]
    status = failed["status"]
    assert status["stopReason"] == "TokenLimit"
    assert status["usage"]["steps"] == sold
    assert status["usage"]["totalTokens"] == sold * ANSWER_TOKENS
    assert limit - ANSWER_TOKENS < status["usage"]["totalTokens"] <= limit + ANSWER_TOKENS
    pods = product.session_pods(namespace, failed["metadata"]["uid"])
    assert all(found.metadata.deletion_timestamp for found in pods)


@pytest.mark.requirement("AG-1")
def test_foreign_image_that_makes_one_call_completes(product: Product, namespace: str, host: str) -> None:
    with serve_upstream(host, say("Forty-two.")) as upstream:
        run_foreign(product, namespace, upstream, "once")
        done = product.wait_phase(namespace, "once", "Completed")
        assert upstream.sold() == 1
    status = done["status"]
    assert status["stopReason"] == "GoalReached"
    assert status["usage"]["steps"] == 1
    outputs = [entry["body"]["text"] for entry in product.entries(namespace, "once") if entry["type"] == "output"]
    assert outputs == ["Forty-two."]


@pytest.mark.requirement("ID-5")
@pytest.mark.requirement("LIM-5")
def test_agent_pod_runs_restricted(product: Product, namespace: str) -> None:
    port = client.V1ServiceSpec(ports=[client.V1ServicePort(port=80)])
    product.core.create_namespaced_service(
        namespace, client.V1Service(metadata=client.V1ObjectMeta(name="decoy"), spec=port)
    )
    resources = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "192Mi"}}
    with held_session(product, namespace, "jailed", create_held_script(product, namespace), resources=resources) as pod:
        check_spec(pod.manifest()["spec"])
        check_cgroup(pod)
        check_process(pod)
        assert SERVICE_LINK not in pod.run("env").stdout
        assert pod.run("ls", "/var/run/secrets", check=False).returncode != 0
        refused = product.kubectl("create", "-f", "-", "-n", namespace, stdin=loosened(pod.manifest()), check=False)
        assert 'violates PodSecurity "restricted' in refused.stderr  # the namespace does enforce what ours fulfils


def check_spec(spec: Json) -> None:
    """Check what the API server says that runs, with all that admission made of it."""
    [container] = spec["containers"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert {volume["name"] for volume in spec["volumes"]} == {"workspace", "tmp", "token", "ca"}
    [token] = [source for volume in spec["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    assert token["serviceAccountToken"]["audience"] == "agentsessions-gateway"


def check_cgroup(pod: LivePod) -> None:
    """Check that the kernel holds the agent to what its session allows: cgroup v2, or v1."""
    files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert pod.run("sh", "-c", f"cat {files} 2>/dev/null", check=False).stdout.split() == [str(192 * 1024**2)]
    files = "/sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    assert pod.run("sh", "-c", f"cat {files} 2>/dev/null", check=False).stdout.split()[0] == "50000"


def check_process(pod: LivePod) -> None:
    """Check what the kernel says of the agent's process, and where it can write."""
    lines = (line.split(":", 1) for line in pod.run("cat", "/proc/1/status").stdout.splitlines())
    process = {name: value.split() for name, value in lines}
    assert process["Uid"] == ["65532"] * 4
    assert {process[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (process["NoNewPrivs"], process["Seccomp"]) == (["1"], ["2"])
    writable = pod.run(
        "find", "/", "(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o",
        "(", "-type", "d", "-o", "-type", "f", ")", "-writable", "-print",
        check=False,
    ).stdout.splitlines()  # fmt: skip
    places = {place for place in writable if place.startswith(("/workspace", "/tmp"))}  # noqa: S108  # the pod's
    assert {"/workspace", "/tmp"} <= places  # noqa: S108  # the pod's
    assert set(writable) - places <= OF_THE_RUNTIME
    for place in ("/", "/etc", "/opt/agentsessions", "/var/run/agentsessions/ca"):
        assert pod.run("touch", f"{place}/written", check=False).returncode != 0, f"{place} can be written"


def loosened(manifest: Json) -> str:
    """Return a pod of the agent's image that runs as root."""
    [container] = manifest["spec"]["containers"]
    loose = {"runAsUser": 0, "runAsNonRoot": False}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "loose"},
        "spec": {"containers": [{"name": "agent", "image": container["image"], "securityContext": loose}]},
    }
    return json.dumps(pod)
