"""The operator on a real API server: what it makes, what it writes, and that it does so once."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentsessions.api.levels import Closing, Level
from agentsessions.api.names import CA_CONFIG_MAP
from agentsessions.api.wire import Outcome
from agentsessions.children.names import pod_name
from agentsessions.controller.kinds import AGENT_SESSIONS, MODEL_PROVIDERS
from agentsessions.controller.store import Sessions
from agentsessions.controller.watched import Watched
from agentsessions.engine.client import Client, Resource
from agentsessions.engine.errors import AlreadyExists
from agentsessions.engine.resources import CONFIG_MAP, EVENT, NETWORK_POLICY, POD, SERVICE_ACCOUNT
from tests.integration.controller_cluster import (
    INSTALL_NAMESPACE,
    NAME,
    Kubelet,
    Namespace,
    OperatorProcess,
    await_audit_lines,
    fresh_namespace,
    open_client,
    own_cluster,
)
from tests.unit.controller.level_server import LevelServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

OPERATOR = "agentsessions-operator"
RESOURCE_QUOTA = Resource("", "v1", "resourcequotas", "ResourceQuota")


@dataclass
class World:
    """What a test acts upon."""

    client: Client
    kubelet: Kubelet
    gateway: LevelServer
    operator: OperatorProcess
    namespace: Namespace

    def level(self, session: dict[str, Any], **changes: Any) -> Level:
        """Return a level of a session that bought two answers."""
        meta = session["metadata"]
        figures = {"steps": 2, "input_tokens": 100, "output_tokens": 20, "turns": 2, "epoch_turns": 2, "head": 9}
        return Level(session_uid=meta["uid"], namespace=meta["namespace"], name=meta["name"], **{**figures, **changes})

    def closing(self, pod: dict[str, Any], epoch: int = 1) -> Closing:
        """Return the closing record of an epoch that gave the final answer."""
        return Closing(agent="agent", epoch=epoch, pod_uid=pod["metadata"]["uid"], outcome=Outcome.FINAL)


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with own_cluster(NAME) as kubeconfig:
        yield kubeconfig


@pytest.fixture
async def world(kubeconfig: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Start an operator; a test's parameter is its settings."""
    async with (
        open_client(kubeconfig) as client,
        LevelServer().serve() as gateway,
        fresh_namespace(client) as namespace,
    ):
        settings: dict[str, str] = getattr(request, "param", {})
        kubelet, operator = Kubelet(client), OperatorProcess(kubeconfig, gateway.url, tmp_path, **settings)
        await kubelet.join()
        node = asyncio.create_task(kubelet.run())
        gateway.say(synced=True)
        await operator.start()
        await namespace.create_provider()
        try:
            yield World(client, kubelet, gateway, operator, namespace)
        finally:
            code = await operator.stop()
            node.cancel()
            await asyncio.gather(node, return_exceptions=True)
        assert (code, operator.problems()) == (0, [])


async def complete(world: World, session: dict[str, Any]) -> dict[str, Any]:
    """Let a session run to its end; return it."""
    pod = await world.namespace.wait_pod()
    await world.namespace.wait_phase("Starting")
    await world.kubelet.start(pod)
    await world.namespace.wait_phase("Running")
    world.gateway.say(world.level(session, closing=world.closing(pod), result="42", digest="ab"))
    await world.kubelet.end(pod, 0)
    return await world.namespace.wait_phase("Completed")


@pytest.mark.requirement("OBJ-1")
@pytest.mark.requirement("LIM-3")
async def test_a_session_completes_with_result_and_usage(world: World) -> None:
    done = await complete(world, await world.namespace.create_session())
    status = done["status"]
    assert status["result"] == "42"
    assert status["stopReason"] == "GoalReached"
    assert status["usage"]["totalTokens"] == 120
    assert status["remaining"]["steps"] == 8
    assert status["journal"] == {"head": 9, "digest": "ab"}


