"""The stories of manifests/samples/stories: what users of earlier systems did, as manifests on real pods.

`orchestration.yaml` is played by tests/e2e/test_roles.py.
"""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.e2e.commandline import CommandLine, let_speak
from tests.e2e.faults import until
from tests.e2e.outside import Prometheus, a_database
from tests.e2e.product import SAMPLES, Forward, Json, Product
from tests.e2e.test_kinds import condition
from tests.e2e.test_lives import live_pods, say
from tests.e2e.volumes import lines_of

pytestmark = pytest.mark.e2e

STORIES = SAMPLES / "stories"
TOKEN = "token-of-db123-0123456789"
INTERVAL_SECONDS = 5


def apply(product: Product, namespace: str, story: str, **placed: str) -> None:
    """Apply a story; each of `placed` stands for what a person puts in the place that the manifest leaves for it."""
    text = (STORIES / story).read_text()
    for place, value in placed.items():
        assert place in text
        text = text.replace(place, value)
    product.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)


def results(entries: list[Json]) -> list[tuple[str, bool]]:
    """Return the tool of each call that was answered, and whether the answer is an error."""
    return [(e["body"]["name"], e["body"]["isError"]) for e in entries if e["type"] == "tool_result"]


def has_own_id(product: Product, namespace: str, name: str) -> bool:
    """Whether a session is found by its own id."""
    with product.gateway() as gateway:
        found = gateway.get("", namespace=namespace, sessionId=name)["items"]
    return [one["name"] for one in found] == [name]


def test_every_story_is_played() -> None:
    played = {"analysis", "audit", "configuration", "metrics", "orchestration", "policy", "simulation"}
    assert {path.stem for path in STORIES.iterdir()} == played


@pytest.mark.requirement("OBJ-2")
def test_metrics_are_collected_in_rounds_without_drift(product: Product, namespace: str, host: str) -> None:
    name, rounds = "metrics-2025-001", 3
    with Prometheus(host).serving() as prometheus:
        an_hour = {"durationSeconds: 3600": f"durationSeconds: {rounds * INTERVAL_SECONDS - 3}"}
        apply(product, namespace, "metrics.yaml", **{"prometheus.monitoring.svc:9090": prometheus.address, **an_hour})
        done = product.wait_phase(namespace, name, "Completed")["status"]
        told = prometheus.told
    entries = product.entries(namespace, name)
    complete = [e["body"] for e in entries if e["type"] == "round_complete"]
    assert len(complete) == done["round"]["completed"] >= 1, "a busy node misses some"
    assert done["round"]["completed"] + done["round"]["missed"] == rounds
    values = [value for _, value in told]
    want = [f"CPU {values[2 * n]} cores, memory {values[2 * n + 1]} bytes" for n in range(len(complete))]
    assert [body["text"] for body in complete] == want
    assert done["result"] == want[-1]
    due = [datetime.fromisoformat(body["dueAt"]).timestamp() for body in complete]
    assert all((at - due[0]) % INTERVAL_SECONDS == pytest.approx(0, abs=0.001) for at in due)
    assert len(told) == sum(e["type"] == "tool_result" for e in entries), "nothing was asked twice"
    assert has_own_id(product, namespace, name)


@pytest.mark.requirement("OBJ-2")
@pytest.mark.requirement("OBJ-8")
@pytest.mark.requirement("POL-1")
def test_a_policy_session_lists_what_its_policy_did_not_allow(product: Product, namespace: str) -> None:
    name = "policy-security-001"
    apply(product, namespace, "policy.yaml")
    done = product.wait_phase(namespace, name, "Completed")
    assert done["status"]["result"].splitlines() == [
        "Policy violations: 2",
        "- step 1, sql: Deny by rule no-secrets of security-baseline: secrets are nobody's business",
        "- step 1, files: Deny by rule (default) of security-baseline: no rule of the policy allows it",
        "",
        "Pods against the baseline:",
        "namespace,pod,finding",
        'infra,node-agent-x2x,"privileged, host network"',
        "shop,cache-0,privileged",
        "[2 rows]",
    ]
    (source,) = done["status"]["dataSources"]
    assert (source["name"], source["rows"]) == ("kubernetes_cluster", 4)
    entries = product.entries(namespace, name)
    assert results(entries) == [("sql", False), ("sql", True), ("files", True)]
    decided = [(e["body"]["name"], e["body"]["action"]) for e in entries if e["type"] == "policy_decision"]
    assert ("sql", "Deny") in decided
    assert has_own_id(product, namespace, name)


@pytest.mark.requirement("AG-3")
@pytest.mark.requirement("OBJ-2")
@pytest.mark.requirement("STEP-5")
def test_four_agents_simulate_an_incident_and_do_nothing_to_the_outside(product: Product, namespace: str) -> None:
    name = "sim-ops-2025-001"
    agents = ["detection-agent", "triage-agent", "resolution-agent", "audit-agent"]
    apply(product, namespace, "simulation.yaml")
    let_speak(product, namespace)
    done = product.wait_phase(namespace, name, "Completed")["status"]
    assert done["result"].splitlines() == [
        "Detected: checkout,3,2025-11-21T09:58:11Z",
        "Cause: no connection to orders",
        "Restart of checkout: [recorded]",
        "Orders thrown away: no, by rule no-data-loss",
        "Audit: 1 error of another service is left.",
    ]
    entries = product.entries(namespace, name)
    at_work = list(dict.fromkeys(e["agent"] for e in entries if e["type"] == "step_start"))
    assert at_work == agents == [row["name"] for row in done["agents"]]
    assert len({row["podUID"] for row in done["agents"]}) == len(agents), "a pod each"
    assert done["usage"]["steps"] == sum(row["steps"] for row in done["agents"]) <= 10
    assert results(entries) == [("sql", False), ("sql", False), ("http", False), ("http", True), ("sql", False)]
    verified = json.loads(CommandLine(product, namespace)("verify", name, "-o", "json").stdout)
    assert (verified["ok"], verified["problems"]) == (True, [])


