"""The gateway holds pods to their type and mode, and to the revision of their template, whatever they ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentsessions.api import wire
from agentsessions.api.v1alpha1.template import AgentSessionTemplateSpec
from agentsessions.children.revisions import build_revision, revision_name
from agentsessions.journal.entries import EntryType
from tests.process.proxy.house import House, until

SOURCES = [{"name": "sales", "format": "CSV", "configMapKeyRef": {"name": "sales", "key": "sales.csv"}}]


def a_script(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    answer = {"text": "I try.", "toolCalls": [{"name": name, "arguments": arguments} for name, arguments in calls]}
    rules = [{"when": {"step": 1}, "answer": answer}, {"answer": {"text": "Done."}}]
    return {"type": "Scripted", "models": [{"name": "script"}], "script": {"rules": rules}}


async def turn_of(house: House) -> wire.Turn:
    async with house.client() as http:
        answer = await http.get(wire.TURN_PATH)
    assert answer.status_code == 200, answer.text
    return wire.Turn.model_validate_json(answer.content)


async def begin(house: House, call: dict[str, Any]) -> wire.ToolVerdict:
    """Ask for a call as a pod that claims to be allowed everything."""
    asked = wire.ToolBegin(
        call_id=call["id"],
        name=call["function"]["name"],
        arguments='{"operation": "read", "path": "x"}',
        side_effect=wire.SideEffect.NONE,
    )
    async with house.client() as http:
        answer = await http.post(wire.TOOL_BEGIN_PATH, json=asked.to_json())
    assert answer.status_code == 200, answer.text
    return wire.ToolVerdict.model_validate_json(answer.content)


@pytest.mark.requirement("OBJ-2")
@pytest.mark.requirement("OBJ-3")
@pytest.mark.parametrize("kind", [{"mode": "Analysis"}, {"type": "Audit"}, {"mode": "Script"}])
async def test_a_call_that_is_not_allowed_is_refused_journaled_and_not_run(house: House, kind: dict[str, str]) -> None:
    write = {"operation": "write", "path": "x", "content": "y"}
    await house.put_provider(
        a_script(("files", write), ("shell", {"command": "id"}), ("files", {"operation": "read", "path": "x"}))
    )
    uid = await house.put_session(**kind)
    offered = (await turn_of(house)).tools
    assert [(tool.name, tool.is_read_only) for tool in offered] == [("files", True)]
    answer = (await house.ask("script")).json()["choices"][0]["message"]
    verdicts = [await begin(house, call) for call in answer["tool_calls"]]
    assert [verdict.verdict for verdict in verdicts] == ["recorded", "recorded", "run"]
    assert all("does not allow this" in (verdict.output or "") for verdict in verdicts[:2])
    results = [entry.body for entry in await house.store.entries(uid) if entry.type is EntryType.TOOL_RESULT]
    assert [(body or {})["isError"] for body in results] == [True, True]


@pytest.mark.requirement("OBJ-3")
async def test_query_is_offered_its_tool_once(house: House) -> None:
    await house.put_provider(a_script(("sql", {"query": "SELECT 1"})))
    await house.put_session(mode="Query", dataSources=SOURCES)
    first = await turn_of(house)
    assert [tool.name for tool in first.tools] == ["sql"]
    assert "then answer" in (first.instructions or "")
    (call,) = (await house.ask("script")).json()["choices"][0]["message"]["tool_calls"]
    await begin(house, call)
    settle = wire.ToolSettle(call_id=call["id"], output="1", duration_milliseconds=1)
    async with house.client() as http:
        await http.post(wire.TOOL_SETTLE_PATH, json=settle.to_json())
        answer = await http.post(wire.COMMIT_PATH, json=wire.Commit(k=1, outcome=wire.Outcome.CONTINUE).to_json())
    assert wire.Turn.model_validate_json(answer.content).tools == ()


@pytest.mark.requirement("AG-6")
async def test_a_session_is_played_as_the_revision_of_its_template_says(house: House) -> None:
    template = AgentSessionTemplateSpec.model_validate(
        {
            "session": {
                "goal": "look",
                "limits": {"maxOutputTokens": 77},
                "agents": [{"name": "agent", "instructions": "Be brief.", "tools": []}],
            }
        }
    )
    name = revision_name("analyst", template)
    await house.put_provider(a_script())
    status = {
        "phase": "Running",
        "phaseStartedAt": "2026-11-21T12:00:01Z",
        "templateRevision": name,
        "agents": [{"name": "agent", "epoch": 1, "podName": "p2", "podUID": "p2"}],
    }
    house.cluster.put("agentsessions", "team", "t", spec={"templateRef": {"name": "analyst"}}, status=status)
    await until(lambda: house.gateway.session("uid-team-t") is not None)
    async with house.client("p2") as http:  # its revision cannot be read yet
        assert (await http.get(wire.TURN_PATH)).status_code in {401, 425, 503}
    assert await house.store.get_session_by_uid("uid-team-t") is None

    house.cluster.revisions["team", name] = build_revision("team", "analyst", 1, template)
    async with house.client("p2") as http:
        answer = await http.get(wire.TURN_PATH)
        while answer.status_code != 200:
            answer = await http.get(wire.TURN_PATH)
    turn = wire.Turn.model_validate_json(answer.content)
    assert (turn.instructions, turn.max_output_tokens, turn.tools) == ("Be brief.", 77, ())
    assert turn.history[0]["content"] == "look"
    row = await house.store.get_session_by_uid("uid-team-t")
    assert row is not None
    assert (row.template, row.goal, row.limits.max_output_tokens) == ("analyst", "look", 77)
    assert json.dumps(row.spec).count("Be brief.") == 1
