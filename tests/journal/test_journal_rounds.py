"""Rounds of a goal: due by their anchor, fresh each, missed when they cannot begin in time."""

from datetime import timedelta

import pytest

from agentsessions.api.v1alpha1.status import RoundStatus
from agentsessions.api.wire import Outcome
from agentsessions.journal.refusals import AgentDone, AgentIdle, NothingYet
from agentsessions.journal.rounds import count_rounds, find_next
from agentsessions.journal.rows import Course, Schedule
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Clock, Player, a_player, an_answer, call_ids


def every(interval: int, duration: int) -> Course:
    return Course(schedule=Schedule(timedelta(seconds=interval), timedelta(seconds=duration)))


FIVE = every(5, 15)
GOAL = [{"role": "user", "content": "say hello"}]


async def wait_seconds(player: Player, course: Course) -> float:
    with pytest.raises(NothingYet) as caught:
        await player.store.pin_turn(player.pod, course)
    return caught.value.seconds


async def results(store: Store) -> list[dict[str, object]]:
    return [entry.body or {} for entry in await store.entries("s1") if entry.type == "round_complete"]


@pytest.mark.parametrize(
    ("number", "seconds", "found"),
    [
        pytest.param(2, 0, 2, id="the next one"),
        pytest.param(2, 4.9, 2, id="just before it is due"),
        pytest.param(2, 9.9, 2, id="until the one after it is due"),
        pytest.param(2, 10, 3, id="not when that one is due"),
        pytest.param(3, 12.9, 3, id="to the schedule's end"),
        pytest.param(3, 13, None, id="not after the schedule's end"),
        pytest.param(4, 5, None, id="no more than the schedule has"),
        pytest.param(2, 3600, None, id="long after the end"),
    ],
)
def test_find_next_is_the_first_round_that_can_begin(number: int, seconds: float, found: int | None) -> None:
    schedule = Schedule(timedelta(seconds=5), timedelta(seconds=13))
    assert find_next(schedule, T0, number, T0 + timedelta(seconds=seconds)) == found


@pytest.mark.parametrize(("duration", "count"), [(15, 3), (13, 3), (5, 1), (4, 1)])
def test_count_rounds_is_those_due_before_the_end(duration: int, count: int) -> None:
    assert count_rounds(Schedule(timedelta(seconds=5), timedelta(seconds=duration))) == count


