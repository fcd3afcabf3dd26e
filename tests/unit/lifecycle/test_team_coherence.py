"""Agents that a template brings are held to what the CRD's rules ask of those that a spec lists itself."""

from typing import Any

import pytest

from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.template import AgentSessionTemplateSpec
from agentsessions.lifecycle.coherence import find_contradiction
from agentsessions.lifecycle.templates import merge

TWO = [{"name": "north"}, {"name": "south"}]
PARALLEL = {"strategy": "Parallel"}


def merged(agents: list[dict[str, Any]], **spec: Any) -> SessionSpec:
    """Return a session over a template with these agents."""
    template = AgentSessionTemplateSpec.model_validate({"session": {"agents": agents}})
    own = {"goal": "Work.", "templateRef": {"name": "team"}, **spec}
    return merge(SessionSpec.model_validate(own), template)


@pytest.mark.requirement("AG-3")
@pytest.mark.requirement("AG-6")
@pytest.mark.parametrize(
    ("agents", "spec", "words"),
    [
        pytest.param(TWO, {}, "several agents (north, south)", id="nobody says how they work together"),
        pytest.param(TWO, {"coordination": {"strategy": "Single"}}, "several agents", id="two are not one"),
        pytest.param(TWO[:1], {"coordination": PARALLEL}, "there is one", id="one is not several"),
        pytest.param(
            TWO,
            {"coordination": PARALLEL, "type": "Metrics", "schedule": {"intervalSeconds": 1, "durationSeconds": 2}},
            "rounds, with one agent",
            id="rounds are played by one",
        ),
        pytest.param(
            TWO, {"coordination": PARALLEL, "conversation": {"open": True}}, "Handoff or Director", id="who is to talk"
        ),
        pytest.param(
            [TWO[0], {"name": "south", "image": "x.example/y:1"}], {"coordination": PARALLEL}, "works alone", id="image"
        ),
        pytest.param(
            [TWO[0], {"name": "south", "dependsOn": ["west"]}],
            {"coordination": PARALLEL},
            "dependsOn names 'west'",
            id="one waits for nobody",
        ),
        pytest.param(
            [TWO[0], {"name": "south", "dependsOn": ["north"]}],
            {"coordination": {"strategy": "Director"}},
            "belongs to the strategies",
            id="a director's agents wait for tasks",
        ),
    ],
)
def test_agents_of_a_template_that_do_not_go_together_are_found(
    agents: list[dict[str, Any]], spec: dict[str, Any], words: str
) -> None:
    problem = find_contradiction(merged(agents, **spec))
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize("strategy", ["Sequential", "Parallel", "Handoff", "Director"])
def test_agents_of_a_template_work_together_as_the_session_says(strategy: str) -> None:
    assert find_contradiction(merged(TWO, coordination={"strategy": strategy})) is None
