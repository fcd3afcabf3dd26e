"""A session's spec over its template's: what wins, what is refused, and what the status tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import Condition
from agentsessions.api.v1alpha1.template import AgentSessionTemplateSpec
from agentsessions.children.revisions import build_revision, read_revision, revision_name
from agentsessions.lifecycle.coherence import find_contradiction
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.facts import TemplateView
from agentsessions.lifecycle.templates import find_not_allowed, merge
from tests.builders import T0, a_session

pytestmark = pytest.mark.requirement("AG-6")

BASE: dict[str, Any] = {
    "session": {
        "title": "Sales",
        "metadata": {"team": "a", "tier": "1"},
        "goal": "Look at the sales",
        "agents": [
            {
                "name": "analyst",
                "instructions": "Be brief.",
                "model": {"name": "small", "settings": {"temperature": 0.5}},
                "env": [{"name": "LANG_OF_REPORT", "value": "en"}],
            }
        ],
        "limits": {"maxSteps": 15, "maxTokens": 6000},
    }
}


def a_template(*overridable: str, **more: Any) -> AgentSessionTemplateSpec:
    return AgentSessionTemplateSpec.model_validate({**BASE, "overridable": list(overridable), **more})


def a_spec(**fields: Any) -> SessionSpec:
    return SessionSpec.model_validate({"templateRef": {"name": "analyst"}, **fields})


def merged(template: AgentSessionTemplateSpec, **fields: Any) -> dict[str, Any]:
    return merge(a_spec(**fields), template).to_json()


def test_what_the_spec_leaves_open_is_the_templates() -> None:
    spec = merged(a_template())
    assert {name: spec[name] for name in BASE["session"]} == BASE["session"]
    assert (spec["type"], spec["templateRef"]) == ("Custom", {"name": "analyst"})


def test_limits_of_the_session_win_one_by_one() -> None:
    assert merged(a_template("limits"), limits={"maxSteps": 3})["limits"] == {"maxSteps": 3, "maxTokens": 6000}


def test_an_agent_of_the_same_name_wins_field_by_field_and_others_are_told_apart() -> None:
    own = [{"name": "analyst", "model": {"settings": {"temperature": 0}}, "env": [{"name": "MORE", "value": "x"}]}]
    (agent,) = merged(a_template("agents"), agents=own)["agents"]
    assert agent["instructions"] == "Be brief."
    assert agent["model"] == {"name": "small", "settings": {"temperature": 0}}
    assert agent["env"] == [{"name": "LANG_OF_REPORT", "value": "en"}, {"name": "MORE", "value": "x"}]


@pytest.mark.requirement("POL-1")
def test_policy_of_the_template_binds_and_is_not_the_sessions_to_replace() -> None:
    session = {**BASE["session"], "policyRef": {"name": "strict"}}
    template = a_template(session=session)
    assert merged(template, type="Policy")["policyRef"] == {"name": "strict"}
    assert merged(template, policyRef={"name": "lax"})["policyRef"] == {"name": "strict"}
    assert find_not_allowed(a_spec(policyRef={"name": "lax"}), template) == ("policyRef",)
    assert merged(a_template("policyRef", session=session), policyRef={"name": "lax"})["policyRef"] == {"name": "lax"}


@pytest.mark.requirement("OBJ-2")
def test_type_policy_needs_a_policy_of_its_own_or_of_its_template() -> None:
    problem = find_contradiction(merge(a_spec(type="Policy"), a_template()))
    assert problem is not None
    assert "neither the session nor its template has one" in problem
    with_one = a_template(session={**BASE["session"], "policyRef": {"name": "strict"}})
    assert find_contradiction(merge(a_spec(type="Policy"), with_one)) is None


def test_context_of_the_session_replaces_all_of_the_templates() -> None:
    template = a_template("context", session={**BASE["session"], "context": {"text": "old"}})
    assert merged(template, context={"json": {"a": 1}})["context"] == {"json": {"a": 1}}


def test_env_of_the_template_reaches_every_agent_and_loses_to_the_agents_own() -> None:
    env = [{"name": "LANG_OF_REPORT", "value": "de"}, {"name": "LOG_LEVEL", "value": "info"}]
    (agent,) = merged(a_template(env=env))["agents"]
    assert agent["env"] == [{"name": "LANG_OF_REPORT", "value": "en"}, {"name": "LOG_LEVEL", "value": "info"}]
    bare = AgentSessionTemplateSpec.model_validate({"session": {}, "env": env})
    assert merged(bare, goal="x")["agents"] == [{"name": "agent", "env": env}]


def test_words_for_people_are_every_sessions_own() -> None:
    spec = merged(a_template(), title="Mine", metadata={"tier": "2"})
    assert (spec["title"], spec["metadata"]) == ("Mine", {"team": "a", "tier": "2"})


@pytest.mark.parametrize(
    ("overridable", "fields", "refused"),
    [
        pytest.param((), {"limits": {"maxSteps": 20}}, ("limits",), id="what the template sets is held"),
        pytest.param(("limits",), {"limits": {"maxSteps": 20}}, (), id="unless it is listed"),
        pytest.param((), {"retry": {"maxRetries": 1}}, (), id="what the template leaves open is free"),
        pytest.param(("goal",), {"goal": "x", "agents": [{"name": "b"}]}, ("agents",), id="each field by itself"),
    ],
)
def test_overriding_what_is_not_listed_is_found_and_changes_nothing(
    overridable: tuple[str, ...], fields: dict[str, Any], refused: tuple[str, ...]
) -> None:
    template = a_template(*overridable)
    assert find_not_allowed(a_spec(**fields), template) == refused
    spec = merged(template, **fields)
    assert all(spec[field] == BASE["session"][field] for field in refused)


def test_more_agents_than_a_session_may_have_are_no_spec() -> None:
    many = [{"name": f"a{number}"} for number in range(17)]
    with pytest.raises(ValidationError):
        merge(a_spec(agents=many[:1]), a_template("agents", session={"agents": many[1:]}))


def test_a_revision_holds_the_template_and_another_content_has_another_name() -> None:
    one, other = a_template(), a_template("limits")
    raw = build_revision("team", "analyst", 3, one)
    assert raw["revision"] == 3
    assert read_revision(raw, "analyst") == one
    assert revision_name("analyst", one) != revision_name("analyst", other)
    assert read_revision({**raw, "data": build_revision("team", "analyst", 4, other)["data"]}, "analyst") is None
    assert len(revision_name("x" * 63, one)) <= 253


def current(phase: Phase, template: TemplateView) -> tuple[str, str] | None:
    facts = replace(a_session().in_phase(phase).asked_to_pause().facts(), template=template)
    conditions = {one.type: one for one in decide(facts, T0).status.conditions or []}
    found: Condition | None = conditions.get("TemplateCurrent")
    return None if found is None else (found.status, found.reason)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        pytest.param(TemplateView(), None, id="a session without a template says nothing"),
        pytest.param(TemplateView("a", "a-1", "a-1"), ("True", "Settled"), id="the newest revision"),
        pytest.param(TemplateView("a", "a-1", "a-2"), ("False", "NewerTemplate"), id="a newer one is there"),
        pytest.param(TemplateView("a", "a-1", ""), ("False", "TemplateNotFound"), id="the template is gone"),
        pytest.param(
            TemplateView("a", "a-1", "a-1", ("limits",)), ("False", "OverrideNotAllowed"), id="limits raised later"
        ),
    ],
)
def test_status_tells_how_the_template_stands_to_the_revision(
    template: TemplateView, told: tuple[str, str] | None
) -> None:
    assert current(Phase.PAUSED, template) == told


def test_the_revision_is_pinned_when_the_session_is_accepted_and_stays() -> None:
    facts = replace(a_session().asked_to_pause().facts(), template=TemplateView("a", "a-1", "a-1"))
    status = decide(facts, T0).status
    assert status.template_revision == "a-1"
    later = replace(facts, session=replace(facts.session, status=status), template=TemplateView("a", "a-2", "a-2"))
    assert decide(later, T0).status.template_revision == "a-1"
