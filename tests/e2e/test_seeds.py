"""What users of three earlier systems did over HTTP, done here: one walk through each, on real pods.

The words are ours (docs/lifecycle.md has the table); what each walk asks for is what that system's guide shows, payload
by payload. `test_seed_talks.py` has the two whose users talk.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.faults import until
from tests.e2e.product import Product
from tests.e2e.seeds import Api, an_agent

pytestmark = pytest.mark.e2e

SLOW = {"answer": {"text": "Still at it.", "delayMilliseconds": 600_000}}
OPERATIONS: dict[str, dict[str, Any]] = {
    "Metrics": {
        "sessionId": "metrics-2026-001",
        "goal": "Collect CPU and memory metrics",
        "agents": [{"name": "metrics"}],
        "schedule": {"intervalSeconds": 5, "durationSeconds": 3600},
    },
    "Policy": {
        "sessionId": "policy-security-001",
        "goal": "Validate security policies",
        "agents": [{"name": "security"}],
        "policyRef": {"name": "security-baseline"},
    },
    "Simulation": {
        "sessionId": "sim-ops-2026-001",
        "goal": "Simulate incident detection and resolution",
        "agents": [{"name": name} for name in ("detection", "triage", "resolution", "audit")],
        "coordination": {"strategy": "Sequential"},
        "context": {"json": {"state": {"status": "init"}}},
        "dataSources": [{"name": "ops_logs", "format": "CSV", "configMapKeyRef": {"name": "ops", "key": "logs.csv"}}],
        "limits": {"maxSteps": 10},
    },
    "Audit": {
        "sessionId": "audit-compliance-001",
        "goal": "Audit system for compliance violations",
        "agents": [{"name": "audit"}],
        "policyRef": {"name": "security-baseline"},
    },
}
"""By type: the four examples of S0, in our words."""
BASELINE = {
    "apiVersion": "agentsessions.dev/v1alpha1",
    "kind": "AgentPolicy",
    "metadata": {"name": "security-baseline"},
    "spec": {
        "selector": {"matchLabels": {"bound": "by-reference-alone"}},
        "rules": [{"name": "no-downloads", "tools": ["shell"], "action": "Deny", "message": "stay inside"}],
    },
}


@pytest.mark.requirement("OPS-1")
@pytest.mark.requirement("OBJ-2")
@pytest.mark.requirement("OBJ-5")
def test_operations_sessions_of_four_types_are_made_found_counted_and_deleted(
    api: Api, product: Product, namespace: str
) -> None:
    """S0: typed sessions with an id of one's own, agents, a policy, data and an objective."""
    product.apply(namespace, BASELINE)
    logs = "--from-literal=logs.csv=at,text\n09:00,disk full\n"
    product.kubectl("create", "configmap", "ops", "-n", namespace, logs)
    made = {kind: api.create(type=kind, **body) for kind, body in OPERATIONS.items()}
    assert {kind: one["sessionId"] for kind, one in made.items()} == {
        kind: body["sessionId"] for kind, body in OPERATIONS.items()
    }
    again = api.send("POST", "agent-sessions", 409, {"sessionId": "metrics-2026-001", "goal": "Again."})
    assert again["code"] == "duplicate_id"

    ended = [made[kind]["name"] for kind in ("Policy", "Simulation", "Audit")]
    done = {name: api.await_phase(name, "Completed") for name in ended}
    assert all(one["result"] for one in done.values())
    metrics = made["Metrics"]["name"]
    api.await_session(metrics, lambda session: session["usage"]["turns"] >= 1, "collecting")
    steps = api.get(f"agent-sessions/{made['Simulation']['name']}/steps")["items"]
    assert [one["agent"] for one in steps if one["type"] == "output"] == ["detection", "triage", "resolution", "audit"]

    (found,) = api.get("agent-sessions", sessionId="audit-compliance-001")["items"]
    assert found["uid"] == made["Audit"]["uid"]
    assert [one["name"] for one in api.get("agent-sessions", type="Metrics")["items"]] == [metrics]
    completed = api.get("agent-sessions", phase="Completed")
    assert ({one["name"] for one in completed["items"]}, completed["total"]) == (set(ended), 3)
    stats = api.get("stats")
    assert stats["byType"] == dict.fromkeys(OPERATIONS, 1)
    assert (stats["total"], stats["byPhase"]["Completed"]) == (4, 3)

    refused = api.send("PATCH", f"agent-sessions/{metrics}", 422, {"phase": "Completed"})
    assert "phase" in refused["detail"], "a state is not set, it is reached"
    for one in made.values():
        api.send("DELETE", f"agent-sessions/{one['name']}", 204)
    assert api.get("agent-sessions")["total"] == 0
    assert api.send("GET", "agent-sessions/no-such-session", 404)["code"] == "not_found"
    assert api.send("POST", "agent-sessions", 422, {"type": "Nonsense", "goal": "No."})["code"] == "invalid_request"


