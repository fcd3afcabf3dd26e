"""CEL from data."""

import pytest

from agentsessions.crdgen.rules import (
    build_finished_rule,
    build_immutability,
    build_phase_rules,
    to_cel_name,
)
from agentsessions.lifecycle.phases import TERMINAL


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("goal", "goal"),
        ("namespace", "__namespace__"),
        ("in", "__in__"),
        ("a-b", "a__dash__b"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("a__b", "a__underscores__b"),
    ],
)
def test_to_cel_name_escapes(field: str, wanted: str) -> None:
    assert to_cel_name(field) == wanted


def test_immutability_sees_removal_of_optional_fields() -> None:
    rules = build_immutability(["goal", "import", "title"], {"goal"}, mutable={"title"})
    assert [rule["rule"] for rule in rules] == [
        "self.goal == oldSelf.goal",
        (
            "has(self.__import__) == has(oldSelf.__import__)"
            " && (!has(self.__import__) || self.__import__ == oldSelf.__import__)"
        ),
    ]
    assert [rule["fieldPath"] for rule in rules] == [".goal", ".import"]


def test_phase_rules_hold_the_table() -> None:
    removed, moved = build_phase_rules()
    assert "'Cancelling': ['Cancelled']" in moved["rule"]
    assert "'Completed': []" in moved["rule"]
    assert "cannot be removed" in removed["message"]


def test_finished_rule_names_every_final_phase_and_looks_at_a_changed_mode_alone() -> None:
    rule = build_finished_rule()
    assert all(f"'{phase}'" in rule["rule"] for phase in TERMINAL)
    assert rule["rule"].endswith("self.spec.operatingMode == oldSelf.spec.operatingMode")
    assert rule["message"] == "session is finished: operatingMode cannot change; create a new session"
