"""Models that refuse, fail, break off or talk nonsense: typed errors, tries where they help, no half message."""

from collections import Counter
from typing import Any

import pytest

from tests.e2e.product import Json, Product

pytestmark = pytest.mark.e2e


def fail(status: int, *, attempt: int | None = None, code: str | None = None) -> Json:
    """Return a rule by which the model refuses, each time or at one attempt only."""
    error: Json = {"status": status, "message": f"scripted {status}"} | ({"code": code} if code else {})
    rule: Json = {"answer": {"error": error}}
    return rule | ({"when": {"attempt": attempt}} if attempt else {})


def call(name: str, **how: Any) -> Json:
    """Return a rule by which the model's first step calls a tool."""
    return {"when": {"step": 1}, "answer": {"toolCalls": [{"name": name, **how}]}}


def run(product: Product, namespace: str, rules: list[Json], *, ends: str, **spec: Any) -> Json:
    """Run a session over a script to its end and return its status."""
    product.create_script(namespace, "faulty", *rules)
    agent = {"name": "agent", "model": {"providerRef": {"name": "faulty"}}}
    product.create_session(namespace, "victim", goal="Say hello.", agents=[agent], **spec)
    status: Json = product.wait_phase(namespace, "victim", ends)["status"]
    return status


def texts(entries: list[Json], kind: str) -> list[str]:
    """Return what the entries of a kind say."""
    return [entry["body"]["text"] for entry in entries if entry["type"] == kind]


@pytest.mark.requirement("LIFE-11")
def test_model_that_refuses_twice_costs_no_epoch(product: Product, namespace: str) -> None:
    rules = [fail(429, attempt=1), fail(429, attempt=2), {"answer": {"text": "Hello."}}]
    status = run(product, namespace, rules, ends="Completed")
    assert (status["result"], status["agents"][0]["epoch"], status.get("retries", 0)) == ("Hello.", 1, 0)
    assert status["usage"]["steps"] == 1


@pytest.mark.requirement("LIFE-11")
def test_model_that_fails_for_ever_ends_as_retries_exhausted(product: Product, namespace: str) -> None:
    retry = {"maxRetries": 1, "initialBackoffSeconds": 1}
    status = run(product, namespace, [fail(500)], ends="Failed", retry=retry)
    assert (status["stopReason"], status["error"]["code"]) == ("RetriesExhausted", "overloaded")
    assert "scripted 500" in status["error"]["message"]
    assert status["agents"][0]["epoch"] == 2
    assert status["usage"]["toolCalls"] == 0
    entries = product.entries(namespace, "victim")
    assert Counter(e["type"] for e in entries)["error"] == 2
    assert not texts(entries, "output")
    told = [entry["body"]["phase"] for entry in entries if entry["type"] == "state"]
    assert {*told} <= {"Starting", "Running", "Failed"}  # an epoch may be over before it is seen to run
    assert (told[0], told[-1]) == ("Starting", "Failed")


@pytest.mark.requirement("LIFE-11")
def test_cut_stream_leaves_no_half_message(product: Product, namespace: str) -> None:
    text = "This sentence is said to its end."
    cut = {"text": text, "error": {"cutAfterCharacters": 10}}
    rules = [{"when": {"attempt": 1}, "answer": cut}, {"answer": {"text": text}}]
    status = run(product, namespace, rules, ends="Completed")
    assert (status["result"], status["agents"][0]["epoch"]) == (text, 1)
    entries = product.entries(namespace, "victim")
    assert texts(entries, "output") == [text]
    assert Counter(e["type"] for e in entries)["step_complete"] == 1


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize(
    ("first", "told_text"),
    [
        pytest.param(call("shell", rawArguments='{"command": "ec'), "not JSON", id="arguments break off"),
        pytest.param(call("shell", arguments={"order": "ls"}), "do not fit its schema", id="arguments do not fit"),
        pytest.param(call("telephone", arguments={}), "there is no tool 'telephone'", id="the tool does not exist"),
    ],
)
def test_wrong_call_goes_back_to_the_model_as_text(
    product: Product, namespace: str, first: Json, told_text: str
) -> None:
    rules = [first, {"when": {"lastResult": told_text}, "answer": {"text": "Sorry: ${result[-1]}"}}]
    status = run(product, namespace, rules, ends="Completed")
    assert told_text in status["result"]
    assert status["agents"][0]["epoch"] == 1
    (result,) = [e["body"] for e in product.entries(namespace, "victim") if e["type"] == "tool_result"]
    assert result["isError"]
    assert told_text in result["output"]


@pytest.mark.requirement("LIFE-11")
def test_context_too_long_fails_at_once(product: Product, namespace: str) -> None:
    status = run(product, namespace, [fail(400, code="context_length_exceeded")], ends="Failed")
    assert (status["stopReason"], status["error"]["code"]) == ("ContextTooLong", "context_too_long")
    assert (status["agents"][0]["epoch"], status.get("retries", 0)) == (1, 0)


@pytest.mark.requirement("LIFE-11")
def test_empty_answer_is_an_error_of_its_own_kind(product: Product, namespace: str) -> None:
    status = run(product, namespace, [{"answer": {"text": " "}}], ends="Failed", retry={"maxRetries": 0})
    assert (status["stopReason"], status["error"]["code"]) == ("RetriesExhausted", "empty_answer")
    assert not texts(product.entries(namespace, "victim"), "output")
