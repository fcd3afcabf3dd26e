"""What a model call may cost before it is bought. Pure; the writer's one transaction at a time is the lock."""

from dataclasses import dataclass
from typing import Final

from agentsessions.api.reasons import LimitName
from agentsessions.api.v1alpha1.status import EffectiveLimits

MIN_ANSWER_TOKENS: Final = 256
"""An answer that is let through at all gets this much room: a shorter one is of no use."""
BYTES_PER_TOKEN: Final = 2
"""Low on purpose: 4, the usual guess, counts 2.1 times too few tokens in CSV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a session has used, and what its purchases under way may still use."""

    steps: int = 0
    tokens: int = 0
    tool_calls: int = 0
    open_calls: int = 0
    reserved_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued:
    """The last answer to a request that the new one continues."""

    tokens: int
    """Prompt and completion together."""
    bytes: int
    """Of that request and its answer."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The call may be bought."""

    cap_output_tokens: int | None
    capped: bool


@dataclass(frozen=True, slots=True)
class Denial:
    """The call may not be bought."""

    limit: LimitName
    message: str
    needed: int
    """What the limit would have to be for this call."""


def estimate_input(request_bytes: int, continued: Continued | None) -> int:
    """Return how many tokens a request may have; rather too many than too few."""
    if continued is None:
        return -(-request_bytes // BYTES_PER_TOKEN)
    return continued.tokens + -(-max(0, request_bytes - continued.bytes) // BYTES_PER_TOKEN)


def weigh(spent: Spent, limits: EffectiveLimits, *, estimate: int, asked: int | None) -> Grant | Denial:
    """Decide on a call with `estimate` input tokens that asks for `asked` output tokens at most."""
    steps = spent.steps + spent.open_calls
    if limits.max_steps is not None and steps >= limits.max_steps:
        return Denial(LimitName.STEPS, f"maxSteps {limits.max_steps} is used up: raise it to go on", steps + 1)
    if (denial := check_tool_calls(spent.tool_calls, limits)) is not None:
        return denial
    others = [cap for cap in (asked, limits.max_output_tokens) if cap is not None]
    if limits.max_tokens is None:
        return Grant(min(others, default=None), capped=False)
    committed = spent.tokens + spent.reserved_tokens + estimate
    if committed >= limits.max_tokens:
        return Denial(
            LimitName.TOKENS,
            f"the next call needs about {estimate} input tokens, and of maxTokens {limits.max_tokens} "
            f"{max(0, limits.max_tokens - spent.tokens - spent.reserved_tokens)} are left: raise it to go on",
            committed + 1,
        )
    room = max(MIN_ANSWER_TOKENS, limits.max_tokens - committed)
    return Grant(min([*others, room]), capped=all(room < other for other in others))


def check_tool_calls(tool_calls: int, limits: EffectiveLimits) -> Denial | None:
    """Return why tool calls of answers are too many, None when they are not."""
    if limits.max_tool_calls is None or tool_calls <= limits.max_tool_calls:
        return None
    return Denial(
        LimitName.TOOL_CALLS,
        f"the answers ask for {tool_calls} tool calls, and maxToolCalls is {limits.max_tool_calls}: "
        "the last ones were not run; raise it to go on",
        tool_calls,
    )
