"""Every move of the table is taken by a life, and none that is not there."""

from itertools import pairwise

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.lifecycle.phases import TRANSITIONS
from tests.scenario.promises import Witness
from tests.scenario.stories import NOT_YET, STORIES

TABLE = {(before, after) for before, following in TRANSITIONS.items() for after in following}


@pytest.mark.requirement("LIFE-1")
def test_every_move_of_the_table_has_a_life_or_a_reason_why_not() -> None:
    assert STORIES.keys() | NOT_YET.keys() == TABLE
    assert STORIES.keys().isdisjoint(NOT_YET)


@pytest.mark.requirement("LIFE-1")
@pytest.mark.parametrize("move", STORIES, ids=lambda move: f"{move[0]} to {move[1]}")
def test_life_ends_with_its_move(move: tuple[Phase, Phase]) -> None:
    world = STORIES[move]()
    Witness().check(world)
    seen = [Phase(phase) for phase in ["Pending", *world.phases]]
    assert move in pairwise(seen), f"the session went {seen}"
    assert not set(pairwise(seen)) & NOT_YET.keys() - {(Phase.PENDING, Phase.PENDING)}