async def test_an_ordinary_session_costs_four_writes_and_four_events_at_most(world: World) -> None:
    await complete(world, await world.namespace.create_session())
    last = await world.namespace.wait(EVENT, lambda raw: bool(raw["reason"] == "Completed"))
    lines = await await_audit_lines(world.namespace.name, last["metadata"]["name"])
    ours = [line for line in lines if line["userAgent"] == OPERATOR]
    writes = Counter(
        (line["verb"], line["objectRef"]["resource"], line["objectRef"].get("subresource", ""))
        for line in ours
        if line["verb"] not in {"get", "list", "watch"}
        and line["objectRef"]["resource"] not in {"serviceaccounts", "networkpolicies", "modelproviders", "configmaps"}
    )
    assert writes.pop(("create", "events", "")) <= 4
    assert writes == {("create", "pods", ""): 1, ("patch", "agentsessions", "status"): 3}
    kopfs = [line for line in lines if line["userAgent"].startswith(("kopf", "Python"))]
    assert [line for line in kopfs if line["verb"] not in {"get", "list", "watch"}] == []
    events = await world.namespace.list(EVENT)
    assert [
        e["reason"]
        for e in sorted(events, key=lambda e: e["eventTime"] or "")
        if e["regarding"]["kind"] == "AgentSession"
    ] == [
        "Starting",
        "Running",
        "Completed",
    ]


@pytest.mark.requirement("LIFE-11")
async def test_without_gateway_a_session_starts_and_then_waits_for_the_journal(world: World) -> None:
    world.gateway.break_stream()
    session = await world.namespace.create_session()
    pod = await world.namespace.wait_pod()
    await world.kubelet.start(pod)
    await world.namespace.wait_phase("Running")
    await world.kubelet.end(pod, 0)

    def is_waiting(raw: dict[str, Any]) -> bool:
        conditions = {c["type"]: c for c in raw["status"]["conditions"]}
        return bool(conditions["Reconciling"]["reason"] == "AwaitingJournal")

    waiting = await world.namespace.wait(AGENT_SESSIONS, is_waiting)
    assert waiting["status"]["phase"] == "Running"
    world.gateway.say(world.level(session, closing=world.closing(pod), result="42"), synced=True)
    done = await world.namespace.wait_phase("Completed")
    assert done["status"]["result"] == "42"


@pytest.mark.requirement("LIFE-11")
async def test_a_lost_pod_is_replaced_by_the_next_epoch(world: World) -> None:
    session = await world.namespace.create_session()
    pod = await world.namespace.wait_pod()
    await world.kubelet.start(pod)
    await world.namespace.wait_phase("Running")
    world.gateway.say(world.level(session))
    await world.client.delete(POD, world.namespace.name, pod["metadata"]["name"], grace_seconds=0)
    again = await world.namespace.wait_pod(epoch=2)
    await world.kubelet.start(again)
    status = (await world.namespace.wait(AGENT_SESSIONS, lambda raw: raw["status"]["agents"][0]["epoch"] == 2))[
        "status"
    ]
    assert status["agents"][0]["podUID"] == again["metadata"]["uid"]


@pytest.mark.requirement("LIFE-5")
async def test_cancel_ends_the_pod_and_proves_it(world: World) -> None:
    await world.namespace.create_session()
    await world.kubelet.start(await world.namespace.wait_pod())
    await world.namespace.wait_phase("Running")
    await world.namespace.patch_session(operatingMode="Cancelled")
    status = (await world.namespace.wait_phase("Cancelled"))["status"]
    assert status["podsRemaining"] == 0
    assert status["stoppedAt"]
    assert await world.namespace.list(POD) == []


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restarted_operator_goes_on_without_a_second_pod(world: World, by: signal.Signals) -> None:
    session = await world.namespace.create_session()
    pod = await world.namespace.wait_pod()
    await world.operator.stop(by=by)
    await world.kubelet.start(pod)
    world.gateway.break_stream()
    world.gateway.say(world.level(session), synced=True)
    await world.operator.start()
    running = await world.namespace.wait_phase("Running")
    assert [row["epoch"] for row in running["status"]["agents"]] == [1]
    assert [p["metadata"]["uid"] for p in await world.namespace.list(POD)] == [pod["metadata"]["uid"]]


@pytest.mark.requirement("OBJ-6")
async def test_context_is_frozen_and_changes_of_its_source_are_not_seen(world: World) -> None:
    reference = {"name": "sales", "key": "sales.csv"}
    await world.namespace.create_session(context={"files": [{"path": "in/sales.csv", "configMapKeyRef": reference}]})
    waiting = await world.namespace.wait(AGENT_SESSIONS, lambda raw: bool(raw.get("status")))
    condition = next(c for c in waiting["status"]["conditions"] if c["type"] == "Accepted")
    assert condition["reason"] == "ConfigMapNotFound"
    assert "spec.context.files[in/sales.csv]" in condition["message"]
    await world.namespace.create(CONFIG_MAP, "sales", data={"sales.csv": "a,b"})
    pod = await world.namespace.wait_pod()
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "context")
    snapshot = await world.namespace.get(CONFIG_MAP, volume["configMap"]["name"])
    assert snapshot["immutable"] is True
    assert snapshot["data"] == {"file-0": "a,b"}


