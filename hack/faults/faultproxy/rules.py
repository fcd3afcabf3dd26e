"""Which call is disturbed, and how: data, from code or from JSON.

    {"match": {"resource": "pods", "verbs": ["create"]}, "at": 1, "fault": {"kind": "kill", "when": "after"}}

The first call for which `match` holds has number 1. Rules count each for itself, so a rule with a namespace counts
that namespace's calls, whatever else goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .calls import MUTATING, Call
from .faults import FAULTS, Fault, When


class RuleError(ValueError):
    """A rule that cannot be read; the text says what is allowed."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which calls count. What is left out does not matter."""

    verbs: frozenset[str] = MUTATING
    resource: str | None = None
    """Plural, with the subresource if there is one."""
    namespace: str | None = None

    def holds(self, call: Call) -> bool:
        """Tell whether the call counts."""
        return (
            bool(call.resource)
            and call.verb in self.verbs
            and self.resource in {None, call.resource}
            and self.namespace in {None, call.namespace}
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """Disturbs the calls number `at` to `at + times - 1` of those that match."""

    fault: Fault
    at: int = 1
    times: int = 1
    match: Match = Match()


def read_rule(data: Mapping[str, Any]) -> Rule:
    """Return the rule that JSON describes.

    Raises:
        RuleError: A word is not known.
    """
    _refuse_unknown(data, {"fault", "at", "times", "match"}, "a rule")
    found = dict(data.get("fault") or {})
    kind = FAULTS.get(str(found.pop("kind", "")))
    if kind is None:
        raise RuleError(f"fault.kind is one of {', '.join(FAULTS)}: {data}")
    _refuse_unknown(found, {field.name for field in fields(kind)}, "this fault")
    if "when" in found:
        found["when"] = _read_when(found["when"])
    match = dict(data.get("match") or {})
    _refuse_unknown(match, {field.name for field in fields(Match)}, "match")
    if "verbs" in match:
        match["verbs"] = frozenset(match["verbs"])
    try:
        fault = kind(**found)
    except TypeError as error:
        raise RuleError(f"fault {found} lacks a field: {error}") from error
    return Rule(fault, int(data.get("at", 1)), int(data.get("times", 1)), Match(**match))


def _read_when(word: str) -> When:
    try:
        return When(word)
    except ValueError:
        raise RuleError(f"fault.when is {word!r}; it is one of {', '.join(When)}") from None


def _refuse_unknown(data: Mapping[str, Any], known: set[str], what: str) -> None:
    if unknown := sorted(set(data) - known):
        raise RuleError(f"{what} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
