"""The arithmetic of a reservation: one table."""

import pytest

from agentsessions.api.reasons import LimitName
from agentsessions.api.v1alpha1.provider import ModelPrices
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.journal.limits import Continued, Denial, Grant, Spent, cost_of, estimate_input, weigh


@pytest.mark.parametrize(
    ("size", "continued", "want"),
    [
        pytest.param(200, None, 100, id="a first call is half its bytes"),
        pytest.param(201, None, 101, id="half a token counts as one"),
        pytest.param(500, Continued(tokens=110, bytes=300), 210, id="a continued call adds half the new bytes"),
        pytest.param(250, Continued(tokens=110, bytes=300), 110, id="less than was sent before adds nothing"),
    ],
)
def test_estimate_input(size: int, continued: Continued | None, want: int) -> None:
    assert estimate_input(size, continued) == want


@pytest.mark.requirement("LIM-1")
@pytest.mark.parametrize(
    ("spent", "limits", "asked", "want"),
    [
        pytest.param({}, {}, None, Grant(None), id="without limits there is no cap"),
        pytest.param({}, {}, 50, Grant(50), id="what is asked caps"),
        pytest.param({}, {"max_output_tokens": 40}, 50, Grant(40), id="maxOutputTokens caps"),
        pytest.param({}, {"max_tokens": 1000}, None, Grant(900, capped_by=LimitName.TOKENS), id="what is left caps"),
        pytest.param({}, {"max_tokens": 1000}, 900, Grant(900), id="asked for what is left is not cut"),
        pytest.param(
            {"tokens": 300, "reserved_tokens": 200}, {"max_tokens": 1000}, 4000, Grant(400, capped_by=LimitName.TOKENS),
            id="used and reserved tokens are not left",
        ),
        pytest.param(
            {"tokens": 899}, {"max_tokens": 1000}, 999, Grant(256, capped_by=LimitName.TOKENS),
            id="an answer has some room",
        ),
        pytest.param({"tokens": 899}, {"max_tokens": 1000}, 99, Grant(99), id="unless it asks for less"),
        pytest.param({"tokens": 900}, {"max_tokens": 1000}, None, (LimitName.TOKENS, 1001), id="nothing left for it"),
        pytest.param(
            {"reserved_tokens": 900}, {"max_tokens": 1000}, None, (LimitName.TOKENS, 1001), id="all left is reserved"
        ),
        pytest.param({"steps": 9}, {"max_steps": 10}, None, Grant(None), id="the last step is allowed"),
        pytest.param({"steps": 10}, {"max_steps": 10}, None, (LimitName.STEPS, 11), id="no step is left"),
        pytest.param(
            {"steps": 9, "open_calls": 1}, {"max_steps": 10}, None, (LimitName.STEPS, 11),
            id="a step under way is not left",
        ),
        pytest.param(
            {"tool_calls": 5}, {"max_tool_calls": 5}, None, Grant(None), id="all tool calls were run"
        ),
        pytest.param(
            {"tool_calls": 6}, {"max_tool_calls": 5}, None, (LimitName.TOOL_CALLS, 6), id="too many were asked for"
        ),
    ],
)  # fmt: skip
def test_weigh(
    spent: dict[str, int], limits: dict[str, int], asked: int | None, want: Grant | tuple[LimitName, int]
) -> None:
    weighed = weigh(Spent(**spent), EffectiveLimits(**limits), estimate=100, asked=asked)
    if isinstance(weighed, Denial):
        assert (weighed.limit, weighed.needed) == want
    else:
        assert weighed == want


def prices(input_: int, output: int) -> ModelPrices:
    return ModelPrices(input_micro_usd_per_million=input_, output_micro_usd_per_million=output)


DEAR = prices(2_000_000, 10_000_000)
"""2 and 10 micro-USD a token."""


@pytest.mark.requirement("LIM-1")
@pytest.mark.parametrize(
    ("per_million", "tokens", "want"),
    [
        pytest.param((2_000_000, 10_000_000), (100, 10), 300, id="whole micro-USD stay whole"),
        pytest.param((250_000, 2_000_000), (3, 0), 1, id="a part of a micro-USD counts as one"),
        pytest.param((250_000, 2_000_000), (4, 0), 1, id="an exact one is not raised"),
        pytest.param((250_000, 2_000_000), (5, 0), 2, id="a little more than one counts as two"),
        pytest.param((250_000, 250_000), (3, 3), 2, id="input and output are rounded together: 1.5, not 1 + 1"),
        pytest.param((250_000, 250_000), (2, 2), 1, id="halves of both make one"),
        pytest.param((1, 0), (1, 0), 1, id="the smallest price costs one micro-USD a call"),
        pytest.param((1, 0), (1_000_001, 0), 2, id="a token more than a million"),
        pytest.param((0, 0), (1000, 1000), 0, id="what is free costs nothing"),
        pytest.param((10**12, 10**12), (10**9, 10**9), 2 * 10**15, id="large numbers lose no digit"),
    ],
)
def test_cost_of(per_million: tuple[int, int], tokens: tuple[int, int], want: int) -> None:
    assert cost_of(prices(*per_million), *tokens) == want


