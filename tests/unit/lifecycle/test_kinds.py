"""What types and modes mean: the table, the defaults that follow from it, what contradicts it, and the seal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.kinds import BUILTINS, MODES, TYPES, ExternalEffects, ToolClass, rules_of
from agentsessions.api.levels import Seal
from agentsessions.api.reasons import LimitName, Phase, StopReason
from agentsessions.api.v1alpha1.agent import Builtin
from agentsessions.api.v1alpha1.session import SessionMode, SessionSpec, SessionType
from agentsessions.lifecycle.coherence import find_contradiction
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.effective import resolve
from tests.builders import T0, SessionBuilder, a_session

SOURCES = [{"name": "sales", "format": "CSV", "configMapKeyRef": {"name": "sales", "key": "sales.csv"}}]

FILES = [{"path": "a.txt", "configMapKeyRef": {"name": "a", "key": "a"}}]


def a_spec(**fields: Any) -> SessionSpec:
    return SessionSpec.model_validate({"goal": "count", **fields})


@pytest.mark.requirement("OBJ-2")
@pytest.mark.requirement("OBJ-3")
def test_every_type_mode_and_builtin_has_a_row() -> None:
    assert set(TYPES) == set(SessionType)
    assert set(MODES) == set(SessionMode)
    assert set(BUILTINS) == set(Builtin)


@pytest.mark.requirement("OBJ-3")
@pytest.mark.parametrize("kind", list(SessionType))
@pytest.mark.parametrize("mode", list(SessionMode))
def test_a_session_may_do_what_both_of_its_rows_allow(kind: SessionType, mode: SessionMode) -> None:
    rules = rules_of(kind, mode)
    assert rules.classes == TYPES[kind].classes & MODES[mode].classes
    order = list(ExternalEffects)
    assert order.index(rules.external) == max(order.index(TYPES[kind].external), order.index(MODES[mode].external))
    if ToolClass.EXTERNAL not in rules.classes:
        assert rules.external is ExternalEffects.REFUSE


@pytest.mark.requirement("OBJ-3")
@pytest.mark.parametrize(
    ("fields", "tools"),
    [
        pytest.param({}, ["Shell", "Files"], id="without data sources there is nothing to query"),
        pytest.param({"dataSources": SOURCES}, ["Shell", "Files", "Sql"], id="data sources bring Sql"),
        pytest.param({"mode": "Analysis"}, ["Files"], id="Analysis reads files"),
        pytest.param({"mode": "Analysis", "dataSources": SOURCES}, ["Files", "Sql"], id="Analysis queries as well"),
        pytest.param({"mode": "Query", "dataSources": SOURCES}, ["Sql"], id="Query sees data sources alone"),
        pytest.param({"mode": "Script"}, ["Files"], id="Script runs nothing"),
        pytest.param({"type": "Audit"}, ["Files"], id="an audit reads"),
        pytest.param({"type": "Simulation"}, ["Shell", "Files"], id="a simulation works inside of the session"),
    ],
)
def test_an_agent_without_tools_gets_those_that_are_allowed(fields: dict[str, Any], tools: list[str]) -> None:
    (agent,) = resolve(a_spec(**fields)).agents
    assert [tool.builtin for tool in agent.tools or ()] == tools


@pytest.mark.requirement("OBJ-3")
def test_query_has_fewer_steps_by_default_and_as_many_as_are_asked_for() -> None:
    assert resolve(a_spec(mode="Query", dataSources=SOURCES)).limits.max_steps == 4
    chosen = resolve(a_spec(mode="Query", dataSources=SOURCES, limits={"maxSteps": 9}))
    assert chosen.limits.max_steps == 9


@pytest.mark.requirement("OBJ-2")
@pytest.mark.requirement("OBJ-3")
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"mode": "Analysis", "agents": [{"name": "a", "tools": [{"builtin": "Shell"}]}]}, "mode Analysis"),
        pytest.param({"type": "Audit", "agents": [{"name": "a", "tools": [{"builtin": "Shell"}]}]}, "type Audit"),
        pytest.param({"mode": "Query"}, "needs spec.dataSources"),
        pytest.param({"agents": [{"name": "a", "tools": [{"builtin": "Sql"}]}]}, "Sql needs spec.dataSources"),
        pytest.param({"mode": "Script", "agents": [{"name": "a", "image": "x.example/y:1"}]}, "an image of your own"),
        pytest.param({"type": "Audit", "conversation": {"open": True}}, "takes no spec.conversation"),
        pytest.param({"mode": "Query", "dataSources": SOURCES, "context": {"files": FILES}}, "no tool that reads"),
        pytest.param({"type": "Audit", "limits": {"onLimit": {"tokens": "Complete"}}}, "Fail or Pause"),
        pytest.param({"goal": None}, "there is nothing to do"),
    ],
)
def test_what_contradicts_type_or_mode_is_found_with_a_remedy(fields: dict[str, Any], words: str) -> None:
    problem = find_contradiction(a_spec(**fields))
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mode": "Analysis", "agents": [{"name": "a", "tools": [{"builtin": "Files"}]}]},
        {"type": "Simulation", "agents": [{"name": "a", "image": "x.example/y:1"}]},
        {"type": "Audit", "mode": "Query", "dataSources": SOURCES},
    ],
)
def test_what_goes_together_is_no_contradiction(fields: dict[str, Any]) -> None:
    assert find_contradiction(a_spec(**fields)) is None


def an_audit() -> SessionBuilder:
    return a_session().with_spec(type="Audit").running().with_final_answer()


SEAL = Seal(head=9, digest="ab", sealed_at=T0)


@pytest.mark.requirement("OBJ-2")
def test_an_audit_is_completed_with_its_seal_and_not_before() -> None:
    waiting = decide(an_audit().facts(), T0)
    assert waiting.status.phase is Phase.RUNNING
    assert waiting.wake_at is not None
    done = decide(an_audit().with_journal(seal=SEAL).facts(), T0).status
    assert done.phase is Phase.COMPLETED
    assert done.seal is not None
    assert (done.seal.head, done.seal.digest) == (9, "ab")


@pytest.mark.requirement("OBJ-2")
def test_an_audit_asks_the_journal_again_before_it_waits() -> None:
    assert decide(an_audit().with_stale_journal().facts(), T0).needs_level


@pytest.mark.requirement("OBJ-2")
def test_an_audit_at_a_limit_fails_whatever_its_limits_say_later() -> None:
    limits = {"onLimit": {"default": "Complete"}}
    stopped = a_session().with_spec(type="Audit", limits=limits).running().with_limit_reached(LimitName.STEPS)
    assert decide(stopped.facts(), T0).status.phase is Phase.FAILED


@pytest.mark.requirement("OBJ-2")
def test_an_audit_whose_journal_does_not_verify_fails() -> None:
    broken = SEAL.model_copy(update={"problem": "entry 3 was changed"})
    status = decide(an_audit().with_journal(seal=broken).facts(), T0 + timedelta(seconds=1)).status
    assert (status.phase, status.stop_reason) == (Phase.FAILED, StopReason.JOURNAL_INVALID)
    assert status.error is not None
    assert "entry 3 was changed" in status.error.message
    assert status.seal is None
