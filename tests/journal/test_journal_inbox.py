"""Messages: stored once, taken by one turn, answered."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.api.wire import Outcome
from agentsessions.journal import inbox
from agentsessions.journal.refusals import InboxFull, KeyReused, SessionFinished, TurnMismatch, UnknownSession
from agentsessions.journal.rows import Course, MessageRole, MessageState, NewMessage
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Clock, a_player, a_session, an_answer, call_ids

OPEN = Course(is_open=True)
TALK = {"conversation": {"open": True}}


def closed(**changes: Any) -> Any:
    """The session once a person has closed its conversation."""
    return a_session(goal="", spec={"conversation": {"open": False}}, generation=2, **changes)


async def states(store: Store) -> list[tuple[str, str]]:
    return [(message.content, message.state.value) for message in await store.read(inbox.list_messages, "s1", 0, 1000)]


@pytest.mark.requirement("CONV-1")
async def test_message_reads_as_it_was_stored(store: Store) -> None:
    player = await a_player(store)
    stored = await player.say("hello")
    assert (stored.ordinal, stored.role, stored.content, stored.actor) == (1, "user", "hello", "alice")
    assert (stored.created_at, stored.state, stored.entry_seq) == (T0, MessageState.QUEUED, None)
    assert await store.read(inbox.find, "s1", stored.id) == stored
    assert await store.read(inbox.find, "s1", "other") is None
    assert (await player.level()).inbox_pending == 1


async def test_messages_are_listed_in_order_and_in_pages(store: Store) -> None:
    player = await a_player(store)
    other = await a_player(store, "s2")
    for content in ("one", "two", "three"):
        await player.say(content)
        await other.store.put_message("s2", NewMessage(f"other-{content}", content, "bob"))
    assert [message.ordinal for message in await store.read(inbox.list_messages, "s1", 0, 1000)] == [1, 2, 3]
    assert [message.content for message in await store.read(inbox.list_messages, "s1", 1, 1)] == ["two"]


async def test_message_sent_again_with_its_key_is_one_message(store: Store) -> None:
    player = await a_player(store)
    first = await player.say("hello", key="k")
    again = await store.put_message("s1", NewMessage("another id", "hello", "alice", "k"))
    assert again == first
    assert await states(store) == [("hello", "queued")]
    with pytest.raises(KeyReused):
        await player.say("something else", key="k")


async def test_keys_are_those_of_one_session(store: Store) -> None:
    player = await a_player(store)
    await a_player(store, "s2")
    await player.say("hello", key="k")
    other = await store.put_message("s2", NewMessage("m2", "another", "bob", "k"))
    assert other.ordinal == 1


async def test_message_to_no_session_is_refused(store: Store) -> None:
    with pytest.raises(UnknownSession):
        await store.put_message("nobody", NewMessage("m", "hello", "alice"))


async def test_a_full_inbox_takes_no_more_until_a_turn_has_taken_what_waits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MOST_QUEUED", 2)
    player = await a_player(store)
    await a_player(store, "s2")
    one = await player.say("one", key="k")
    await player.say("two")
    with pytest.raises(InboxFull, match="2 messages to session s1 wait"):
        await player.say("three")
    assert await player.say("one", key="k") == one, "known already, so not one more"
    await store.put_message("s2", NewMessage("m2", "hello", "bob"))
    await store.pin_turn(player.pod)
    await player.say("three")
    assert await states(store) == [("one", "taken"), ("two", "taken"), ("three", "queued")]


async def test_messages_that_begin_no_turn_fill_the_inbox_but_never_shut_a_user_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MOST_QUEUED", 2)
    await a_player(store)
    for number in (1, 2):
        await store.put_message("s1", NewMessage(f"m{number}", "be brief", "alice", role=MessageRole.SYSTEM))
    with pytest.raises(InboxFull):
        await store.put_message("s1", NewMessage("m3", "be brief", "alice", role=MessageRole.SYSTEM))
    stored = await store.put_message("s1", NewMessage("m4", "hello", "alice"))
    assert stored.ordinal == 3


@pytest.mark.requirement("CONV-4")
async def test_queued_messages_go_to_the_next_turn_in_order(store: Store) -> None:
    player = await a_player(store)
    first = await store.pin_turn(player.pod)
    await player.say("one")
    await player.say("two")
    (call_id,) = call_ids(await player.ask(an_answer("", "shell")))
    await player.report(call_id, "x")
    assert await states(store) == [("one", "queued"), ("two", "queued")]
    await player.commit(1, Outcome.CONTINUE)
    second = await store.pin_turn(player.pod)
    await player.say("three")

    assert await states(store) == [("one", "taken"), ("two", "taken"), ("three", "queued")]
    assert (await player.level()).inbox_pending == 1
    said = [item.get("content") for item in await store.history(second)]
    assert said[-2:] == ["one", "two"]
    assert [item["content"] for item in await store.history(first)] == ["say hello"]
    taken = await store.read(inbox.find, "s1", "m-one")
    assert taken is not None
    assert (taken.agent, taken.epoch, taken.round, taken.k) == ("agent", 1, 1, 2)
    entry = (await store.entries("s1", after=(taken.entry_seq or 0) - 1))[0]
    assert entry.body == {"role": "user", "content": "one", "id": "m-one", "actor": "alice"}
    assert await store.verify("s1") == []


@pytest.mark.requirement("LIFE-11")
async def test_later_epochs_get_the_turn_with_the_same_messages(store: Store) -> None:
    player = await a_player(store)
    await player.say("before")
    pinned = await store.pin_turn(player.pod)
    await player.say("after")
    later = await a_player(store, epoch=2)
    assert await store.pin_turn(later.pod) == pinned
    assert [item["content"] for item in await store.history(pinned)] == ["say hello", "before"]
    assert await states(store) == [("before", "taken"), ("after", "queued")]


@pytest.mark.requirement("CONV-4")
async def test_message_is_answered_when_a_turn_ends_with_a_text(store: Store) -> None:
    player = await a_player(store)
    await player.say("one")
    await store.pin_turn(player.pod, OPEN)
    (call_id,) = call_ids(await player.ask(an_answer("let me look", "shell")))
    await player.report(call_id, "x")
    await player.commit(1, Outcome.CONTINUE, OPEN)
    assert await states(store) == [("one", "taken")]
    await player.say("two")
    await player.answer("found", OPEN)
    assert await states(store) == [("one", "answered"), ("two", "answered")]
    await player.say("three")
    assert (await states(store))[-1] == ("three", "queued")


@pytest.mark.requirement("CONV-4")
async def test_final_answer_that_finds_a_message_goes_on_with_it(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("done"))
    await player.say("one more thing")
    closed_as = await player.commit(1, Outcome.FINAL)
    assert not closed_as.is_last
    assert await player.commit(1, Outcome.FINAL) == closed_as, "the same commit again"
    level = await player.level()
    assert (level.closing, level.result) == (None, "done")

    turn = await player.answer("that too", Course())
    assert turn.k == 2
    level = await player.level()
    assert level.closing is not None
    assert (level.closing.outcome, level.result) == (Outcome.FINAL, "that too")


async def test_pod_cannot_say_that_it_is_idle(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("done"))
    with pytest.raises(TurnMismatch):
        await player.commit(1, Outcome.IDLE)


@pytest.mark.requirement("CONV-1")
async def test_finished_sessions_take_no_messages_but_remember_those_they_took(store: Store) -> None:
    player = await a_player(store)
    first = await player.say("one", key="k")
    await player.answer("done", Course())
    with pytest.raises(SessionFinished):  # its phase does not say so yet
        await player.say("two")
    await store.put_session(a_session(phase=Phase.COMPLETED, phase_started_at=T0 + timedelta(seconds=1)))
    with pytest.raises(SessionFinished, match="Completed"):
        await player.say("two")
    again = await player.say("one", key="k")
    assert again == replace(first, state=MessageState.ANSWERED, **taken_fields(again))


def taken_fields(message: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in ("agent", "epoch", "round", "k", "entry_seq")}


async def test_deleted_session_takes_no_messages(store: Store) -> None:
    player = await a_player(store)
    await store.mark_deleted("s1", T0)
    with pytest.raises(SessionFinished, match="deleted"):
        await player.say("hello")


async def test_conversation_that_was_closed_while_idle_takes_no_messages(store: Store, clock: Clock) -> None:
    player = await a_player(store, goal="", spec=TALK)
    await player.say("one")
    await player.answer("yes", OPEN)
    await store.put_session(closed())
    await player.say("while the pod is there")
    await player.answer("yes again", Course(is_open=True, idle=timedelta()))
    with pytest.raises(Exception, match="nothing to do"):
        await store.pin_turn(player.pod, Course(is_open=True, idle=timedelta()))
    with pytest.raises(SessionFinished):
        await player.say("too late")
    del clock


async def test_conversation_that_was_closed_before_it_began_takes_no_messages(store: Store) -> None:
    await store.put_session(closed())
    with pytest.raises(SessionFinished):
        await store.put_message("s1", NewMessage("m", "hello", "alice"))
