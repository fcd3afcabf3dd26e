"""Every move of the table is taken by a life, and none that is not there."""

from itertools import pairwise

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.lifecycle.phases import TRANSITIONS
from tests.scenario.promises import Witness
from tests.scenario.stories import STORIES

TABLE = {(before, after) for before, following in TRANSITIONS.items() for after in following}


@pytest.mark.requirement("LIFE-1")
def test_every_move_of_the_table_has_a_life() -> None:
    assert STORIES.keys() == TABLE


@pytest.mark.requirement("LIFE-1")
@pytest.mark.parametrize("move", STORIES, ids=lambda move: f"{move[0]} to {move[1]}")
def test_life_ends_with_its_move(move: tuple[Phase, Phase]) -> None:
    world = STORIES[move]()
    Witness().check(world)
    seen = [Phase(phase) for phase in ["Pending", *world.phases]]
    assert move in pairwise(seen), f"the session went {seen}"
    assert set(pairwise(seen)) - {(Phase.PENDING, Phase.PENDING)} <= TABLE
