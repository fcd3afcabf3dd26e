"""The session that a director's agent starts: it has what the director has, and never more."""

from typing import Any

import pytest

from agentsessions.api.child_sessions import ChildRequest
from agentsessions.api.names import MAX_SESSION_NAME
from agentsessions.api.v1alpha1.life import Limits
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.children.names import child_session_name
from agentsessions.children.owner import owner_uid
from agentsessions.children.session import build_session
from agentsessions.lifecycle.effective import resolve
from tests.builders import SESSION_UID
from tests.unit.children.sessions import a_view

LEAD = {
    "name": "lead",
    "instructions": "You lead.",
    "model": {"providerRef": {"name": "mine"}, "name": "small"},
    "tools": [{"builtin": "Files"}, {"serverRef": {"name": "web"}, "allow": ["search"]}],
    "resources": {"limits": {"memory": "1Gi"}},
    "env": [{"name": "REGION", "value": "eu"}],
}
DIRECTOR: dict[str, Any] = {
    "role": "Director",
    "owner": "alice",
    "childSessions": {"max": 2, "templates": ["reporter"]},
    "policyRef": {"name": "strict"},
    "priority": 5,
    "placement": {"nodeSelector": {"pool": "sandboxed"}},
    "retry": {"maxRetries": 1},
    "shutdown": {"gracePeriodSeconds": 3},
    "dataSources": [{"name": "rows", "format": "CSV", "configMapKeyRef": {"name": "rows", "key": "rows.csv"}}],
    "context": {"text": "for the director alone"},
    "workspace": {"size": "1Gi"},
    "sessionId": "mine-1",
    "agents": [LEAD, {"name": "other"}],
    "coordination": {"strategy": "Director"},
}


def build(request: dict[str, Any], **spec: Any) -> dict[str, Any]:
    wanted = ChildRequest.model_validate({"id": "r1", "name": "lead-1", "agent": "lead", "goal": "count", **request})
    return build_session(
        a_view("boss", **{**DIRECTOR, **spec}), {"team": "x", "agentsessions.dev/session": "no"}, wanted
    )


@pytest.mark.requirement("ID-2")
def test_child_is_its_directors_and_its_owners() -> None:
    child = build({})
    meta = child["metadata"]
    assert (meta["name"], meta["namespace"], owner_uid(child)) == ("lead-1", "team", SESSION_UID)
    assert meta["labels"]["team"] == "x", "what binds the director by its labels binds the child"
    assert meta["labels"]["agentsessions.dev/session"] == "boss"
    assert child["spec"]["owner"] == "alice"
    assert child["spec"]["directorRef"] == {"name": "boss"}


def test_child_without_a_template_is_the_agent_that_starts_it_without_its_instructions() -> None:
    spec = build({"limits": {"maxSteps": 2}})["spec"]
    (agent,) = spec.pop("agents")
    assert agent == {name: value for name, value in LEAD.items() if name != "instructions"}
    assert spec == {
        "type": "Custom",
        "mode": "FullAutonomy",
        "role": "Worker",
        "owner": "alice",
        "priority": 5,
        "placement": {"nodeSelector": {"pool": "sandboxed"}},
        "policyRef": {"name": "strict"},
        "directorRef": {"name": "boss"},
        "goal": "count",
        "limits": {"maxSteps": 2},
        **{name: DIRECTOR[name] for name in ("dataSources", "retry", "shutdown")},
    }
    assert SessionSpec.model_validate({**spec, "agents": [agent]})


def test_child_of_a_director_without_agents_has_the_default_one() -> None:
    plain = {"agents": None, "coordination": None, "dataSources": None}
    spec = build({"agent": "agent"}, **plain)["spec"]
    assert [agent["name"] for agent in spec["agents"]] == ["agent"]
    assert resolve(SessionSpec.model_validate(spec)).agents == resolve(a_view(**plain).spec).agents


def test_child_from_a_template_has_the_templates_agents_and_the_directors_bounds() -> None:
    spec = build({"template": "reporter", "goal": None, "limits": {"maxTokens": 7}})["spec"]
    assert "agents" not in spec
    assert "goal" not in spec
    assert "dataSources" not in spec
    assert spec["templateRef"] == {"name": "reporter"}
    assert (spec["policyRef"], spec["limits"]) == ({"name": "strict"}, {"maxTokens": 7})
    assert spec["placement"] == DIRECTOR["placement"]


@pytest.mark.parametrize("wanted", ["boss", "x" * MAX_SESSION_NAME])
def test_name_of_a_child_follows_from_the_call_and_fits(wanted: str) -> None:
    name = child_session_name(wanted, SESSION_UID, "lead", "call_1_1")
    assert name == child_session_name(wanted, SESSION_UID, "lead", "call_1_1")
    assert name != child_session_name(wanted, SESSION_UID, "lead", "call_1_2")
    assert len(name) <= MAX_SESSION_NAME
    assert name.startswith(wanted[:40])


def test_limits_of_a_request_are_those_of_the_child() -> None:
    assert Limits.model_validate(build({"limits": {"maxSteps": 2}})["spec"]["limits"]) == Limits(max_steps=2)
