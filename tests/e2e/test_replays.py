"""Forks and replays on real pods: of a session that was deleted, and of one whose tools return something else now."""

from __future__ import annotations

import json

import pytest

from tests.e2e.commandline import CommandLine, let_speak
from tests.e2e.faults import until
from tests.e2e.product import Json, Product

pytestmark = [pytest.mark.e2e, pytest.mark.requirement("STEP-4"), pytest.mark.requirement("AG-7")]

CAT = {"toolCalls": [{"name": "shell", "arguments": {"command": "cat prices.csv"}}]}
ECHO = {"toolCalls": [{"name": "shell", "arguments": {"command": "echo the same"}}]}
STEPS, FORKED_AT, READS_AT = 20, 12, 7
RULES = (
    {"when": {"text": "again"}, "answer": {"text": f"Again: ${{result[{READS_AT}]}}"}},
    {"when": {"step": READS_AT}, "answer": CAT},
    {"when": {"step": STEPS}, "answer": {"text": f"It says: ${{result[{READS_AT}]}}"}},
    {"answer": ECHO},
)
LONG = {"maxSteps": 50, "maxTokens": 10_000_000, "timeoutSeconds": 900}
SHORT = ({"when": {"step": 4}, "answer": {"text": "Done."}}, {"answer": ECHO})
SHARED = {"thinking", "tool_call", "tool_result"}
FILES = {"files": [{"path": "prices.csv", "configMapKeyRef": {"name": "prices", "key": "prices.csv"}}]}


@pytest.fixture
def cli(product: Product, namespace: str) -> CommandLine:
    let_speak(product, namespace)
    return CommandLine(product, namespace)


def write_prices(product: Product, namespace: str, text: str) -> None:
    config_map: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prices"}}
    product.apply(namespace, config_map | {"data": {"prices.csv": text}})


def result_of(product: Product, namespace: str, name: str) -> list[str]:
    lines: list[str] = product.wait_phase(namespace, name, "Completed")["status"]["result"].splitlines()
    return lines


def test_a_deleted_session_is_forked_replayed_and_compared(product: Product, namespace: str, cli: CommandLine) -> None:
    write_prices(product, namespace, "apple,3")
    product.create_script(namespace, "default", *RULES)
    product.create_session(namespace, "prices", goal="What does it say?", context=FILES, limits=LONG)
    source = product.wait_phase(namespace, "prices", "Completed")
    before = did(product, namespace, "prices")
    product.kubectl("delete", "agentsession", "prices", "-n", namespace)
    with product.gateway() as gateway:
        until(lambda: "deletedAt" in gateway.get("/prices", namespace=namespace), "its end is known")

    cli("clone", "prices", "forked", "--at-step", str(FORKED_AT), "--goal", "Say it again.")
    cli("rerun", "prices", "same", "--run-tools")
    assert result_of(product, namespace, "forked") == ["Again: apple,3", "[exit code 0]"]
    assert len(before) == STEPS - 1
    assert did(product, namespace, "forked") == before[:FORKED_AT]
    cli("verify", "forked")
    assert result_of(product, namespace, "same") == [f"Recorded replay of prices: {STEPS} steps, no difference"]
    status = product.session(namespace, "forked")["status"]
    assert (status["usage"]["steps"], status["usage"].get("toolCalls", 0)) == (1, 0)
    assert product.session(namespace, "same")["status"]["usage"].get("inputTokens", 0) == 0

    write_prices(product, namespace, "apple,4")
    cli("rerun", "prices", "changed", "--run-tools")
    cli("rerun", "prices", "told", "--instructions", "Be brief.", "--until", "1")
    first, second = result_of(product, namespace, "changed")
    assert first == f"Recorded replay of prices: {STEPS} steps, 1 differs"
    assert (second[:6], "apple,4" in second, "apple,3" in second) == (f"step {READS_AT}", True, True)
    assert result_of(product, namespace, "told")[1:] == ["step 1: the request has other instructions"]
    compared = json.loads(cli("diff", source["metadata"]["uid"], "changed", "-o", "json").stdout)
    places = [one for one in compared["items"] if one["difference"] != "same"]
    assert [(one["step"], one["fields"]) for one in places] == [(READS_AT, ["output"])]


def did(product: Product, namespace: str, name: str) -> list[tuple[int, str, str]]:
    """Return what a session did in its steps with tools: number, arguments, result."""
    found = [one for one in product.entries(namespace, name) if one["type"] in SHARED]
    asked = {one["body"]["callId"]: one for one in found if one["type"] == "tool_call"}
    results = [one for one in found if one["type"] == "tool_result"]
    return [(one["step"], asked[one["body"]["callId"]]["body"]["arguments"], one["body"]["output"]) for one in results]


def test_what_cannot_be_forked_is_told_and_heals(product: Product, namespace: str, cli: CommandLine) -> None:
    product.create_script(namespace, "default", *SHORT)
    source = {"sessionRef": {"name": "later"}, "atStep": 9}
    product.create_session(namespace, "early", goal="g", source=source)
    found = product.wait_for(namespace, "early", lambda one: reason_of(one) == "SourceNotFound", "waiting for it")
    assert "later" in message_of(found)
    product.create_session(namespace, "later", goal="Go.")
    product.wait_phase(namespace, "later", "Completed")
    found = product.wait_for(namespace, "early", lambda one: "4 completed" in message_of(one), "told")
    assert reason_of(found) == "SourceInvalid"
    cli("cancel", "early", "--wait")
    assert "There is no session" in cli.refused("rerun", "nobody")
    assert "There is no session" in cli.refused("clone", "nobody")


def reason_of(session: Json) -> str:
    return str(_accepted(session).get("reason", ""))


def message_of(session: Json) -> str:
    return str(_accepted(session).get("message", ""))


def _accepted(session: Json) -> Json:
    conditions = session.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Accepted"), {})