@pytest.mark.requirement("OBJ-2")
@pytest.mark.requirement("STEP-5")
def test_an_audit_reads_alone_and_its_journal_stays_as_it_was_sealed(product: Product, namespace: str) -> None:
    name = "audit-compliance-001"
    apply(product, namespace, "audit.yaml")
    done = product.wait_phase(namespace, name, "Completed")
    assert done["status"]["result"].splitlines() == [
        "The rule: Whoever changes production has a ticket for it.",
        "Violated by: person,action",
        "linus,restart orders",
        "linus,delete backup",
        "[2 rows]",
    ]
    seal, entries = done["status"]["seal"], product.entries(namespace, name)
    last = max(entry["seq"] for entry in entries if entry["type"] == "step_complete")
    assert last <= seal["head"] < max(entry["seq"] for entry in entries)
    assert len(seal["digest"]) == 64
    assert results(entries) == [("files", False), ("files", True), ("sql", False)]


@pytest.mark.requirement("AG-2")
@pytest.mark.requirement("LIFE-4")
@pytest.mark.requirement("OBJ-3")
def test_an_analyst_asks_its_database_for_each_task_and_none_is_lost_in_a_pause(
    product: Product, namespace: str, host: str
) -> None:
    name = "monthly-sales-analysis"
    with a_database(host, TOKEN) as database, product.gateway() as gateway:
        place = {"https://db123.example.com": database.url, "put-your-token-here": TOKEN}
        apply(product, namespace, "analysis.yaml", **place)
        ready = product.wait_phase(namespace, name, "Idle")
        assert live_pods(product, namespace, ready) == [], "nothing to do yet"
        assert ready["status"]["effective"]["recursionLimit"] == 150

        ask(product, gateway, namespace, "Which product sold best?")
        product.patch_session(namespace, name, operatingMode="Paused")
        paused = product.wait_phase(namespace, name, "Paused")
        assert live_pods(product, namespace, paused) == []
        question = say(product, namespace, name, "And by month?")["id"]
        assert gateway.get(f"/{name}/messages/{question}", namespace=namespace)["state"] == "queued"
        product.patch_session(namespace, name, operatingMode="Running")
        await_answer(gateway, namespace, question)

        product.patch_session(namespace, name, conversation={"open": False})
        done = product.wait_phase(namespace, name, "Completed")
        asked = database.asked()
        messages = gateway.get(f"/{name}/messages", namespace=namespace)["items"]
    said = [one["content"] for one in messages if one["role"] in {"user", "assistant"} and one["content"]]
    assert said[0] == "Which product sold best?"
    assert "Which product sold best?\nproduct,total\nchair,1350\n" in said
    assert done["status"]["result"] == "And by month?\nmonth,total\n2026-09,1000\n2026-10,1250\n"
    entries = product.entries(namespace, name)
    assert results(entries) == [("db123__query", False)] * 2
    assert len(asked) == 2, "asked once for each question"
    assert TOKEN not in json.dumps(entries)


def ask(product: Product, gateway: Forward, namespace: str, text: str) -> None:
    """Say something to the analyst, and wait for its answer."""
    await_answer(gateway, namespace, say(product, namespace, "monthly-sales-analysis", text)["id"])


def await_answer(gateway: Forward, namespace: str, message: str) -> None:
    path = f"/monthly-sales-analysis/messages/{message}"
    until(lambda: gateway.get(path, namespace=namespace)["state"] == "answered", "the message is answered")


@pytest.mark.requirement("AG-6")
@pytest.mark.requirement("LIM-1")
@pytest.mark.requirement("OBJ-6")
def test_a_configured_session_works_within_its_own_limits_and_tools(product: Product, namespace: str) -> None:
    name = "analyze-sales-data"
    apply(product, namespace, "configuration.yaml")
    done = product.wait_phase(namespace, name, "Completed")
    figures = ["revenue 1250", "growth +25.0%", "in English, log level info"]
    assert done["status"]["result"].splitlines()[:4] == ["The figures for October:", *figures]
    assert lines_of(product, namespace, name, "analyst", "reports/sales.md")[:3] == figures, "it is on the volume"
    limits = {"maxSteps": 15, "maxTokens": 100_000, "maxOutputTokens": 6000, "timeoutSeconds": 180}
    effective = done["status"]["effective"]
    assert {limit: effective[limit] for limit in limits} == limits, "its own over the template's"
    assert condition(done, "TemplateCurrent")["status"] == "True"
    assert done["status"]["usage"]["steps"] == 4
    entries = product.entries(namespace, name)
    assert results(entries) == [("files", False), ("shell", False), ("files", False)]
    (goal,) = [e["body"]["content"] for e in entries if e["type"] == "message"]
    assert goal.startswith("Analyze sales data\n\nContext:\n")
    assert '"data_source": "sales.csv"' in goal
