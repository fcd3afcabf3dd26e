"""Any life of a session keeps its promises, and comes to rest once faults stop."""

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

from tests.scenario.machine import TEAMS, Life

PROFILES = {
    "ci": settings(max_examples=50, stateful_step_count=100, derandomize=True, deadline=None, database=None),
    "full": settings(max_examples=250, stateful_step_count=100, deadline=None, database=None, print_blob=True),
}
"""ci: some 5,000 events, the same each time. full: 20,000, others each time."""
PROFILE = PROFILES[os.environ.get("AGENTSESSIONS_LIVES", "ci")]


@pytest.mark.requirement("LIFE-1")
@pytest.mark.requirement("LIFE-11")
@pytest.mark.requirement("LIFE-12")
@pytest.mark.timeout(3600)
def test_any_life_keeps_every_promise_and_comes_to_rest() -> None:
    run_state_machine_as_test(Life, settings=PROFILE)


class TeamLife(Life):
    """A session with several agents, and all that may happen to it."""

    @initialize(kind=st.sampled_from(sorted(TEAMS)), stages=st.integers(0, 12))
    def create(self, kind: str, stages: int) -> None:
        self.create_one(kind, stages)


@pytest.mark.requirement("AG-3")
@pytest.mark.requirement("LIFE-11")
@pytest.mark.timeout(3600)
def test_any_life_of_several_agents_keeps_every_promise_and_comes_to_rest() -> None:
    run_state_machine_as_test(TeamLife, settings=PROFILE)


class ChildLife(Life):
    """A session that a director started, and all that may happen to either."""

    @initialize(stages=st.integers(0, 8))
    def create(self, stages: int) -> None:
        self.create_one("a child session", stages)


@pytest.mark.requirement("LIFE-7")
@pytest.mark.requirement("LIFE-11")
@pytest.mark.timeout(3600)
def test_any_life_of_a_child_session_keeps_every_promise_and_comes_to_rest() -> None:
    run_state_machine_as_test(ChildLife, settings=settings(PROFILE, max_examples=PROFILE.max_examples // 2))
