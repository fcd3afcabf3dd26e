import pytest

from agentsessions.api.reasons import Phase
from agentsessions.lifecycle.phases import TERMINAL, TRANSITIONS, IllegalMove, can_move, move


@pytest.mark.requirement("LIFE-1")
def test_table_has_a_row_for_every_phase() -> None:
    assert set(TRANSITIONS) == set(Phase)


@pytest.mark.requirement("LIFE-1")
def test_terminal_phases_are_exactly_the_four_final_ones() -> None:
    assert {Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED, Phase.EXPIRED} == TERMINAL


@pytest.mark.requirement("LIFE-1")
@pytest.mark.parametrize("current", list(Phase))
@pytest.mark.parametrize("wanted", list(Phase))
def test_move_follows_the_table_and_names_what_was_allowed(current: Phase, wanted: Phase) -> None:
    if current is wanted or wanted in TRANSITIONS[current]:
        assert move(current, wanted) is wanted
        return
    with pytest.raises(IllegalMove) as refused:
        move(current, wanted)
    assert f"from {current} to {wanted}" in str(refused.value)
    assert all(phase in str(refused.value) for phase in TRANSITIONS[current])


def test_every_phase_but_the_first_can_be_reached() -> None:
    reached = {Phase.PENDING}
    while more := {after for phase in reached for after in TRANSITIONS[phase]} - reached:
        reached |= more
    assert reached == set(Phase)


def test_every_live_phase_can_be_cancelled_and_fail_in_time() -> None:
    for phase in set(Phase) - TERMINAL:
        assert can_move(phase, Phase.CANCELLED)


def test_a_session_without_phase_counts_as_pending() -> None:
    assert move(None, Phase.STARTING) is Phase.STARTING
    with pytest.raises(IllegalMove):
        move(None, Phase.RUNNING)