@pytest.mark.requirement("OPS-9")
@pytest.mark.requirement("LIFE-2")
def test_analysis_sessions_are_titled_paged_paused_and_resumed(api: Api, product: Product, namespace: str) -> None:
    """S1: modes, title and metadata, lists in pages, pause and resume, and refusals that say why."""
    product.create_script(namespace, "slow", SLOW)
    body = {
        "labels": {"db-connection": "db123"},
        "limits": {"recursionLimit": 150},
        "goal": "Analyse.",
        "metadata": {"department": "finance"},
        "agents": an_agent(model={"providerRef": {"name": "slow"}}),
    }
    modes = ("FullAutonomy", "Analysis", "Script")
    names = [api.create(**body, mode=mode, title=f"Monthly sales {mode}")["name"] for mode in modes]

    query = {"text": "monthly sales", "label": "db-connection=db123", "sort": "createdAt", "limit": 2}
    page, rest = (api.get("agent-sessions", **query, offset=offset) for offset in (0, 2))
    assert (len(page["items"]), page["total"], page["limit"], rest["offset"]) == (2, 3, 2, 2)
    assert {one["name"] for one in page["items"] + rest["items"]} == set(names)
    assert [one["name"] for one in api.get("agent-sessions", mode="Script")["items"]] == names[2:]

    first = names[0]
    whole = api.get(f"agent-sessions/{first}")
    assert (whole["mode"], whole["metadata"]) == ("FullAutonomy", {"department": "finance"})
    assert whole["limits"]["recursionLimit"] == 150
    patched = api.send("PATCH", f"agent-sessions/{first}", 200, {"title": "Sales", "metadata": {"department": "hr"}})
    assert (patched["title"], patched["metadata"]) == ("Sales", {"department": "hr"})
    api.await_phase(first, "Running")
    api.act("POST", f"agent-sessions/{first}/pause")
    api.await_phase(first, "Paused")
    api.act("POST", f"agent-sessions/{first}/resume")
    api.await_phase(first, "Running")
    for name in names:
        api.act("POST", f"agent-sessions/{name}/cancel")
        api.await_phase(name, "Cancelled")
    refused = api.send("POST", f"agent-sessions/{first}/pause", 409)
    assert refused["code"] == "illegal_state"
    assert "Cancelled" in refused["detail"]
    kubectl = product.kubectl(
        *("patch", "agentsession", first, "-n", namespace, "--type=merge", "-p", '{"spec":{"operatingMode":"Paused"}}'),
        check=False,
    )
    reason = kubectl.stderr.partition("Invalid value: ")[2].partition(": ")[2].strip()
    assert reason
    assert reason in refused["detail"], "kubectl and HTTP say the same"
    api.send("DELETE", f"agent-sessions/{first}", 204)
    assert api.get(f"agent-sessions/{first}")["deletedAt"]


DEPARTMENT: dict[str, Any] = {
    "apiVersion": "agentsessions.dev/v1alpha1",
    "kind": "AgentSessionTemplate",
    "metadata": {"name": "data-department-template"},
    "spec": {
        "session": {
            "metadata": {"domain": "data-processing", "priority": "normal"},
            "agents": [
                {
                    "name": "department",
                    "model": {"providerRef": {"name": "team"}},
                    "resources": {"limits": {"memory": "1Gi"}},
                }
            ],
        },
        "env": [{"name": "LOG_LEVEL", "value": "info"}],
    },
}
TEAM: list[dict[str, Any]] = [
    {
        "when": {"agent": "director", "step": 1},
        "answer": {
            "toolCalls": [
                {"name": "send_command", "arguments": {"capability": "batch-processing", "task": "Process batch 1."}}
            ]
        },
    },
    {"when": {"agent": "director"}, "answer": {"text": "I wait."}},
    {"when": {"agent": "observer", "step": 1}, "answer": {"toolCalls": [{"name": "observe", "arguments": {}}]}},
    {"when": {"agent": "observer"}, "answer": {"text": "${result[-1]}"}},
    {"answer": {"text": "Done: ${text}"}},
]


def of_team(name: str) -> list[dict[str, Any]]:
    return [{"name": name, "model": {"providerRef": {"name": "team"}}}]


