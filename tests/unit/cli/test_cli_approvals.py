"""Calls that wait for a person, listed and decided, against a scripted API server."""

from __future__ import annotations

from typing import Any

import pytest

from agentsessions.cli.sessions import next_step
from tests.unit.cli.conftest import Run, resource
from tests.unit.client.script_server import Answer, Asked, ScriptServer

pytestmark = pytest.mark.requirement("OPS-5")


def approval(name: str = "rows-1", kind: str = "Approval", outcome: str | None = None) -> dict[str, Any]:
    request = {
        "kind": kind,
        "tool": "shell",
        "arguments": '{"command":\n"publish"}\x1b[31m',
        "message": "what is published cannot be taken back",
        "askedAt": "2026-11-02T10:00:00Z",
    }
    meta = {"name": name, "namespace": "demo", "uid": f"uid-{name}"}
    status = {"outcome": outcome, "message": f"{outcome} by amy"} if outcome else {}
    return {"metadata": meta, "spec": {"session": "rows", "request": request}, "status": status}


def cluster(*approvals: dict[str, Any]) -> Any:
    """Answer as an API server with these approvals, which knows the caller as amy."""

    def answer(asked: Asked) -> Answer:
        path = asked.path.partition("?")[0]
        if path.endswith("selfsubjectreviews"):
            return Answer(201, {"status": {"userInfo": {"username": "amy"}}})
        if path.endswith("/sessionapprovals"):
            return Answer(body={"metadata": {"resourceVersion": "9"}, "items": list(approvals)})
        name = path.rpartition("/")[2]
        found = next((one for one in approvals if one["metadata"]["name"] == name), None)
        missing = Answer(404, {"kind": "Status", "reason": "NotFound", "message": "not found"})
        return missing if found is None else Answer(body=found)

    return answer


def said(server: ScriptServer) -> list[Any]:
    return [asked.json()["spec"]["decisions"] for asked in server.asked if asked.method == "PATCH"]


def test_approvals_lists_what_waits_and_how_to_decide_it(server: ScriptServer, run: Run) -> None:
    server.answer = cluster(approval(), approval("rows-0", outcome="Denied"))
    done = run("approvals")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["NAME", "SESSION"], ["rows-1", "rows"]]
    assert "\x1b" not in done.stdout
    assert "kubectl agentsession approve rows-1 -n demo" in done.stderr
    assert "rows-0" in run("approvals", "--all").stdout


@pytest.mark.parametrize("given", ["rows-1", "rows"], ids=["by its own name", "by its session's"])
def test_approve_answers_under_the_name_that_the_api_server_knows(server: ScriptServer, run: Run, given: str) -> None:
    server.answer = cluster(approval())
    done = run("approve", given, "--reason", "fine")
    assert done.returncode == 0, done.stderr
    assert said(server) == [{"amy": {"answer": "Approve", "reason": "fine"}}]


def test_settle_says_one_of_two_things(server: ScriptServer, run: Run) -> None:
    server.answer = cluster(approval(kind="Doubt"))
    assert run("settle", "rows-1").returncode == 2
    assert run("settle", "rows-1", "--happened", "mailed").returncode == 0
    assert run("settle", "rows-1", "--run-again").returncode == 0
    assert said(server) == [
        {"amy": {"answer": "Happened", "output": "mailed"}}, {"amy": {"answer": "RunAgain"}},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found", "sentence"),
    [
        (("deny", "rows-1"), approval(outcome="Approved"), "is decided already: Approved by amy"),
        (("approve", "rows-1"), approval(kind="Doubt"), "is of kind Doubt: answer it with `settle`"),
        (("settle", "rows-1", "--run-again"), approval(), "answer it with `approve` or `deny`"),
        (("approve", "none"), approval(), "no approval and no waiting session is called 'none'"),
    ],
)
def test_what_cannot_be_decided_says_why(
    server: ScriptServer, run: Run, words: tuple[str, ...], found: dict[str, Any], sentence: str
) -> None:
    server.answer = cluster(found)
    done = run(*words)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert said(server) == []


@pytest.mark.parametrize(
    ("phase", "status"),
    [
        pytest.param("Waiting", {}, id="it waits"),
        pytest.param("Paused", {"stopReason": "ApprovalExpired"}, id="nobody decided in time"),
    ],
)
def test_next_step_of_a_session_with_an_undecided_call_is_to_decide(phase: str, status: dict[str, Any]) -> None:
    assert "kubectl agentsession approvals -n demo" in next_step(resource("rows", phase, status=status))