async def test_a_pending_session_starts_as_soon_as_its_provider_is_there(world: World) -> None:
    agents = [{"name": "agent", "model": {"providerRef": {"name": "later"}}}]
    await world.namespace.create_session(agents=agents)
    pending = await world.namespace.wait_phase("Pending")
    assert accepted(pending) == ("False", "ProviderNotFound")
    await world.namespace.create_provider("later")
    await world.namespace.wait_phase("Starting")


async def test_a_provider_with_a_broken_script_says_so(world: World) -> None:
    script = {"rules": [{"when": {"text": "("}, "answer": {"text": "x"}}]}
    spec = {"type": "Scripted", "models": [{"name": "small"}], "script": script}
    await world.namespace.create(MODEL_PROVIDERS, "broken", spec=spec)
    found = await world.namespace.wait(
        MODEL_PROVIDERS, lambda raw: raw["metadata"]["name"] == "broken" and bool(raw.get("status"))
    )
    (ready,) = found["status"]["conditions"]
    assert (ready["status"], ready["reason"]) == ("False", "ScriptInvalid")


@pytest.mark.requirement("ID-5")
async def test_a_namespace_gets_service_account_policy_and_ca(world: World) -> None:
    ca = {"metadata": {"name": CA_CONFIG_MAP}, "data": {"ca.crt": "made-up"}}
    try:
        await world.client.create(CONFIG_MAP, INSTALL_NAMESPACE, ca)
    except AlreadyExists:
        await world.client.merge_patch(CONFIG_MAP, INSTALL_NAMESPACE, CA_CONFIG_MAP, ca)
    await world.namespace.create_session()
    await world.namespace.wait_pod()
    copy = await world.namespace.get(CONFIG_MAP, CA_CONFIG_MAP)
    assert copy["data"] == {"ca.crt": "made-up"}
    assert (await world.namespace.get(SERVICE_ACCOUNT, "agentsessions-runner"))["automountServiceAccountToken"] is False
    policy = await world.namespace.get(NETWORK_POLICY, "agentsessions-runner")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


async def test_a_deleted_service_account_comes_back_with_the_next_pod(world: World) -> None:
    await world.namespace.create_session("one")
    await world.namespace.wait_pod()
    await world.client.delete(SERVICE_ACCOUNT, world.namespace.name, "agentsessions-runner")
    await world.namespace.create_session("two")
    await world.namespace.wait(POD, lambda raw: raw["metadata"]["name"].startswith("two-"))


def accepted(raw: dict[str, Any]) -> tuple[str, str]:
    """Return status and reason of a session's condition Accepted."""
    conditions = {c["type"]: c for c in raw.get("status", {}).get("conditions", [])}
    found = conditions.get("Accepted", {"status": "", "reason": ""})
    return found["status"], found["reason"]


def ready(raw: dict[str, Any]) -> tuple[str, str]:
    conditions = {c["type"]: c for c in raw.get("status", {}).get("conditions", [])}
    found = conditions.get("Ready", {"status": "", "reason": ""})
    return found["status"], found["reason"]


async def test_a_pod_name_that_somebody_else_has_costs_an_epoch(world: World) -> None:
    agents = [{"name": "agent", "model": {"providerRef": {"name": "later"}}}]
    session = await world.namespace.create_session(agents=agents)
    await world.namespace.wait_phase("Pending")
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    taken = pod_name("rows", session["metadata"]["uid"], "agent", 1)
    container = {"name": "c", "image": "i", "securityContext": restricted}
    await world.namespace.create(POD, taken, spec={"containers": [container]})
    await world.namespace.create_provider("later")
    status = (await world.namespace.wait_phase("Starting"))["status"]
    assert status["agents"][0]["epoch"] == 2


async def test_a_pod_that_a_quota_forbids_is_told_before_acceptance(world: World) -> None:
    await world.namespace.create(RESOURCE_QUOTA, "none", spec={"hard": {"pods": "0"}})
    await world.namespace.wait(RESOURCE_QUOTA, lambda raw: "hard" in raw.get("status", {}))
    await world.namespace.create_session()
    await world.namespace.wait(AGENT_SESSIONS, lambda raw: accepted(raw) == ("False", "PodRefused"))
    await world.client.delete(RESOURCE_QUOTA, world.namespace.name, "none")
    await world.namespace.wait_phase("Starting")