@pytest.mark.requirement("LIM-1")
@pytest.mark.parametrize(
    ("spent", "limits", "model", "want"),
    [
        # The prompt has 100 tokens: 200 micro-USD.
        pytest.param({}, {}, DEAR, Grant(9000), id="without a cost limit nothing caps"),
        pytest.param({}, {"max_cost_micro_usd": 5200}, DEAR, Grant(500, capped_by=LimitName.COST), id="the rest caps"),
        pytest.param({}, {"max_cost_micro_usd": 5209}, DEAR, Grant(500, capped_by=LimitName.COST),
            id="a part of a token is none"),
        pytest.param({}, {"max_cost_micro_usd": 90_200}, DEAR, Grant(9000), id="asked for what is left is not cut"),
        pytest.param({"cost_micro_usd": 1000, "reserved_cost_micro_usd": 2000}, {"max_cost_micro_usd": 6200}, DEAR,
            Grant(300, capped_by=LimitName.COST), id="used and reserved cost is not left"),
        pytest.param({"cost_micro_usd": 799}, {"max_cost_micro_usd": 1000}, DEAR,
            Grant(256, capped_by=LimitName.COST), id="an answer has some room"),
        pytest.param({"cost_micro_usd": 800}, {"max_cost_micro_usd": 1000}, DEAR, (LimitName.COST, 1001),
            id="the prompt takes all that is left"),
        pytest.param({"cost_micro_usd": 5000}, {"max_cost_micro_usd": 1000}, DEAR, (LimitName.COST, 5201),
            id="more was spent than is allowed now"),
        pytest.param({"reserved_cost_micro_usd": 900}, {"max_cost_micro_usd": 1000}, DEAR, (LimitName.COST, 1101),
            id="all left is reserved"),
        pytest.param({}, {"max_cost_micro_usd": 5200, "max_tokens": 500}, DEAR,
            Grant(400, capped_by=LimitName.TOKENS), id="the tighter of two limits caps: tokens"),
        pytest.param({}, {"max_cost_micro_usd": 4200, "max_tokens": 600}, DEAR,
            Grant(400, capped_by=LimitName.COST), id="the tighter of two limits caps: cost"),
        pytest.param({}, {"max_cost_micro_usd": 5, "max_tokens": 100}, DEAR, (LimitName.TOKENS, 101),
            id="of two limits that are reached the first is told"),
        pytest.param({}, {"max_cost_micro_usd": 201}, prices(2_000_000, 0), Grant(9000),
            id="answers that cost nothing are not capped"),
        pytest.param({}, {"max_cost_micro_usd": 1}, prices(0, 1_000_000), Grant(256, capped_by=LimitName.COST),
            id="a prompt that costs nothing is let through"),
        pytest.param({"cost_micro_usd": 1}, {"max_cost_micro_usd": 1}, prices(0, 0), (LimitName.COST, 2),
            id="a limit that is used up stays so for what is free"),
    ],
)  # fmt: skip
def test_weigh_cost(
    spent: dict[str, int], limits: dict[str, int], model: ModelPrices, want: Grant | tuple[LimitName, int]
) -> None:
    weighed = weigh(Spent(**spent), EffectiveLimits(**limits), estimate=100, asked=9000, prices=model)
    if isinstance(weighed, Denial):
        assert (weighed.limit, weighed.needed) == want
    else:
        assert weighed == want


@pytest.mark.requirement("LIM-1")
@pytest.mark.parametrize("per_million", [(2_000_000, 10_000_000), (333_333, 777_777), (1, 3), (10**9, 10**9 + 7)])
@pytest.mark.parametrize("allowed", [300, 12_345, 10**7])
def test_weigh_lets_no_answer_cost_more_than_is_left_beyond_the_smallest_one(
    per_million: tuple[int, int], allowed: int
) -> None:
    limits = EffectiveLimits(max_cost_micro_usd=allowed)
    weighed = weigh(Spent(), limits, estimate=100, asked=None, prices=prices(*per_million))
    if isinstance(weighed, Denial):
        assert cost_of(prices(*per_million), 100, 0) >= allowed
        return
    assert weighed.cap_output_tokens is not None
    if weighed.cap_output_tokens > 256:
        assert cost_of(prices(*per_million), 100, weighed.cap_output_tokens) <= allowed
        assert cost_of(prices(*per_million), 100, weighed.cap_output_tokens + 1) > allowed
