"""The operator's clock, under a wall clock that is set while it runs."""

import time
from datetime import timedelta

import pytest

from agentsessions.controller.clock import SteadyClock
from tests.builders import T0


@pytest.mark.requirement("LIFE-9")
@pytest.mark.parametrize("jump", [3600, -3600], ids=["an hour ahead", "an hour back"])
def test_clock_goes_on_as_if_nobody_had_set_the_wall_clock(monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    monotonic, wall = time.monotonic(), time.time()
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    clock = SteadyClock(started_at=T0)
    monkeypatch.setattr(time, "time", lambda: wall + jump)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic + 5)
    assert clock() == T0 + timedelta(seconds=5)