@pytest.mark.requirement("LIFE-4")
async def test_pause_before_the_start_makes_no_pod_and_resume_does(world: World) -> None:
    await world.namespace.create_session(operatingMode="Paused")
    await world.namespace.wait_phase("Paused")
    assert await world.namespace.list(POD) == []
    await world.namespace.patch_session(operatingMode="Running")
    await world.namespace.wait_pod()
    await world.namespace.wait_phase("Starting")


@pytest.mark.requirement("LIFE-12")
@pytest.mark.parametrize("world", [{"AGENTSESSIONS_DEADLINE_STARTING_SECONDS": "4"}], indirect=True)
async def test_a_pod_that_never_runs_says_why_fails_at_the_deadline_and_costs_few_writes(world: World) -> None:
    await world.namespace.create_session(agents=[{"name": "agent", "image": "registry.example/none:1"}])
    pod = await world.namespace.wait_pod()
    await world.kubelet.refuse(pod, "ImagePullBackOff", "no such image")
    waiting = await world.namespace.wait(AGENT_SESSIONS, lambda raw: ready(raw) == ("False", "ImagePullBackOff"))
    assert waiting["status"]["phase"] == "Starting"
    failed = await world.namespace.wait_phase("Failed")
    assert failed["status"]["stopReason"] == "StartFailed"
    assert "no pod ran within 4 s: ImagePullBackOff" in failed["status"]["error"]["message"]
    await world.namespace.wait_gone(POD)
    last = await world.namespace.wait(EVENT, lambda raw: bool(raw["reason"] == "StartFailed"))
    lines = await await_audit_lines(world.namespace.name, last["metadata"]["name"])
    calls = [(line["verb"], line["objectRef"]["resource"]) for line in lines if line["userAgent"] == OPERATOR]
    assert calls.count(("patch", "agentsessions")) <= 4
    assert (calls.count(("create", "pods")), calls.count(("delete", "pods"))) == (1, 1)


@pytest.mark.requirement("LIFE-5")
@pytest.mark.parametrize("world", [{"AGENTSESSIONS_DEADLINE_ENDING_SECONDS": "2"}], indirect=True)
async def test_a_pod_that_nobody_saw_end_counts_as_left_after_the_cancel_until_it_is_gone(world: World) -> None:
    session = await world.namespace.create_session(shutdown={"gracePeriodSeconds": 1})
    pod = await world.namespace.wait_pod()
    await world.namespace.wait_phase("Starting")
    await world.kubelet.start(pod)
    await world.namespace.wait_phase("Running")
    world.gateway.say(world.level(session))
    world.kubelet.is_dead = True
    await world.namespace.patch_session(operatingMode="Cancelled")
    status = (await world.namespace.wait_phase("Cancelled"))["status"]
    assert (status["stopReason"], status["podsRemaining"]) == ("ForceTerminated", 1)
    (left,) = await world.namespace.list(POD)
    assert left["metadata"]["deletionGracePeriodSeconds"] == 1, "killed, and not forgotten"
    await world.kubelet.remove(left)
    await world.namespace.wait(AGENT_SESSIONS, lambda raw: raw["status"]["podsRemaining"] == 0)


async def test_deleting_a_session_writes_nothing_more(world: World) -> None:
    await world.namespace.create_session()
    await world.namespace.wait_pod()
    await world.namespace.wait_phase("Starting")
    await world.client.delete(AGENT_SESSIONS, world.namespace.name, "rows")
    await world.namespace.wait_gone(POD)
    key = f"{world.namespace.name}/rows"
    assert [line for line in world.operator.lines if line.get("key") == key] == []


async def test_the_sweep_finds_what_the_stream_missed(world: World) -> None:
    changed: list[str] = []
    gone: list[str] = []
    sessions = Sessions()
    watched = Watched(
        world.client, AGENT_SESSIONS, sessions, on_change=changed.append, on_gone=lambda key, _: gone.append(key)
    )
    await world.namespace.create_session(operatingMode="Paused")
    key = f"{world.namespace.name}/rows"
    await watched.sweep()
    assert key in changed
    await world.client.delete(AGENT_SESSIONS, world.namespace.name, "rows")
    await watched.sweep()
    assert gone == [key]
    assert sessions.get(key) is None
