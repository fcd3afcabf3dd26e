"""Sessions that work together, on real pods: commands and answers, an observer, an emergency stop, their end."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.e2e.commandline import CommandLine, let_speak
from tests.e2e.faults import until
from tests.e2e.product import SAMPLES, Forward, Json, Product
from tests.e2e.test_lives import live_pods, say
from tests.e2e.volumes import lines_of

pytestmark = pytest.mark.e2e

STORY = SAMPLES / "stories" / "orchestration.yaml"
DIRECTOR, OBSERVER, QUOTA = "main-director", "performance-monitor", "orchestration"
DEPARTMENTS = ("data-processor", "notifier", "validator")


def mail(gateway: Forward, namespace: str, name: str, **which: str) -> list[Json]:
    found: list[Json] = gateway.get(f"/{name}/mailbox", namespace=namespace, **which)["items"]
    return found


def last_text(gateway: Forward, namespace: str, name: str) -> str:
    found = gateway.get(f"/{name}/messages/recent", namespace=namespace, count=1)["items"]
    return str(found[0]["content"]) if found else ""


def await_text(gateway: Forward, namespace: str, text: str) -> None:
    until(lambda: last_text(gateway, namespace, DIRECTOR) == text, f"the director says {text!r}")


def ready_message(session: Json) -> str:
    conditions = session.get("status", {}).get("conditions", [])
    return next((str(one["message"]) for one in conditions if one["type"] == "Ready"), "")


@pytest.mark.requirement("AG-4")
@pytest.mark.requirement("AG-5")
@pytest.mark.requirement("AG-9")
@pytest.mark.requirement("LIFE-7")
@pytest.mark.requirement("OBJ-4")
@pytest.mark.requirement("OPS-1")
@pytest.mark.requirement("OPS-2")
def test_orchestration_works_is_observed_held_and_ends_departments_first(product: Product, namespace: str) -> None:
    product.kubectl("apply", "-n", namespace, "-f", str(STORY))
    product.wait_phase(namespace, DIRECTOR, "Starting", "Running", "Idle")  # the gateway knows it then
    with product.gateway() as gateway:
        await_text(gateway, namespace, "Orchestration complete.")
        check_messages(gateway, namespace)
        check_work(product, namespace)
        check_figures(product, gateway, namespace)
        hold_and_release(product, gateway, namespace)
        shut_down(product, namespace)
        check_observer(product, gateway, namespace)


def check_messages(gateway: Forward, namespace: str) -> None:
    sent = mail(gateway, namespace, DIRECTOR, box="sent")
    assert sorted(one["receiver"] for one in sent) == list(DEPARTMENTS), "they take turns"
    assert {one["kind"] for one in sent} == {"COMMAND"}
    assert sorted(one["priority"] for one in sent) == [2, 2, 3]
    assert all(one["state"] == "answered" and "repliedAt" in one for one in sent)
    came = mail(gateway, namespace, DIRECTOR, kind="PROGRESS_REPORT")
    assert {one["correlationId"] for one in came} == {one["id"] for one in sent}
    assert sorted(one["content"] == "Half way." for one in came) == [False] * 3 + [True] * 3
    assert mail(gateway, namespace, DIRECTOR, kind="ERROR") == []


def check_work(product: Product, namespace: str) -> None:
    """Each department did its command once, on a volume of its own."""
    done = {name: lines_of(product, namespace, name, "department", "done.txt") for name in DEPARTMENTS}
    assert done.pop("notifier") == ["Tell the customers about both."]
    assert sorted(done.values()) == [["Process batch 1."], ["Process batch 2."]]


def check_figures(product: Product, gateway: Forward, namespace: str) -> None:
    """Health, performance and statistics, over HTTP and by the command line."""
    roles = {"Department": 3, "Director": 1, "Observer": 1}
    assert gateway.http.get("/api/v1/stats", params={"namespace": namespace}).json()["byRole"] == roles
    let_speak(product, namespace)
    cli = CommandLine(product, namespace)
    assert json.loads(cli("stats", "-o", "json").stdout)["stats"]["byRole"] == roles
    health = gateway.get(f"/{DIRECTOR}/health", namespace=namespace)
    assert (health["status"], health["messageQueue"], health["errorRate"]) == ("healthy", 0, 0)
    performance = gateway.get(f"/{DIRECTOR}/metrics", namespace=namespace)
    assert performance["messagesProcessed"] > 0
    assert performance["errorRate"] == 0


def hold_and_release(product: Product, gateway: Forward, namespace: str) -> None:
    """Emergency stop: what runs stops, what is idle stays so, what comes waits, and all goes on when released."""
    hold = '{"spec":{"hold":%s,"holdReason":"something is wrong"}}'
    product.kubectl("patch", "sq", QUOTA, "-n", namespace, "--type=merge", "-p", hold % "true")
    words = f"SessionQuota {QUOTA} holds this namespace: something is wrong; set its spec.hold to false to go on"
    stopped = product.wait_phase(namespace, OBSERVER, "Paused")
    assert stopped["status"]["stopReason"] == "Emergency"
    say(product, namespace, DIRECTOR, "How are things?")
    product.create_session(namespace, "late", goal="Say hello.")
    for name in (DIRECTOR, OBSERVER, *DEPARTMENTS, "late"):
        held = product.wait_for(namespace, name, lambda one: ready_message(one).startswith(words), "told of the hold")
        assert held["status"]["phase"] in {"Paused", "Idle", "Queued"}
        until(lambda: live_pods(product, namespace, held) == [], f"{name} has no pod")  # noqa: B023  # waited for here
    product.kubectl("patch", "sq", QUOTA, "-n", namespace, "--type=merge", "-p", hold % "false")
    await_text(gateway, namespace, "All is done.")
    product.wait_phase(namespace, "late", "Completed")


def shut_down(product: Product, namespace: str) -> None:
    """Departments end first, the director last, each with its reason."""
    product.patch_session(namespace, DIRECTOR, operatingMode="Cancelled")
    ended = product.wait_phase(namespace, DIRECTOR, "Cancelled")
    assert "(orchestration-complete)" in ready_message(ended)
    departments = [product.session(namespace, name) for name in DEPARTMENTS]
    assert {one["status"]["phase"] for one in departments} == {"Cancelled"}
    assert {one["status"]["podsRemaining"] for one in (*departments, ended)} == {0}
    versions = [int(one["metadata"]["resourceVersion"]) for one in (*departments, ended)]
    assert max(versions) == versions[-1], "the director's end was written last"
    assert all(ready_message(one).endswith(f"(with its director {DIRECTOR})") for one in departments)


def check_observer(product: Product, gateway: Forward, namespace: str) -> None:
    """It saw the others work and end, round after round, and could do nothing to them."""
    ended = "The director is Cancelled and healthy"
    until(lambda: last_text(gateway, namespace, OBSERVER).startswith(ended), "the observer has seen the end")
    entries = product.entries(namespace, OBSERVER)
    told = [e["body"]["text"] for e in entries if e["type"] == "round_complete"]
    assert any(re.fullmatch(r"The director is (Running|Idle) and healthy, .*", text) for text in told)
    tried = {(e["body"]["name"], e["body"]["isError"]) for e in entries if e["type"] == "tool_result"}
    assert tried == {("observe", False), ("send_command", True), ("shell", True)}
    assert mail(gateway, namespace, OBSERVER, box="sent") == []


COMMANDS = 3
TIME: Json = {"timeoutSeconds": 600}
"""On a node that others use, too."""
RULES: list[Json] = [
    *(
        {
            "when": {"agent": "director", "step": number + 1},
            "answer": {
                "toolCalls": [
                    {"name": "send_command", "arguments": {"to": f"department-{name}", "task": f"Task {number}."}}
                    for name in ("a", "b")
                ]
            },
        }
        for number in range(COMMANDS)
    ),
    {"when": {"agent": "director", "text": r"^\[report from"}, "answer": {"text": "All done."}},
    {"when": {"agent": "director"}, "answer": {"text": "I wait."}},
    {"answer": {"text": "${text}", "delayMilliseconds": 2500}},
]


def an_agent(name: str) -> list[Json]:
    return [{"name": name, "model": {"providerRef": {"name": "team"}}}]


@pytest.mark.requirement("AG-4")
@pytest.mark.requirement("LIFE-11")
def test_commands_are_delivered_once_in_order_though_pods_are_killed(product: Product, namespace: str) -> None:
    product.create_script(namespace, "team", *RULES)
    serves: Json = {
        "role": "Department",
        "directorRef": {"name": "boss"},
        "conversation": {"open": True},
        "agents": an_agent("department"),
        "limits": TIME,
    }
    product.create_session(namespace, "boss", role="Director", goal="Go.", agents=an_agent("director"), limits=TIME)
    for name in ("a", "b"):
        product.create_session(namespace, f"department-{name}", **serves)
    product.wait_phase(namespace, "boss", "Running", "Idle")
    with product.gateway() as gateway:
        until(lambda: len(replied(gateway, namespace)) >= 1, "the first command is answered")
        for name in ("department-a", "boss"):
            kill_pod(product, namespace, name)
        done = product.wait_phase(namespace, "boss", "Completed")
        assert done["status"]["result"] == "All done."
        for name in ("department-a", "department-b"):
            check_order(gateway, namespace, name)
            assert product.wait_phase(namespace, name, "Completed")["status"]["stopReason"] == "GoalReached"


def replied(gateway: Forward, namespace: str) -> list[Json]:
    return [one for one in mail(gateway, namespace, "boss", box="sent") if "repliedAt" in one]


def kill_pod(product: Product, namespace: str, name: str) -> None:
    """End the session's pod by force, as a lost node does."""
    (row,) = product.session(namespace, name)["status"]["agents"]
    product.kubectl("delete", "pod", "-n", namespace, row["podName"], "--grace-period=0", "--force", "--wait=false")


def check_order(gateway: Forward, namespace: str, name: str) -> None:
    """Each command was taken once and in order, and its answer came once and in order."""
    commands = mail(gateway, namespace, name)
    assert [one["content"] for one in commands] == [f"Task {number}." for number in range(COMMANDS)]
    answers = [one for one in mail(gateway, namespace, "boss") if one["sender"] == name]
    assert [one["correlationId"] for one in answers] == [one["id"] for one in commands]
    told: list[Any] = gateway.get(f"/{name}/messages", namespace=namespace)["items"]
    taken = [one["id"] for one in told if one.get("kind") == "COMMAND"]
    assert taken == [one["id"] for one in commands], json.dumps(told)
    turns = [one["turn"] for one in told if one.get("kind") == "COMMAND"]
    assert turns == sorted(set(turns))
