"""What the runner reads of a gateway that may be newer than it."""

import httpx2
import pytest

from agentsessions.api import wire
from agentsessions.runner.errors import FencedError, GatewayError
from agentsessions.runner.gateway import parse, to_problem_error

TURN = {"k": 1, "agent": "a", "epoch": 1, "session": "team/s", "control": "go", "model": "m"}
ASKED = httpx2.Request("GET", f"https://gateway{wire.TURN_PATH}")


def test_parse_leaves_out_what_a_newer_gateway_has_added() -> None:
    answer = httpx2.Response(200, json=TURN | {"weather": "fine", "settings": {"seed": 3, "mood": "good"}})
    turn = parse(wire.Turn, answer)
    assert (turn.k, turn.settings.seed) == (1, 3)


def test_parse_refuses_what_lacks_a_part() -> None:
    answer = httpx2.Response(200, json={"k": 1}, request=ASKED)
    with pytest.raises(GatewayError, match="not a Turn"):
        parse(wire.Turn, answer)


def test_a_problem_of_a_newer_gateway_keeps_its_code() -> None:
    body = {"title": "t", "status": 400, "detail": "d", "code": "stale_epoch", "hint": "new"}
    assert isinstance(to_problem_error("GET", "/", httpx2.Response(400, json=body)), FencedError)
