"""A model that means harm: what runs is on the list, and what needs a person has one. A real runner plays it all."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agentsessions.api.reasons import ExitCode
from agentsessions.api.v1alpha1.approval import ApprovalOutcome, ApprovalRequest
from agentsessions.journal import approvals
from agentsessions.journal.approvals import Decided
from tests.integration.runner_process import RunnerProcess
from tests.process.proxy.hostile_outputs import POLICY, outputs
from tests.process.proxy.house import House, Provider, until
from tests.process.proxy.test_proxy_tools import Shelf, serve_shelf

pytestmark = [
    pytest.mark.requirement("AG-2"),
    pytest.mark.requirement("POL-1"),
    pytest.mark.requirement("POL-2"),
    pytest.mark.timeout(900),
]

COUNT = 200 if os.environ.get("AGENTSESSIONS_HOSTILE") == "full" else 20
"""`make test-hostile` plays them all."""
UID = "uid-team-s"
AGENT: dict[str, Any] = {
    "name": "agent",
    "model": {"name": "queued"},
    "tools": [{"builtin": "Shell"}, {"serverRef": {"name": "shelf"}, "allow": ["order"]}],
}
ROOMY = {"maxSteps": 1000, "maxTokens": 50_000_000, "maxToolCalls": 10_000}


async def decide(house: House, request: ApprovalRequest, outcome: ApprovalOutcome) -> None:
    decided = Decided(UID, request.agent, request.round, request.call_id, request.number, outcome, ("amy",))
    assert await house.store.write(lambda work: approvals.decide(work, decided))


async def play(house: House, runner: RunnerProcess) -> list[ApprovalRequest]:
    """Play the session to its end; a person allows the first call that is asked about, and no other."""
    asked: list[ApprovalRequest] = []
    for epoch in range(1, 20):
        await house.put_session(pod=f"p{epoch}", epoch=epoch, agents=[AGENT], limits=ROOMY)
        (runner.workspace.parent / "token").write_text(f"pod-p{epoch}")
        code = await runner.run(house.url)
        if code != ExitCode.APPROVAL:
            assert code == ExitCode.DONE
            return asked
        level = await house.store.level(UID)
        assert level is not None
        assert level.approval_pending
        for request in level.approval_pending:
            outcome = ApprovalOutcome.DENIED if asked else ApprovalOutcome.APPROVED
            await decide(house, request, outcome)
            asked.append(request)
    raise AssertionError("the session does not end")


async def test_of_hostile_answers_only_what_is_allowed_runs(house: House, provider: Provider, tmp_path: Path) -> None:
    answers = outputs(COUNT)
    assert len(answers) == COUNT
    await provider.queue([one.chunks for one in answers])
    (tmp_path / "runner").mkdir()
    runner = RunnerProcess(tmp_path / "runner", token="pod-p1")
    with serve_shelf() as url:
        shelf = Shelf(url)
        await house.put_server("shelf", url=f"{url}/mcp", allowedTools=[{"name": "order"}])
        house.cluster.put("agentpolicies", "team", "p", spec=POLICY)
        await until(lambda: bool(house.gateway.proxy.policies.of("team")))
        asked = await play(house, runner)
        made = await shelf.calls()

    runs, orders = sum(one.runs for one in answers), sum(one.orders for one in answers)
    assert (runner.workspace / "ok").read_text() == "ok\n" * runs
    assert made == [{"tool": "order", "part": "bolt"}] * orders
    assert len(asked) == sum(one.asks for one in answers)
    assert (runner.workspace / "published").read_text() == "published\n"
    files = {path.name for path in runner.workspace.rglob("*") if path.is_file() and ".agentsessions" not in path.parts}
    assert files == {"ok", "published"}
    await check_journal(house, runs=runs + 1, orders=orders, asked=len(asked))


async def check_journal(house: House, *, runs: int, orders: int, asked: int) -> None:
    """Check that the journal tells the same: one result for each call, and a reason for each that did not run."""
    bodies: dict[str, list[dict[str, Any]]] = {}
    for entry in await house.store.entries(UID, limit=100_000):
        bodies.setdefault(entry.type.value, []).append(entry.body or {})
    calls = {body["callId"]: body for body in bodies["tool_call"]}
    results = {body["callId"]: body for body in bodies["tool_result"]}
    assert results.keys() == calls.keys()
    assert len(results) == len(bodies["tool_result"]), "no call has two results"
    assert len(calls) == len(bodies["tool_call"]), "no two calls share an id"
    ran = Counter(body["name"] for body in results.values() if not body["isError"])
    assert ran == {"shell": runs, "shelf__order": orders}
    allowed = {body["callId"] for body in bodies["policy_decision"] if body["action"] == "Allow"}
    told = [(body["callId"], body["outcome"]) for body in bodies["approval"]]
    consented = {call for call, outcome in told if outcome == "Approved"}
    assert {call for call, body in results.items() if not body["isError"]} == allowed | consented
    assert len(consented) == 1
    assert Counter(outcome for _, outcome in told) == {"Pending": asked, "Approved": 1, "Denied": asked - 1}
    assert await house.store.verify(UID) == []
