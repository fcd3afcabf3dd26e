"""Open conversations: what comes after an answer, and how an epoch with nothing to do ends."""

from datetime import timedelta

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.api.wire import Outcome
from agentsessions.journal.refusals import AgentDone, AgentIdle, GoalMissing, NothingToPlay, NothingYet
from agentsessions.journal.rows import Course
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Clock, Player, a_player, a_session, an_answer

OPEN = Course(is_open=True, idle=timedelta(seconds=60))
CLOSED = Course()
TALK = {"conversation": {"open": True}}


async def wait(player: Player, course: Course = OPEN, *, may_begin: bool = True) -> NothingYet:
    with pytest.raises(NothingYet) as caught:
        await player.store.pin_turn(player.pod, course, may_begin=may_begin)
    return caught.value


async def closing(player: Player) -> tuple[Outcome, int] | None:
    found = (await player.level()).closing
    return None if found is None else (found.outcome, found.epoch)


@pytest.mark.requirement("LIFE-8")
async def test_open_conversation_waits_after_an_answer_and_goes_on_with_a_message(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("hello", OPEN)
    assert await closing(player) is None
    clock.move(seconds=10)
    nothing = await wait(player)
    assert (nothing.round, nothing.k, nothing.seconds) == (1, 2, 50)
    await player.say("and now?")
    turn = await player.answer("now too", OPEN)
    assert turn.k == 2
    assert (await player.level()).result == "now too"


@pytest.mark.requirement("LIFE-8")
async def test_epoch_that_waited_long_enough_is_closed_as_idle(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("hello", OPEN)
    clock.move(seconds=59)
    await wait(player)
    assert await closing(player) is None
    clock.move(seconds=1)
    for _ in range(2):  # told again, should the pod not have heard
        with pytest.raises(AgentIdle):
            await store.pin_turn(player.pod, OPEN)
    assert await closing(player) == (Outcome.IDLE, 1)
    with pytest.raises(NothingToPlay):
        await player.reserve()


@pytest.mark.requirement("LIFE-8")
async def test_message_just_before_the_end_of_the_wait_keeps_the_epoch(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("hello", OPEN)
    clock.move(seconds=60)
    await player.say("wait!")
    assert (await store.pin_turn(player.pod, OPEN)).k == 2
    assert await closing(player) is None


@pytest.mark.requirement("LIFE-8")
async def test_message_behind_an_idle_closing_waits_for_the_next_epoch(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("hello", OPEN)
    clock.move(seconds=60)
    with pytest.raises(AgentIdle):
        await store.pin_turn(player.pod, OPEN)
    await player.say("anybody there?")
    with pytest.raises(AgentIdle):
        await store.pin_turn(player.pod, OPEN)
    level = await player.level()
    assert (level.inbox_pending, level.closing and level.closing.outcome) == (1, Outcome.IDLE)

    later = await a_player(store, epoch=2)
    turn = await later.answer("yes", OPEN)
    assert (turn.round, turn.k) == (1, 2)
    assert [item["content"] for item in await store.history(turn) if item.get("role") == "user"] == [
        "say hello",
        "anybody there?",
    ]
    assert (await later.level()).inbox_pending == 0


async def test_wait_of_no_seconds_closes_the_epoch_at_once(store: Store) -> None:
    player = await a_player(store)
    at_once = Course(is_open=True, idle=timedelta())
    await player.answer("hello", at_once)
    with pytest.raises(AgentIdle):
        await store.pin_turn(player.pod, at_once)


async def test_epoch_that_finds_nothing_to_do_counts_the_wait_from_the_last_answer(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("hello", OPEN)
    clock.move(hours=1)
    later = await a_player(store, epoch=2)
    with pytest.raises(AgentIdle):
        await store.pin_turn(later.pod, OPEN)
    assert await closing(later) == (Outcome.IDLE, 2)


@pytest.mark.requirement("CONV-1")
async def test_conversation_that_is_closed_while_its_pod_waits_is_done(store: Store) -> None:
    player = await a_player(store)
    await player.answer("hello", OPEN)
    await wait(player)
    for _ in range(2):
        with pytest.raises(AgentDone):
            await store.pin_turn(player.pod, CLOSED)
    assert await closing(player) == (Outcome.FINAL, 1)
    assert (await player.commit(1, Outcome.FINAL, CLOSED)).is_last
    later = await a_player(store, epoch=2)
    with pytest.raises(AgentDone):
        await store.pin_turn(later.pod, CLOSED)


async def test_messages_are_answered_before_a_closed_conversation_is_done(store: Store) -> None:
    player = await a_player(store)
    await player.answer("hello", OPEN)
    await player.say("last words")
    await player.answer("farewell", CLOSED)
    assert await closing(player) == (Outcome.FINAL, 1)


@pytest.mark.requirement("CONV-1")
async def test_session_without_goal_begins_with_its_first_message(store: Store) -> None:
    player = await a_player(store, goal="", spec=TALK)
    assert (await wait(player)).k == 1
    await player.say("hello")
    turn = await store.pin_turn(player.pod, OPEN)
    assert await store.history(turn) == [{"role": "user", "content": "hello"}]
    assert (await player.level()).result is None


async def test_session_without_goal_that_nobody_talks_to_ends(store: Store, clock: Clock) -> None:
    player = await a_player(store, goal="", spec=TALK)
    clock.move(seconds=60)
    with pytest.raises(AgentIdle):
        await store.pin_turn(player.pod, OPEN)
    later = await a_player(store, epoch=2)
    with pytest.raises(AgentDone):
        await store.pin_turn(later.pod, CLOSED)


async def test_message_does_not_overtake_a_context_that_is_not_written_yet(store: Store) -> None:
    player = await a_player(store, goal="", spec={**TALK, "context": {"text": "c"}})
    await player.say("hello")
    with pytest.raises(GoalMissing):
        await store.pin_turn(player.pod, OPEN)
    await store.set_goal_message("s1", "Context:\nc")
    turn = await store.pin_turn(player.pod, OPEN)
    assert [item["content"] for item in await store.history(turn)] == ["Context:\nc", "hello"]


@pytest.mark.requirement("LIFE-8")
async def test_gaps_are_counted_from_the_wait_to_the_next_turn(store: Store, clock: Clock) -> None:
    player = await a_player(store, phase=Phase.RUNNING)
    await player.answer("hello", OPEN)
    clock.move(seconds=2)
    await wait(player)
    assert (await player.level()).idle_since == clock.now
    clock.move(seconds=7)
    await wait(player)
    level = await player.level()
    assert (level.idle_since, level.idle_seconds) == (T0 + timedelta(seconds=2), 0)
    await player.say("go on")
    await player.answer("on it", OPEN)
    level = await player.level()
    assert (level.idle_since, level.idle_seconds) == (None, 7)

    await wait(player)
    clock.move(seconds=60)
    with pytest.raises(AgentIdle):
        await store.pin_turn(player.pod, OPEN)
    level = await player.level()
    assert (level.idle_since, level.idle_seconds) == (None, 67)


async def test_short_gaps_add_up(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("hello", OPEN)
    for number in range(4):
        await wait(player)
        clock.now += timedelta(milliseconds=500)
        await player.say(str(number))
        await player.answer("yes", OPEN)
    assert (await player.level()).idle_seconds == 2


@pytest.mark.requirement("LIFE-4")
async def test_pod_that_is_to_pause_begins_nothing_and_is_not_idle(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await player.answer("hello", OPEN)
    await wait(player)
    clock.move(seconds=5)
    await wait(player, may_begin=False)
    level = await player.level()
    assert (level.idle_since, level.idle_seconds) == (None, 5)
    clock.move(hours=1)
    await wait(player, may_begin=False)
    await player.say("later")
    await wait(player, may_begin=False)
    level = await player.level()
    assert (level.inbox_pending, level.closing, level.idle_seconds) == (1, None, 5)
    assert (await store.pin_turn(player.pod, OPEN)).k == 2


async def test_pod_that_is_to_pause_gets_its_open_turn(store: Store) -> None:
    player = await a_player(store)
    pinned = await store.pin_turn(player.pod, OPEN)
    assert await store.pin_turn(player.pod, OPEN, may_begin=False) == pinned


async def test_gap_ends_with_the_phase_running(store: Store, clock: Clock) -> None:
    player = await a_player(store, phase=Phase.RUNNING)
    await player.answer("hello", OPEN)
    await wait(player)
    clock.move(hours=1)
    paused = a_session(phase=Phase.PAUSED, phase_started_at=T0 + timedelta(seconds=30))
    await store.put_session(paused)  # the gateway was away, and hears of it late
    level = await player.level()
    assert (level.idle_since, level.idle_seconds) == (None, 30)


async def test_same_answer_is_still_the_result_after_the_wait(store: Store, clock: Clock) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod, OPEN)
    await player.ask(an_answer("hello"))
    assert (await player.commit(1, Outcome.FINAL, OPEN)).is_last is False
    before = await player.level()
    assert (await player.commit(1, Outcome.FINAL, OPEN)).is_last is False
    assert await player.level() == before
    clock.move(seconds=60)
    with pytest.raises(AgentIdle):
        await store.pin_turn(player.pod, OPEN)
    assert (await player.level()).result == "hello"
