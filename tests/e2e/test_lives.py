"""The life stories of manifests/samples/lives, played on real pods as their comments tell a person to."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.faults import until
from tests.e2e.product import PATIENCE, SAMPLES, Forward, Json, Product

pytestmark = pytest.mark.e2e

LIVES = SAMPLES / "lives"
CANCEL_GRACE_SECONDS = 5
"""As the sample says."""
ONE_TURN_SECONDS = 1
"""An answer of 200 ms and a line of shell, by its sample."""
SLACK_SECONDS = 5
"""What the product may need on top, until status says so."""


def apply(product: Product, namespace: str, name: str) -> None:
    product.kubectl("apply", "-n", namespace, "-f", str(LIVES / name))


def message_of(session: Json) -> str:
    found = session["status"]["conditions"]
    return str(next(one["message"] for one in found if one["type"] == "Ready"))


def steps_of(product: Product, namespace: str, name: str) -> list[int]:
    """Return the numbers of the steps that were completed, in the journal's order."""
    return [e["step"] for e in product.entries(namespace, name) if e["type"] == "step_complete"]


def live_pods(product: Product, namespace: str, session: Json) -> list[str]:
    pods = product.session_pods(namespace, session["metadata"]["uid"])
    return [pod.metadata.name for pod in pods if pod.status.phase not in {"Succeeded", "Failed"}]


@pytest.mark.alone  # it measures time
@pytest.mark.requirement("LIFE-4")
def test_paused_counter_goes_on_at_the_next_step_and_counts_each_number_once(product: Product, namespace: str) -> None:
    apply(product, namespace, "pause.yaml")
    product.wait_phase(namespace, "counter", "Running")
    with product.gateway() as gateway:
        await_step(gateway, namespace, "counter", 3)
    asked_at = time.monotonic()
    product.patch_session(namespace, "counter", operatingMode="Paused")
    paused = product.wait_phase(namespace, "counter", "Paused")
    took = time.monotonic() - asked_at
    print(f"paused after {took:.1f} s")  # noqa: T201  # pytest shows it with the figures
    assert took < ONE_TURN_SECONDS + SLACK_SECONDS
    assert live_pods(product, namespace, paused) == []
    before = steps_of(product, namespace, "counter")
    assert before == list(range(1, len(before) + 1))
    product.patch_session(namespace, "counter", operatingMode="Running")
    done = product.wait_phase(namespace, "counter", "Completed")
    assert steps_of(product, namespace, "counter") == list(range(1, 21))
    assert done["status"]["agents"][0]["epoch"] == 2
    assert (workspace_of(product, namespace) / "counted").read_text().split() == [str(n) for n in range(1, 20)]


def await_step(gateway: Forward, namespace: str, name: str, number: int) -> None:
    """Wait until a step is complete."""

    def is_there() -> bool:
        steps = gateway.get(f"/{name}/steps", namespace=namespace)["items"]
        return any(step["number"] > number for step in steps)

    until(is_there, f"step {number} is complete")


def workspace_of(product: Product, namespace: str) -> Path:
    """Return the folder of the namespace's one claim on the node, which is this machine."""
    (claim,) = product.core.list_namespaced_persistent_volume_claim(namespace).items
    volume = product.core.read_persistent_volume(claim.spec.volume_name).spec
    return Path((volume.local or volume.host_path).path)


@pytest.mark.alone  # it measures time
@pytest.mark.requirement("LIFE-5")
def test_cancel_in_the_middle_of_an_answer_ends_all_spending(product: Product, namespace: str) -> None:
    apply(product, namespace, "cancel.yaml")
    with product.gateway() as gateway:
        until(is_buying(gateway, namespace, "endless"), "an answer is being bought")
    asked_at = time.monotonic()
    product.patch_session(namespace, "endless", operatingMode="Cancelled")
    cancelled = product.wait_phase(namespace, "endless", "Cancelled")
    took = time.monotonic() - asked_at
    print(f"cancelled after {took:.1f} s")  # noqa: T201  # pytest shows it with the figures
    assert took < CANCEL_GRACE_SECONDS + SLACK_SECONDS, "the answer alone takes a minute"
    status = cancelled["status"]
    assert (status["stopReason"], status["podsRemaining"]) == ("UserCancelled", 0)
    assert status["stoppedAt"]
    assert "(no longer needed)" in message_of(cancelled)
    assert live_pods(product, namespace, cancelled) == []
    entries = product.entries(namespace, "endless")
    (done,) = [entry for entry in entries if entry["type"] == "done"]
    assert done["body"]["usage"]["totalTokens"] == status["usage"]["totalTokens"], "nothing is charged after the end"
    assert [e["type"] for e in entries if e["seq"] > done["seq"]] == []
    assert status["usage"]["costMicroUSD"] > 0


def is_buying(gateway: Forward, namespace: str, name: str) -> Callable[[], bool]:
    """Return a question: has the session's first step begun?"""

    def has_begun() -> bool:
        answer = gateway.http.get(f"/api/v1/agent-sessions/{name}", params={"namespace": namespace})
        head = answer.json().get("head", 0) if answer.status_code == 200 else 0
        if not head:
            return False
        with gateway.http.stream(
            "GET", f"/api/v1/agent-sessions/{name}/events", params={"namespace": namespace, "after": 0}
        ) as events:
            for line in events.iter_lines():
                if line == "event: step_start":
                    return True
        return False

    return has_begun


