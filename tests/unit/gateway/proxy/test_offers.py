"""Which tools a type and mode leave of an agent's, and when an agent has had its rounds of them."""

from __future__ import annotations

from typing import Any

import pytest

from agentsessions.api.kinds import rules_of
from agentsessions.api.v1alpha1.agent import Agent
from agentsessions.api.v1alpha1.session import SessionMode, SessionType
from agentsessions.gateway.proxy.offers import are_spent, offers_of

ALL = Agent.model_validate({"name": "a", "tools": [{"builtin": "Shell"}, {"builtin": "Files"}, {"builtin": "Sql"}]})
CUSTOM, QUERY = SessionType.CUSTOM, rules_of(SessionType.CUSTOM, SessionMode.QUERY)


@pytest.mark.requirement("OBJ-2")
@pytest.mark.requirement("OBJ-3")
@pytest.mark.parametrize(
    ("kind", "mode", "offered"),
    [
        ("Custom", "FullAutonomy", ["shell", "files", "sql"]),
        ("Metrics", "FullAutonomy", ["shell", "files", "sql"]),
        ("Simulation", "FullAutonomy", ["shell", "files", "sql"]),
        ("Audit", "FullAutonomy", ["files, reading", "sql"]),
        ("Custom", "Analysis", ["files, reading", "sql"]),
        ("Custom", "Script", ["files, reading", "sql"]),
        ("Custom", "Query", ["sql"]),
        ("Audit", "Query", ["sql"]),
    ],
)
def test_offers_are_what_type_and_mode_allow(kind: str, mode: str, offered: list[str]) -> None:
    found = [one.offer for one in offers_of(ALL, rules_of(SessionType(kind), SessionMode(mode)))]
    assert [f"{offer.name}, reading" if offer.is_read_only else offer.name for offer in found] == offered


def asked(*names: str) -> list[dict[str, Any]]:
    calls = [{"type": "function_call", "call_id": f"c-{name}", "name": name, "arguments": "{}"} for name in names]
    return calls + [{"type": "function_call_output", "call_id": call["call_id"], "output": ""} for call in calls]


SAID = {"type": "message", "role": "assistant", "content": []}
PERSON = {"role": "user", "content": "How many?"}
GIVEN = [{**item, "call_id": "sent_1"} for item in asked("sql")]


@pytest.mark.requirement("OBJ-3")
@pytest.mark.parametrize(
    ("history", "spent"),
    [
        pytest.param([PERSON], False, id="nothing was asked yet"),
        pytest.param([PERSON, SAID, *asked("sql", "sql")], True, id="several queries of one answer are one round"),
        pytest.param([PERSON, *asked("sql"), SAID, PERSON], False, id="the next message brings the next round"),
        pytest.param([PERSON, *asked("sql"), SAID, PERSON, *asked("sql")], True, id="which is spent likewise"),
        pytest.param([PERSON, *GIVEN], False, id="a result that a person sent is no round of the agent"),
    ],
)
def test_query_has_one_round_of_tools_after_each_message(history: list[dict[str, Any]], spent: bool) -> None:
    assert are_spent(QUERY, history) is spent
    assert not are_spent(rules_of(CUSTOM, SessionMode.ANALYSIS), history)
