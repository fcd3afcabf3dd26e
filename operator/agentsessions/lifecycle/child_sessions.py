"""What a director may give to a session that it starts. Pure.

Steps, tokens, tool calls and cost are taken out of what is left of the director's own: what its children may still use
is not its to use, and what they used stays used. So all of them together stay within the director's limits.
- The director keeps one step, and of tokens and cost as much as it used itself so far: it must hear what came of them.
- What is not asked for is an equal share of what may be given: with the director, and the children that may follow.
- Time is each session's own. Calls nest: an agent of the child is one deeper than the agent that starts it.
"""

from dataclasses import dataclass
from typing import Final

from agentsessions.api.v1alpha1.life import Limits
from agentsessions.api.v1alpha1.status import EffectiveLimits

SHARED: Final = {
    "max_steps": "maxSteps",
    "max_tokens": "maxTokens",
    "max_tool_calls": "maxToolCalls",
    "max_cost_micro_usd": "maxCostMicroUSD",
}
"""Limits that are taken out of the director's, and their names in the API."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Of each of the limits that are shared."""

    max_steps: int = 0
    max_tokens: int = 0
    max_tool_calls: int = 0
    max_cost_micro_usd: int = 0

    def of(self, limit: str) -> int:
        """Return the amount of one limit."""
        amount: int = getattr(self, limit)
        return amount

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(**{limit: self.of(limit) + other.of(limit) for limit in SHARED})


@dataclass(frozen=True, slots=True)
class Budget:
    """What a director has, when one of its agents wants to start a session."""

    limits: EffectiveLimits
    used: Amounts
    """By its own agents."""
    kept: Amounts
    """By its children: used, and set aside for those under way."""
    started: int
    most: int
    """`spec.childSessions.max`."""
    depth: int
    """How deep the call is; the director's own agents are at 1."""


def kept_for(granted: Limits, used: Amounts, *, is_over: bool) -> Amounts:
    """Return what a child takes from its director: what it used, or may use as long as it is not over."""
    if is_over:
        return used
    return Amounts(**{limit: max(getattr(granted, limit) or 0, used.of(limit)) for limit in SHARED})


def grant(asked: Limits, budget: Budget) -> Limits | str:
    """Return the limits of the child, or why it cannot have what was asked for."""
    if budget.started >= budget.most:
        return f"all {budget.most} child sessions of spec.childSessions.max were started: do the rest yourself"
    granted: dict[str, int | None] = {}
    for limit in SHARED:
        found = _share(limit, getattr(asked, limit), budget)
        if isinstance(found, str):
            return found
        granted[limit] = found
    seconds, most = asked.timeout_seconds, budget.limits.timeout_seconds
    if seconds is not None and most is not None and seconds > most:
        return f"timeoutSeconds {seconds} is more than the {most} of this session: ask for less"
    depth = budget.limits.recursion_limit
    return Limits(
        **granted,
        timeout_seconds=seconds or most,
        max_output_tokens=budget.limits.max_output_tokens,
        recursion_limit=None if depth is None else max(1, depth - budget.depth + 1),
    )


def _share(limit: str, asked: int | None, budget: Budget) -> int | str | None:
    """Return how much of one limit the child has; None: as much as it likes."""
    most: int | None = getattr(budget.limits, limit)
    if most is None:
        return asked
    used, kept = budget.used.of(limit), budget.kept.of(limit)
    left = most - used - kept - _kept_back(limit, used)
    wanted = left // (budget.most - budget.started + 1) if asked is None else asked
    if 0 < wanted <= left:
        return wanted
    return (
        f"of {SHARED[limit]} {most} this session used {used} and set {kept} aside for child sessions; "
        f"{max(left, 0)} can be given to another one{'' if left < 1 else ': ask for less'}"
    )


def _kept_back(limit: str, used: int) -> int:
    """Return what of a limit the director needs to hear what came of the child."""
    match limit:
        case "max_steps":
            return 1
        case "max_tool_calls":
            return 0
    return used
