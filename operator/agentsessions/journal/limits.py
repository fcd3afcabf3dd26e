"""What a model call may cost before it is bought. Pure; the writer's one transaction at a time is the lock."""

from dataclasses import dataclass
from typing import Final

from agentsessions.api.reasons import LimitName
from agentsessions.api.v1alpha1.provider import ModelPrices
from agentsessions.api.v1alpha1.status import EffectiveLimits

MIN_ANSWER_TOKENS: Final = 256
"""An answer that is let through at all gets this much room: a shorter one is of no use."""
BYTES_PER_TOKEN: Final = 2
"""Low on purpose: 4, the usual guess, counts 2.1 times too few tokens in CSV."""
PRICED_TOKENS: Final = 1_000_000
"""Prices are for so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a session has used, and what its purchases under way may still use."""

    steps: int = 0
    tokens: int = 0
    tool_calls: int = 0
    open_calls: int = 0
    reserved_tokens: int = 0
    cost_micro_usd: int = 0
    reserved_cost_micro_usd: int = 0


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
    capped_by: LimitName | None = None
    """The limit that leaves less than was asked for; None when what was asked for is the cap."""


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


def cost_of(prices: ModelPrices, input_tokens: int, output_tokens: int) -> int:
    """Return what tokens of one call cost, in whole micro-USD, rounded up once."""
    return -(-_exact_cost(prices, input_tokens, output_tokens) // PRICED_TOKENS)


def _exact_cost(prices: ModelPrices, input_tokens: int, output_tokens: int) -> int:
    """Return a cost in millionths of a micro-USD."""
    return input_tokens * prices.input_micro_usd_per_million + output_tokens * prices.output_micro_usd_per_million


def weigh(
    spent: Spent, limits: EffectiveLimits, *, estimate: int, asked: int | None, prices: ModelPrices | None = None
) -> Grant | Denial:
    """Decide on a call with `estimate` input tokens that asks for `asked` output tokens at most.

    Without prices the cost limit is not looked at.
    """
    steps = spent.steps + spent.open_calls
    if limits.max_steps is not None and steps >= limits.max_steps:
        return Denial(LimitName.STEPS, f"maxSteps {limits.max_steps} is used up: raise it to go on", steps + 1)
    if (denial := check_tool_calls(spent.tool_calls, limits)) is not None:
        return denial
    rooms: dict[LimitName, int] = {}
    for name, room in (
        (LimitName.TOKENS, _token_room(spent, limits, estimate)),
        (LimitName.COST, _cost_room(spent, limits, estimate, prices)),
    ):
        if isinstance(room, Denial):
            return room
        if room is not None:
            rooms[name] = max(MIN_ANSWER_TOKENS, room)
    wished = min((cap for cap in (asked, limits.max_output_tokens) if cap is not None), default=None)
    tightest = min(rooms, key=rooms.__getitem__, default=None)
    if tightest is None or (wished is not None and wished <= rooms[tightest]):
        return Grant(wished)
    return Grant(rooms[tightest], capped_by=tightest)


def _token_room(spent: Spent, limits: EffectiveLimits, estimate: int) -> int | Denial | None:
    """Return how many output tokens maxTokens leaves; None when there is no such limit."""
    if limits.max_tokens is None:
        return None
    committed = spent.tokens + spent.reserved_tokens + estimate
    if committed < limits.max_tokens:
        return limits.max_tokens - committed
    return Denial(
        LimitName.TOKENS,
        f"the next call needs about {estimate} input tokens, and of maxTokens {limits.max_tokens} "
        f"{max(0, limits.max_tokens - spent.tokens - spent.reserved_tokens)} are left: raise it to go on",
        committed + 1,
    )


def _cost_room(spent: Spent, limits: EffectiveLimits, estimate: int, prices: ModelPrices | None) -> int | Denial | None:
    """Return how many output tokens maxCostMicroUSD leaves; None when nothing bounds them."""
    if limits.max_cost_micro_usd is None or prices is None:
        return None
    left = limits.max_cost_micro_usd - spent.cost_micro_usd - spent.reserved_cost_micro_usd
    prompt = cost_of(prices, estimate, 0)
    if prompt >= left:
        return Denial(
            LimitName.COST,
            f"the prompt of the next call costs about {prompt} micro-USD, and of maxCostMicroUSD "
            f"{limits.max_cost_micro_usd} {max(0, left)} are left: raise it to go on",
            spent.cost_micro_usd + spent.reserved_cost_micro_usd + prompt + 1,
        )
    if prices.output_micro_usd_per_million == 0:
        return None
    # What the whole call costs is rounded up once, so that up to this many tokens it stays within what is left.
    return (left * PRICED_TOKENS - _exact_cost(prices, estimate, 0)) // prices.output_micro_usd_per_million


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
