"""To another build and back, and away and back, while sessions run, as docs/upgrade.md tells it: none is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.faults import component, until
from tests.e2e.product import LONG_SECONDS, ROOT, SYSTEM, Product, cluster_says
from tests.e2e.provider import CountingProvider, run_shell, say
from tests.e2e.replicas import install_anew, roll_back, upgraded
from tests.e2e.seeds import a_user, an_agent, connect
from tests.e2e.stage import EFFECTS, WAIT_FOR_GO, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.slow]

NEXT = Path(__file__).parent / "next" / "Dockerfile"
ECHO = {"answer": {"text": "You said: ${text}"}}
AGENTS = an_agent(model={"providerRef": {"name": "echo"}})
STANDING = "standing"
LONG_TOOL = (
    run_shell(f"echo one >> {EFFECTS}"),
    run_shell(f"{WAIT_FOR_GO}; echo two >> {EFFECTS}", timeout=LONG_SECONDS),
    say("Both are written."),
)
"""Answers of a session whose second call lasts over all that happens to the installation."""


@pytest.fixture
def stage(product: Product, namespace: str, host: str) -> Iterator[Stage]:
    with CountingProvider(host, LONG_TOOL).serve() as provider:
        yield Stage(product, namespace, provider)


def images(product: Product) -> set[str]:
    """Return what the product's pods run."""
    return {
        container.image
        for name in ("agentsessions-operator", "agentsessions-gateway")
        for pod in product.core.list_namespaced_pod(SYSTEM, label_selector=component(name)).items
        if pod.metadata.deletion_timestamp is None
        for container in pod.spec.containers
    }


def service_address(product: Product) -> str:
    """Return where agents find the gateway."""
    address: str = product.core.read_namespaced_service("agentsessions-gateway", SYSTEM).spec.cluster_ip
    return address


def talk_on(product: Product, namespace: str, text: str) -> str:
    """Say something in the one conversation, and return the reply."""
    body = {"sessionId": "talk", "agents": AGENTS, "waitSeconds": 110, "message": text}
    with connect(product, namespace) as api:
        reply: str = api.send("POST", "conversation", 200, body)["reply"]
    return reply


def create_paused(product: Product, namespace: str) -> None:
    """Make a session that stands still before its first step."""
    product.create_session(namespace, STANDING, goal="Go on.", agents=AGENTS, operatingMode="Paused")
    product.wait_phase(namespace, STANDING, "Paused")


@pytest.mark.requirement("OPS-7")
def test_upgrade_and_rollback_lose_no_session(product: Product, namespace: str, stage: Stage) -> None:
    product.create_script(namespace, "echo", ECHO)
    stage.begin()
    pod = stage.running_pod()
    stage.await_tool()
    create_paused(product, namespace)
    old = images(product)
    repository, _, tag = cluster_says("image", "--dockerfile", str(NEXT)).rpartition(":")
    with a_user(product, namespace):
        assert talk_on(product, namespace, "one") == "You said: one"
    crds = str(ROOT / "helm" / "agentsessions" / "crds")
    product.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
    with upgraded(product, {"image.repository": repository, "image.tag": tag}):
        assert images(product) == {f"{repository}:{tag}"}
        assert talk_on(product, namespace, "two") == "You said: two"
        product.patch_session(namespace, STANDING, operatingMode="Running")
        product.wait_phase(namespace, STANDING, "Completed")
        roll_back(product)
        assert images(product) == old
        assert talk_on(product, namespace, "three") == "You said: three"
        stage.let_tool_end()
        done = stage.finish()
        with connect(product, namespace) as api:
            (talk,) = api.get("agent-sessions", sessionId="talk")["items"]
            for name in (stage.name, STANDING, talk["name"]):
                assert api.get(f"agent-sessions/{name}/verify")["problems"] == []
    assert done["status"]["agents"][0]["epoch"] == 1, "the agent's pod outlived both"
    assert done["status"]["agents"][0]["podName"] == pod.metadata.name
    assert stage.effects() == ["one", "two"]
    assert stage.provider.asked == [1, 2, 3]


@pytest.mark.requirement("OPS-7")
def test_session_goes_on_where_the_product_was_removed_and_installed_anew(product: Product, stage: Stage) -> None:
    stage.begin()
    stage.running_pod()
    stage.await_tool()
    with upgraded(product, {}):
        before = service_address(product)
        install_anew(product)
        assert service_address(product) != before, "pods look for the gateway at an address that it has no more"
        until(lambda: stage.epoch() == 2, "a pod that knows the new address takes over")
        stage.let_tool_end()
        stage.finish()
    assert stage.effects() == ["one", "two"]
    assert stage.provider.asked == [1, 2, 3]
