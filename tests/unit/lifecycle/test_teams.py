"""Who is due in a session with several agents."""

from __future__ import annotations

from typing import Any

import pytest

from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.lifecycle.teams import (
    Progress,
    Team,
    find_cycle,
    find_due,
    find_listener,
    join_answers,
    shutdown_rank,
    team_of,
    tell_answers,
)


def a_spec(strategy: str | None, **after: list[str]) -> SessionSpec:
    agents: list[dict[str, Any]] = [{"name": name, **({"dependsOn": on} if on else {})} for name, on in after.items()]
    how = {"coordination": {"strategy": strategy}} if strategy else {}
    return SessionSpec.model_validate({"goal": "count", "agents": agents, **how})


def a_team(strategy: str, **after: list[str]) -> Team:
    team = team_of(a_spec(strategy, **after))
    assert team is not None
    return team


OWN_IMAGE: dict[str, Any] = {"image": "registry.example.com/loop:1"}
OWN_RESOURCES: dict[str, Any] = {"resources": {"limits": {"memory": "2Gi"}}}
OWN_ENV: dict[str, Any] = {"env": [{"name": "OWN", "value": "1"}]}
OTHER_ENV: dict[str, Any] = {"env": [{"name": "OWN", "value": "2"}]}
OWN_MIND: dict[str, Any] = {"instructions": "Be brief.", "model": {"name": "m"}, "tools": [{"builtin": "Shell"}]}


@pytest.mark.requirement("AG-1")
@pytest.mark.parametrize(
    ("strategy", "agents", "hosts"),
    [
        pytest.param("Handoff", ({}, {}, {}), "aaa", id="agents that hand over share the pod of the first"),
        pytest.param("Handoff", ({}, OWN_MIND, {}), "aaa", id="instructions, model and tools are no matter of the pod"),
        pytest.param("Handoff", ({}, OWN_RESOURCES, {}), "aba", id="one with resources has its own"),
        pytest.param("Handoff", (OWN_ENV, {}, {}), "abb", id="one with an env has its own, the first too"),
        pytest.param("Handoff", ({}, {}, OWN_IMAGE), "aac", id="one with an image has its own"),
        pytest.param("Handoff", (OWN_ENV, OWN_ENV, {}), "abc", id="one alone shares with nobody"),
        pytest.param(
            "Handoff", (OWN_ENV, OWN_ENV, OWN_ENV), "aaa", id="what all have, as from a template, is nobody's own"
        ),
        pytest.param("Handoff", (OWN_ENV, OTHER_ENV, OWN_ENV), "abc", id="what not all have alike is"),
        pytest.param("Handoff", ({}, {"resources": {}}, {}), "aba", id="empty resources are a wish for a pod"),
        pytest.param("Sequential", ({}, {}, {}), "abc", id="who works in order shares nothing"),
        pytest.param("Parallel", ({}, {}, {}), "abc", id="who works at once shares nothing"),
        pytest.param("Director", ({}, {}, {}), "abc", id="who works for a director shares nothing"),
    ],
)
def test_agents_share_a_pod_that_hand_over_and_ask_for_none(
    strategy: str, agents: tuple[dict[str, Any], ...], hosts: str
) -> None:
    listed = [{"name": name, **agent} for name, agent in zip("abc", agents, strict=True)]
    spec = {"goal": "count", "agents": listed, "coordination": {"strategy": strategy}}
    team = team_of(SessionSpec.model_validate(spec))
    assert team is not None
    assert "".join(map(team.host_of, "abc")) == hosts
    assert all(
        team.group_of(name) == tuple(other for other, host in zip("abc", hosts, strict=True) if host == mine)
        for name, mine in zip("abc", hosts, strict=True)
    )
    assert team.host_of("nobody") == "nobody"


THREE: dict[str, list[str]] = {"a": [], "b": [], "c": []}


def test_one_agent_is_no_team() -> None:
    assert team_of(a_spec(None, a=[])) is None
    assert team_of(a_spec("Single", a=[])) is None


@pytest.mark.requirement("AG-3")
@pytest.mark.parametrize(
    ("team", "progress", "due"),
    [
        pytest.param(a_team("Sequential", **THREE), Progress(), ("a",), id="sequential begins with the first"),
        pytest.param(a_team("Sequential", **THREE), Progress(done=frozenset("a")), ("b",), id="then the next"),
        pytest.param(a_team("Sequential", a=["c"], b=[], c=[]), Progress(), ("b",), id="whom nobody has to wait for"),
        pytest.param(
            a_team("Sequential", a=["c"], b=[], c=[]), Progress(done=frozenset("bc")), ("a",), id="dependsOn goes first"
        ),
        pytest.param(a_team("Parallel", **THREE), Progress(), ("a", "b", "c"), id="parallel begins with all"),
        pytest.param(
            a_team("Parallel", a=[], b=["a"], c=[]), Progress(), ("a", "c"), id="but not with those that depend on some"
        ),
        pytest.param(
            a_team("Parallel", a=[], b=["a"], c=[]), Progress(done=frozenset("a")), ("b", "c"), id="which come later"
        ),
        pytest.param(a_team("Handoff", **THREE), Progress(), ("a",), id="handoff begins with the first"),
        pytest.param(a_team("Handoff", **THREE), Progress(floor="c"), ("c",), id="and goes on with who has the floor"),
        pytest.param(a_team("Director", **THREE), Progress(), ("a",), id="the director begins alone"),
        pytest.param(
            a_team("Director", **THREE), Progress(tasked=frozenset("c")), ("a", "c"), id="and stays while others work"
        ),
        pytest.param(a_team("Parallel", **THREE), Progress(is_over=True), (), id="nobody is due when it is over"),
    ],
)
def test_due_are_those_who_have_something_to_do(team: Team, progress: Progress, due: tuple[str, ...]) -> None:
    assert find_due(team, progress) == due
    assert find_listener(team, progress) == (due[0] if due else "")


@pytest.mark.parametrize(
    ("after", "cycle"),
    [
        pytest.param({"a": [], "b": ["a"], "c": ["a", "b"]}, None, id="none"),
        pytest.param({"a": ["b"], "b": ["a"]}, ("a", "b"), id="two wait for each other"),
        pytest.param({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, ("a", "b", "c"), id="behind one that waits too"),
    ],
)
def test_cycle_is_found_and_named(after: dict[str, list[str]], cycle: tuple[str, ...] | None) -> None:
    assert find_cycle(a_spec("Parallel", **after).agents or []) == cycle
    assert team_of(a_spec("Sequential", **after)) is not None


@pytest.mark.requirement("LIFE-7")
@pytest.mark.parametrize(
    ("team", "ranks"),
    [
        pytest.param(a_team("Parallel", a=["b"], b=["c"], c=[]), [2, 1, 0], id="dependents end first"),
        pytest.param(a_team("Director", **THREE), [0, 1, 1], id="the director ends last"),
        pytest.param(a_team("Sequential", **THREE), [0, 1, 2], id="later ones end before earlier ones"),
        pytest.param(a_team("Handoff", **THREE), [0, 0, 0], id="no order where none depends on another"),
    ],
)
def test_shutdown_has_an_order(team: Team, ranks: list[int]) -> None:
    assert [shutdown_rank(team, name) for name in "abc"] == ranks


def test_one_answer_is_told_as_it_is_and_several_under_their_names() -> None:
    assert tell_answers({"a": "one"}) == "one"
    assert (
        tell_answers({"a": "one", "b": "two"}) == join_answers({"a": "one", "b": "two"}) == "## a\n\none\n\n## b\n\ntwo"
    )
