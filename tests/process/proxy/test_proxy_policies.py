"""A call that a policy asks about: a real runner, the gateway with its watches, and a person's decision."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentsessions.api.reasons import ExitCode
from agentsessions.api.v1alpha1.approval import ApprovalRequest
from agentsessions.api.wire import Outcome
from tests.integration.runner_process import RunnerProcess
from tests.process.proxy.house import LONG_SECONDS, House, until

UID = "uid-team-s"
COMMAND = "echo done >> effects; cat effects"
SCRIPT = {
    "rules": [
        {"when": {"step": 2}, "answer": {"text": "It said: ${result[-1]}"}},
        {"answer": {"text": "Let me.", "toolCalls": [{"name": "shell", "arguments": {"command": COMMAND}}]}},
    ]
}


@pytest.fixture
async def runner(house: House, tmp_path: Path) -> RunnerProcess:
    await house.put_provider({"type": "Scripted", "models": [{"name": "tiny"}], "script": SCRIPT})
    (tmp_path / "runner").mkdir()
    return RunnerProcess(tmp_path / "runner", token="pod-p1")


async def govern(house: House, **rule: Any) -> None:
    """Show the gateway a policy with one rule."""
    house.cluster.put("agentpolicies", "team", "p", spec={"rules": [{"name": "r", **rule}]})
    await until(lambda: bool(house.gateway.proxy.policies.of("team")))


async def pending(house: House) -> list[ApprovalRequest]:
    level = await house.store.level(UID)
    assert level is not None
    return level.approval_pending


async def decide(house: House, request: ApprovalRequest, outcome: str, **decision: Any) -> None:
    """Show the gateway what the operator made of somebody's answer, and wait until the journal knows."""
    house.cluster.put(
        "sessionapprovals",
        "team",
        "s-1",
        owner="s",
        spec={"session": "s", "request": request.to_json(), "decisions": {"amy": decision}},
        status={"outcome": outcome, "decidedBy": ["amy"]},
    )
    with house.store.changes() as changes:
        async with asyncio.timeout(LONG_SECONDS):
            while await pending(house):
                await anext(changes)


async def told(house: House, kind: str) -> list[dict[str, Any]]:
    return [entry.body or {} for entry in await house.store.entries(UID) if entry.type.value == kind]


@pytest.mark.requirement("POL-1")
@pytest.mark.requirement("POL-2")
async def test_an_approved_call_runs_once_in_the_next_pod(house: House, runner: RunnerProcess) -> None:
    await govern(house, action="Ask", tools=["shell"], when="arguments.command.contains('effects')")
    assert await runner.run(house.url) == ExitCode.APPROVAL
    (request,) = await pending(house)
    assert (request.tool, request.policy, request.rule) == ("shell", "p", "r")
    assert COMMAND in request.arguments
    assert not (runner.workspace / "effects").exists()

    await decide(house, request, "Approved", answer="Approve")
    await house.put_session(pod="p2", epoch=2)
    (runner.workspace.parent / "token").write_text("pod-p2")
    assert await runner.run(house.url) == ExitCode.DONE
    assert (runner.workspace / "effects").read_text() == "done\n"
    assert [(one["outcome"], one.get("by")) for one in await told(house, "approval")] == [
        ("Pending", None), ("Approved", ["amy"]),
    ]  # fmt: skip
    level = await house.store.level(UID)
    assert level is not None
    assert (level.steps, level.closing and level.closing.outcome) == (2, Outcome.FINAL)
    assert await house.store.verify(UID) == []


@pytest.mark.requirement("POL-2")
async def test_a_denied_call_tells_the_model_why(house: House, runner: RunnerProcess) -> None:
    await govern(house, action="Ask")
    assert await runner.run(house.url) == ExitCode.APPROVAL
    (request,) = await pending(house)
    await decide(house, request, "Denied", answer="Deny", reason="not before noon")
    await house.put_session(pod="p2", epoch=2)
    (runner.workspace.parent / "token").write_text("pod-p2")
    assert await runner.run(house.url) == ExitCode.DONE
    level = await house.store.level(UID)
    assert level is not None
    assert level.result == "It said: shell: the call was denied, and did not run: not before noon"
    assert not (runner.workspace / "effects").exists()


@pytest.mark.requirement("POL-1")
@pytest.mark.parametrize(
    ("rule", "words"),
    [
        pytest.param(
            {"action": "Deny", "message": "no shells"}, "denies this call; it did not run: no shells", id="a rule"
        ),
        pytest.param({"action": "Allow", "when": "nonsense"}, "undeclared reference", id="a rule that cannot be read"),
    ],
)
async def test_a_call_that_policies_deny_never_runs(
    house: House, runner: RunnerProcess, rule: dict[str, Any], words: str
) -> None:
    await govern(house, **rule)
    assert await runner.run(house.url) == ExitCode.DONE
    level = await house.store.level(UID)
    assert level is not None
    assert words in (level.result or "")
    assert not (runner.workspace / "effects").exists()
    assert [one["action"] for one in await told(house, "policy_decision")] == ["Deny"]


@pytest.mark.requirement("POL-1")
async def test_a_policy_that_this_version_cannot_read_denies(house: House, runner: RunnerProcess) -> None:
    house.cluster.put("agentpolicies", "team", "p", spec={"ofTheFuture": True})
    await until(lambda: bool(house.gateway.proxy.policies.of("team")))
    assert await runner.run(house.url) == ExitCode.DONE
    assert not (runner.workspace / "effects").exists()


@pytest.mark.requirement("POL-2")
async def test_what_waits_is_listed_to_those_who_may_see_it(house: House, runner: RunnerProcess) -> None:
    await govern(house, action="Ask")
    await runner.run(house.url)
    (request,) = await pending(house)
    house.cluster.put("sessionapprovals", "team", "s-1", owner="s", spec={"session": "s", "request": request.to_json()})
    await until(lambda: len(house.gateway.proxy.decisions.informer) == 1)
    async with house.person() as amy, house.person("stranger") as stranger:
        page = (await amy.get("/api/v1/approvals")).json()
        assert [(one["name"], one["session"], one["sessionUid"]) for one in page["items"]] == [("s-1", "s", UID)]
        assert (page["total"], page["limit"], page["offset"]) == (1, 100, 0)
        assert (await amy.get("/api/v1/approvals", params={"offset": 1})).json()["items"] == []
        assert (await stranger.get("/api/v1/approvals")).status_code == 403