@pytest.mark.requirement("OPS-2")
@pytest.mark.requirement("LIFE-7")
@pytest.mark.requirement("AG-6")
def test_orchestrated_sessions_are_found_commanded_measured_copied_and_shut_down(
    api: Api, product: Product, namespace: str
) -> None:
    """S2: a director, departments from a template, an observer; discovery, messages, health, statistics, the end."""
    product.create_script(namespace, "team", *TEAM)
    product.apply(namespace, DEPARTMENT)
    talk = {"conversation": {"open": True, "idleSeconds": 600}}
    director = {"role": "Director", "goal": "Have batch 1 processed.", "metadata": {"version": "1.0.0"}, **talk}
    api.create(name="main-director", agents=of_team("director"), **director)
    departments = ["department-data", "department-mail"]
    for name in departments:
        serves: dict[str, Any] = {"role": "Department", "directorRef": {"name": "main-director"}}
        words = {
            "labels": {"domain": name[11:]},
            "metadata": {"priority": "high"},
            "capabilities": ["batch-processing"],
        }
        made = api.create(name=name, templateRef={"name": "data-department-template"}, **serves, **words, **talk)
        assert made["template"] == "data-department-template"
    observed: dict[str, Any] = {"role": "Observer", "monitors": ["main-director", "department-*"]}
    api.create(name="performance-monitor", goal="How do they fare?", agents=of_team("observer"), **observed)

    mailbox = "agent-sessions/main-director/mailbox"
    until(lambda: any("repliedAt" in one for one in api.get(mailbox, box="sent")["items"]), "the command is answered")
    (command,) = api.get(mailbox, box="sent")["items"]
    assert (command["kind"], command["content"]) == ("COMMAND", "Process batch 1.")
    (report,) = api.get(mailbox, kind="PROGRESS_REPORT")["items"]
    assert "Process batch 1." in report["content"]
    check_discovery(api)
    check_figures(api, command["receiver"])
    assert "main-director" in api.await_phase("performance-monitor", "Completed")["result"]

    patch = {"capabilities": ["batch-processing", "stream-processing"], "limits": {"timeoutSeconds": 300}}
    changed = api.send("PATCH", f"agent-sessions/{departments[0]}", 200, patch)
    assert changed["spec"]["capabilities"] == ["batch-processing", "stream-processing"]
    body = {"name": "main-director-clone", "history": "Reset", "overrides": {"operatingMode": "Paused"}}
    clone = api.send("POST", "agent-sessions/main-director/clone", 201, body)
    assert clone["usage"]["turns"] == 0

    for name in departments:
        body = {"mode": "graceful", "gracePeriodSeconds": 10, "reason": "completed-work"}
        api.act("POST", f"agent-sessions/{name}/shutdown", body)
    reason = "orchestration-complete"
    api.act("POST", "agent-sessions/main-director/shutdown", {"mode": "forced", "reason": reason})
    ended = [api.await_phase(name, "Cancelled") for name in (*departments, "main-director")]
    assert [one["spec"]["shutdown"]["reason"] for one in ended] == [*["completed-work"] * 2, reason]
    events = api.events("agent-sessions/main-director/events")
    phases = [json.loads(data)["body"]["phase"] for name, data in events if name == "state"]
    assert ("Running" in phases, phases[-1]) == (True, "Cancelled"), "each change of state is an event"
    api.send("DELETE", "agent-sessions/main-director", 204)


def check_discovery(api: Api) -> None:
    """Look for sessions by role, phase, label, words, and in pages."""
    query = {"role": "Department", "phase": ["Running", "Idle", "Starting"], "sort": "-lastActivity", "limit": 1}
    pages = [api.get("agent-sessions", **query, offset=offset) for offset in (0, 1)]
    assert {page["items"][0]["name"] for page in pages} == {"department-data", "department-mail"}
    assert {page["total"] for page in pages} == {2}
    assert [one["name"] for one in api.get("agent-sessions", label="domain=data")["items"]] == ["department-data"]
    assert [one["name"] for one in api.get("agent-sessions", text="director")["items"]] == ["main-director"]
    assert api.get("agent-sessions", template="data-department-template")["total"] == 2


def check_figures(api: Api, worked: str) -> None:
    """Ask how sessions fare, what they achieved, and for totals."""
    health = api.get(f"agent-sessions/{worked}/health")
    assert (health["status"], health["messageQueue"], health["errorRate"]) == ("healthy", 0, 0)
    assert health["uptimeSeconds"] >= 0
    assert health["lastActivity"]
    assert (health.get("memoryBytes") is None) == bool(health.get("resourcesReason"))
    performance = api.get(f"agent-sessions/{worked}/metrics")
    assert (performance["messagesProcessed"], performance["errorRate"]) == (1, 0)
    assert performance["throughputPerSecond"] > 0
    assert performance["averageResponseMilliseconds"] >= 0
    stats = api.get("stats")
    assert stats["byRole"] == {"Director": 1, "Department": 2, "Observer": 1}
    assert stats["averageUptimeSeconds"] > 0
    assert stats["processedTasks"] >= 1