@pytest.mark.requirement("OBJ-2")
async def test_session_plays_its_rounds_without_drift_and_is_done(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    for number in (1, 2, 3):
        turn = await player.answer(f"result {number}", FIVE)
        assert (turn.round, turn.k) == (number, 1)
        assert await store.history(turn) == GOAL, "each round begins anew"
        if number < 3:
            clock.now = T0 + timedelta(seconds=5 * (number - 1) + 2)
            assert await wait_seconds(player, FIVE) == 3
            clock.now = T0 + timedelta(seconds=5 * number, milliseconds=100 * number)  # each a little late

    level = await player.level()
    assert level.round == RoundStatus(number=3, completed=3, missed=0)
    assert level.closing is not None
    assert (level.closing.outcome, level.result) == (Outcome.FINAL, "result 3")
    with pytest.raises(AgentDone):
        await store.pin_turn(player.pod, FIVE)
    assert [body["text"] for body in await results(store)] == ["result 1", "result 2", "result 3"]
    assert (await results(store))[1] == {
        "round": 2,
        "text": "result 2",
        "dueAt": "2026-11-01T12:00:05+00:00",
        "startedAt": "2026-11-01T12:00:05.100000+00:00",
    }
    assert await store.verify("s1") == []


async def test_steps_of_each_round_begin_with_one_and_carry_its_number(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("one", FIVE)
    clock.move(seconds=5)
    await player.answer("two", FIVE)
    outputs = [entry for entry in await store.entries("s1") if entry.type == "output"]
    assert [(entry.round, entry.step) for entry in outputs] == [(1, 1), (2, 1)]


async def test_level_says_when_the_next_round_is_due(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    assert (await player.level()).round is None
    await store.pin_turn(player.pod, FIVE)
    due_at = T0 + timedelta(seconds=5)
    assert (await player.level()).round == RoundStatus(number=1, completed=0, missed=0, next_at=due_at)
    await player.ask(an_answer("one"), "d")
    await player.commit(1, Outcome.FINAL, FIVE)
    assert (await player.level()).round == RoundStatus(number=1, completed=1, missed=0, next_at=due_at)
    del clock


@pytest.mark.requirement("OBJ-2")
async def test_rounds_that_a_long_one_leaves_no_time_for_are_missed(store: Store, clock: Clock) -> None:
    course = every(5, 30)
    player = await a_player(store)
    await store.pin_turn(player.pod, course)
    clock.move(seconds=17)
    await player.ask(an_answer("at last"), "d")
    await player.commit(1, Outcome.FINAL, course)
    turn = await store.pin_turn(player.pod, course)
    assert (turn.round, turn.k) == (4, 1)
    assert (await player.level()).round == RoundStatus(
        number=4, completed=1, missed=2, next_at=T0 + timedelta(seconds=20)
    )


async def test_session_that_finds_its_schedule_over_is_done(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("one", FIVE)
    clock.move(hours=1)
    later = await a_player(store, epoch=2)
    with pytest.raises(AgentDone):
        await store.pin_turn(later.pod, FIVE)
    level = await later.level()
    assert level.round == RoundStatus(number=1, completed=1, missed=2)
    assert level.closing is not None
    assert level.closing.outcome is Outcome.FINAL


async def test_answer_after_the_schedule_is_the_last_one(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod, FIVE)
    clock.move(seconds=16)
    await player.ask(an_answer("late"), "d")
    assert (await player.commit(1, Outcome.FINAL, FIVE)).is_last
    assert (await player.level()).round == RoundStatus(number=1, completed=1, missed=2)


@pytest.mark.requirement("OBJ-2")
async def test_long_gap_between_rounds_closes_the_epoch_at_once(store: Store, clock: Clock) -> None:
    course = every(100, 300)
    player = await a_player(store)
    await player.answer("one", course)
    clock.move(seconds=39)
    with pytest.raises(AgentIdle):
        await store.pin_turn(player.pod, course)
    level = await player.level()
    assert level.closing is not None
    assert level.closing.outcome is Outcome.IDLE
    assert level.round is not None
    assert level.round.next_at == T0 + timedelta(seconds=100)

    clock.now = T0 + timedelta(seconds=101)
    later = await a_player(store, epoch=2)
    assert (await later.answer("two", course)).round == 2


async def test_gap_of_a_minute_is_waited_for(store: Store, clock: Clock) -> None:
    course = every(100, 300)
    player = await a_player(store)
    await player.answer("one", course)
    clock.move(seconds=40)
    assert await wait_seconds(player, course) == 60
    assert (await player.level()).idle_since == clock.now


@pytest.mark.requirement("LIFE-11")
async def test_round_that_a_pod_left_is_gone_on_with(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("one", FIVE)
    clock.move(seconds=5)
    await store.pin_turn(player.pod, FIVE)
    (call_id,) = call_ids(await player.ask(an_answer("", "shell"), "d"))
    await player.report(call_id, "x")
    await player.commit(1, Outcome.CONTINUE, FIVE, round=2)
    later = await a_player(store, epoch=2)
    turn = await store.pin_turn(later.pod, FIVE)
    assert (turn.round, turn.k) == (2, 2)
    assert (await store.history(turn))[0] == GOAL[0]


@pytest.mark.requirement("LIFE-11")
async def test_commit_of_a_round_is_not_taken_for_the_next_rounds(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("one", FIVE)
    clock.move(seconds=5)
    assert (await store.pin_turn(player.pod, FIVE)).round == 2
    before = await player.level()
    assert not (await player.commit(1, Outcome.FINAL, FIVE, round=1)).is_last
    assert await player.level() == before


async def test_message_between_rounds_is_answered_in_the_last_one(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("one", FIVE)
    await player.say("why?")
    turn = await player.answer("because", FIVE)
    assert (turn.round, turn.k) == (1, 2)
    assert [body["text"] for body in await results(store)] == ["one"]
    clock.move(seconds=5)
    following = await store.pin_turn(player.pod, FIVE)
    assert (following.round, await store.history(following)) == (2, GOAL)


async def test_message_during_a_round_belongs_to_it(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod, FIVE)
    await player.ask(an_answer("one"), "d")
    await player.say("are you sure?")
    await player.commit(1, Outcome.FINAL, FIVE)
    assert await results(store) == []
    clock.move(seconds=6)
    turn = await player.answer("yes", FIVE)
    assert (turn.round, turn.k) == (1, 2)
    assert [body["text"] for body in await results(store)] == ["yes"]
    assert (await player.level()).round == RoundStatus(
        number=1, completed=1, missed=0, next_at=T0 + timedelta(seconds=5)
    )
