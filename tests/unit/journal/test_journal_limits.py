"""The arithmetic of a reservation: one table."""

import pytest

from agentsessions.api.reasons import LimitName
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.journal.limits import Continued, Denial, Grant, Spent, estimate_input, weigh


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
        pytest.param({}, {}, None, Grant(None, capped=False), id="without limits there is no cap"),
        pytest.param({}, {}, 50, Grant(50, capped=False), id="what is asked caps"),
        pytest.param({}, {"max_output_tokens": 40}, 50, Grant(40, capped=False), id="maxOutputTokens caps"),
        pytest.param({}, {"max_tokens": 1000}, None, Grant(900, capped=True), id="what is left caps"),
        pytest.param({}, {"max_tokens": 1000}, 900, Grant(900, capped=False), id="asked for what is left is not cut"),
        pytest.param(
            {"tokens": 300, "reserved_tokens": 200}, {"max_tokens": 1000}, 4000, Grant(400, capped=True),
            id="used and reserved tokens are not left",
        ),
        pytest.param({"tokens": 899}, {"max_tokens": 1000}, 999, Grant(256, capped=True), id="an answer has some room"),
        pytest.param({"tokens": 899}, {"max_tokens": 1000}, 99, Grant(99, capped=False), id="unless it asks for less"),
        pytest.param({"tokens": 900}, {"max_tokens": 1000}, None, (LimitName.TOKENS, 1001), id="nothing left for it"),
        pytest.param(
            {"reserved_tokens": 900}, {"max_tokens": 1000}, None, (LimitName.TOKENS, 1001), id="all left is reserved"
        ),
        pytest.param({"steps": 9}, {"max_steps": 10}, None, Grant(None, capped=False), id="the last step is allowed"),
        pytest.param({"steps": 10}, {"max_steps": 10}, None, (LimitName.STEPS, 11), id="no step is left"),
        pytest.param(
            {"steps": 9, "open_calls": 1}, {"max_steps": 10}, None, (LimitName.STEPS, 11),
            id="a step under way is not left",
        ),
        pytest.param(
            {"tool_calls": 5}, {"max_tool_calls": 5}, None, Grant(None, capped=False), id="all tool calls were run"
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
