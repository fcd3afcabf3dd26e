"""Sessions that work together, on real pods: commands and answers, an observer, the order of the end."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.e2e.faults import until
from tests.e2e.product import SAMPLES, Forward, Json, Product

pytestmark = pytest.mark.e2e

DIRECTOR, OBSERVER = "main-director", "performance-monitor"
DEPARTMENTS = ("department-communication", "department-data", "department-validation")


def mail(gateway: Forward, namespace: str, name: str, **which: str) -> list[Json]:
    found: list[Json] = gateway.get(f"/{name}/mailbox", namespace=namespace, **which)["items"]
    return found


def last_text(gateway: Forward, namespace: str, name: str) -> str:
    found = gateway.get(f"/{name}/messages/recent", namespace=namespace, count=1)["items"]
    return str(found[0]["content"]) if found else ""


@pytest.mark.requirement("AG-4")
@pytest.mark.requirement("AG-5")
@pytest.mark.requirement("AG-9")
@pytest.mark.requirement("LIFE-7")
@pytest.mark.requirement("OBJ-4")
def test_orchestration_works_is_observed_and_ends_departments_first(product: Product, namespace: str) -> None:
    product.kubectl("apply", "-n", namespace, "-f", str(SAMPLES / "lives" / "orchestration.yaml"))
    product.wait_phase(namespace, DIRECTOR, "Starting", "Running", "Idle")  # the gateway knows it then
    with product.gateway() as gateway:
        done = "the director has all answers"
        until(lambda: last_text(gateway, namespace, DIRECTOR) == "Orchestration complete.", done)
        check_messages(gateway, namespace)
        stats = gateway.http.get("/api/v1/stats", params={"namespace": namespace}).json()
        assert stats["byRole"] == {"Department": 3, "Director": 1, "Observer": 1}
        assert gateway.get(f"/{DIRECTOR}/health", namespace=namespace)["status"] == "healthy"
    product.wait_phase(namespace, DIRECTOR, "Idle")
    observed = product.wait_phase(namespace, OBSERVER, "Completed")
    assert re.fullmatch(r"The director is (Running|Idle) and healthy\.", observed["status"]["result"])
    assert observed["status"]["round"]["completed"] >= 2

    product.patch_session(namespace, DIRECTOR, operatingMode="Cancelled")
    ended = product.wait_phase(namespace, DIRECTOR, "Cancelled")
    departments = [product.session(namespace, name) for name in DEPARTMENTS]
    assert {one["status"]["phase"] for one in departments} == {"Cancelled"}
    versions = [int(one["metadata"]["resourceVersion"]) for one in (*departments, ended)]
    assert max(versions) == versions[-1], "the director's end was written last"
    why = [next(c["message"] for c in one["status"]["conditions"] if c["type"] == "Ready") for one in departments]
    assert all(words.endswith(f"(with its director {DIRECTOR})") for words in why)


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


COMMANDS = 3
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
    }
    product.create_session(namespace, "boss", role="Director", goal="Go.", agents=an_agent("director"))
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