@pytest.mark.requirement("LIM-2")
@pytest.mark.requirement("LIM-3")
def test_raised_limit_lifts_the_pause_by_itself(product: Product, namespace: str) -> None:
    apply(product, namespace, "limit-pause.yaml")
    paused = product.wait_phase(namespace, "frugal", "Paused")
    assert (paused["status"]["stopReason"], paused["status"]["usage"]["steps"]) == ("StepLimit", 2)
    assert paused["status"]["remaining"]["steps"] == 0
    assert live_pods(product, namespace, paused) == []
    product.patch_session(namespace, "frugal", limits={"maxSteps": 5})
    done = product.wait_phase(namespace, "frugal", "Completed")
    usage = done["status"]["usage"]
    assert usage["steps"] == 4
    exact = (usage["inputTokens"] * 250_000 + usage["outputTokens"] * 2_000_000) / 10**6
    assert 0 <= usage["costMicroUSD"] - exact < usage["steps"], "each answer's cost is rounded up"
    assert done["status"]["remaining"]["costMicroUSD"] == 100_000 - usage["costMicroUSD"]


@pytest.mark.requirement("LIFE-8")
@pytest.mark.requirement("CONV-3")
@pytest.mark.requirement("CONV-4")
def test_conversation_idles_without_a_pod_wakes_for_a_message_and_closes(product: Product, namespace: str) -> None:
    apply(product, namespace, "conversation.yaml")
    idle = product.wait_phase(namespace, "talk", "Idle")
    assert product.session_pods(namespace, idle["metadata"]["uid"]) == [], "nobody said anything yet"
    for number, text in enumerate(("Hello.", "Are you still there?"), 1):
        say(product, namespace, "talk", text)
        idle = product.wait_for(namespace, "talk", is_idle_after(number), f"idle after epoch {number}")
        await_no_pod(product, namespace, idle["metadata"]["uid"])
    product.patch_session(namespace, "talk", conversation={"open": False})
    done = product.wait_phase(namespace, "talk", "Completed")
    assert done["status"]["result"] == "You said: Are you still there?"
    said = [e["body"].get("content") or e["body"].get("text") for e in product.entries(namespace, "talk")
            if e["type"] in {"message", "output"}]  # fmt: skip
    assert said == ["Hello.", "You said: Hello.", "Are you still there?", "You said: Are you still there?"]


def is_idle_after(epoch: int) -> Callable[[Json], bool]:
    """Return a question: is the session idle, its agent's epoch over?"""

    def is_idle(session: Json) -> bool:
        status = session.get("status", {})
        rows = status.get("agents") or [{"epoch": 0}]
        return (status.get("phase"), rows[0]["epoch"]) == ("Idle", epoch)

    return is_idle


def await_no_pod(product: Product, namespace: str, uid: str) -> None:
    until(lambda: not product.session_pods(namespace, uid), "no pod is left")


def say(product: Product, namespace: str, name: str, text: str) -> Json:
    """Send a message to a session as somebody who may."""
    product.kubectl("create", "serviceaccount", "speaker", "-n", namespace, check=False)
    words = ("create", "rolebinding", "speaker", "--clusterrole=edit", f"--serviceaccount={namespace}:speaker")
    product.kubectl(*words, "-n", namespace, check=False)
    with product.gateway(product.token_of(namespace, "speaker")) as gateway:
        path = f"/api/v1/agent-sessions/{name}/messages"
        answer = gateway.http.post(path, params={"namespace": namespace}, json={"content": text})
    assert answer.status_code == 201, answer.text
    stored: Json = answer.json()
    return stored


@pytest.mark.requirement("OBJ-2")
def test_metrics_session_plays_its_rounds_without_drift(product: Product, namespace: str) -> None:
    apply(product, namespace, "metrics.yaml")
    done = product.wait_phase(namespace, "load", "Completed")
    rounds = [e["body"] for e in product.entries(namespace, "load") if e["type"] == "round_complete"]
    told = done["status"]["round"]
    assert told["completed"] + told["missed"] == 3
    assert len(rounds) == told["completed"] >= 2
    due = [datetime.fromisoformat(r["dueAt"]).timestamp() for r in rounds]
    assert all((at - due[0]) % 3 == pytest.approx(0, abs=0.001) for at in due)
    assert all(r["text"].startswith("load: ") for r in rounds)


@pytest.mark.requirement("LIFE-9")
def test_short_lived_sessions_expire_and_go(product: Product, namespace: str) -> None:
    apply(product, namespace, "short-lived.yaml")
    uid = product.wait_phase(namespace, "short-lived", "Completed")["metadata"]["uid"]
    forgotten = product.wait_phase(namespace, "forgotten", "Expired")
    assert forgotten["status"]["stopReason"] == "Inactive"
    gone = ("wait", "-n", namespace, "--for=delete", "agentsession/short-lived", PATIENCE)
    product.kubectl(*gone)
    with product.gateway() as gateway:
        kept = gateway.get(f"/{uid}/verify", namespace=namespace)
    assert kept["ok"]
    assert kept["head"] > 0
