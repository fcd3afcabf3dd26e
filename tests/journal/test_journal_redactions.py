"""Messages that are edited, deleted and cleared: the chain holds, later turns go on from what is left."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from agents.models.chatcmpl_converter import Converter
from sqlalchemy import select, update

from agentsessions.api.reasons import Phase
from agentsessions.api.wire import Outcome
from agentsessions.journal import inbox, redactions
from agentsessions.journal.entries import EntryType
from agentsessions.journal.messages import Said, SaidQuery, count_said, find_said, list_said
from agentsessions.journal.redactions import Edit
from agentsessions.journal.refusals import KeyReused, MessageFixed, MessageInPlay, UnknownMessage
from agentsessions.journal.replies import find_reply
from agentsessions.journal.rows import Course, MessageRole, MessageState, NewMessage, PinnedTurn
from agentsessions.journal.store import Store
from agentsessions.journal.tables import entries, model_calls, tool_calls
from agentsessions.journal.tables import inbox as inbox_table
from tests.journal.builders import T0, Clock, Player, a_player, a_session, an_answer, call_ids

OPEN = Course(is_open=True)
TALK = {"conversation": {"open": True}}
SECRET = "the-secret-word"


async def a_talk(store: Store) -> Player:
    return await a_player(store, goal="", spec=TALK)


async def say(store: Store, id_: str, content: str, role: MessageRole = MessageRole.USER, **more: Any) -> None:
    await store.put_message("s1", NewMessage(id_, content, "alice", role=role, **more))


async def talk_with_a_tool(store: Store) -> Player:
    """Play one exchange of two turns: the first calls a tool, the second answers."""
    player = await a_talk(store)
    await say(store, "m1", "look")
    await store.pin_turn(player.pod, OPEN)
    (call_id,) = call_ids(await player.ask(an_answer("I look.", "shell")))
    await player.report(call_id, SECRET)
    await player.commit(1, Outcome.CONTINUE, OPEN)
    await player.answer("Done.", OPEN)
    return player


async def conversation(store: Store, **query: Any) -> list[Said]:
    return await store.read(list_said, "s1", SaidQuery(**query))


async def words(store: Store) -> list[tuple[str, str]]:
    return [(said.role.value, said.content) for said in await conversation(store)]


async def edit(store: Store, id_: str, content: str | None = None, extra: dict[str, Any] | None = None) -> None:
    await store.write(lambda work: redactions.edit(work, "s1", id_, Edit(content, extra), "bob"))


async def delete(store: Store, id_: str) -> None:
    await store.write(lambda work: redactions.delete(work, "s1", id_, "bob"))


async def clear(store: Store) -> redactions.Cleared:
    return await store.write(lambda work: redactions.clear(work, "s1", "bob"))


async def said_by(store: Store, role: str, place: int = 0) -> Said:
    return [said for said in await conversation(store) if said.role == role][place]


async def next_history(store: Store, player: Player, content: str = "and now?") -> list[dict[str, Any]]:
    """Say something more, and return what the turn for it is shown."""
    await say(store, f"m-{content}", content)
    return await store.history(await store.pin_turn(player.pod, OPEN))


async def stored_text(store: Store) -> str:
    """Return all that is stored of the session's content."""
    tables = (entries, inbox_table, model_calls, tool_calls)
    return str([(await store.read(lambda conn, table=table: conn.execute(select(table)).all())) for table in tables])


# The conversation as a view.


@pytest.mark.requirement("CONV-1")
async def test_conversation_shows_what_was_sent_and_what_the_agent_said_and_did(store: Store) -> None:
    await talk_with_a_tool(store)
    await say(store, "m2", "more")
    found = await conversation(store)
    assert [(said.number, said.role.value, said.content) for said in found] == [
        (1, "user", "look"),
        (2, "assistant", "I look."),
        (3, "assistant", "{}"),
        (4, "tool", SECRET),
        (5, "assistant", "Done."),
        (6, "user", "more"),
    ]
    sent, call, result, queued = found[0], found[2], found[3], found[5]
    assert (sent.id, sent.actor, sent.state, sent.turn, sent.agent) == (
        "m1",
        "alice",
        MessageState.ANSWERED,
        1,
        "agent",
    )
    assert (call.tool_call_id, call.tool_name) == (result.tool_call_id, result.tool_name)
    assert result.id == f"entry-{result.seq}"
    assert [said.turn for said in found[1:5]] == [1, 1, 1, 2]
    assert (queued.id, queued.seq, queued.state) == ("m2", None, MessageState.QUEUED)
    assert await store.read(count_said, "s1") == 6
    for said in found:
        assert await store.read(find_said, "s1", said.id) == said


@pytest.mark.requirement("CONV-1")
@pytest.mark.requirement("OPS-9")
async def test_conversation_is_paged_from_both_ends_and_by_role(store: Store) -> None:
    player = await talk_with_a_tool(store)
    for number in range(3):
        await say(store, f"q{number}", f"queued {number}")
    whole = await conversation(store)
    for newest_first in (False, True):
        paged: list[Said] = []
        while page := await conversation(
            store, after=paged[-1].number if paged else 0, limit=3, newest_first=newest_first
        ):
            paged += page
        assert paged == (whole[::-1] if newest_first else whole)
    assert [said.content for said in await conversation(store, role=MessageRole.TOOL)] == [SECRET]
    assert [said.content for said in await conversation(store, role=MessageRole.USER, limit=2)] == ["look", "queued 0"]
    del player


async def test_goal_is_the_first_message(store: Store) -> None:
    await a_player(store)
    (goal,) = await conversation(store)
    assert (goal.id, goal.role, goal.content, goal.actor) == ("entry-2", MessageRole.USER, "say hello", None)
    for change in (delete(store, goal.id), edit(store, goal.id, "something else")):
        with pytest.raises(MessageFixed, match="goal"):
            await change
    assert await clear(store) == redactions.Cleared(deleted=0, kept=1)


# Roles.


@pytest.mark.requirement("CONV-1")
async def test_messages_of_other_roles_wake_nobody_and_stand_in_front_of_the_next_user_message(store: Store) -> None:
    player = await a_talk(store)
    await say(store, "m1", "Be brief.", MessageRole.SYSTEM)
    await say(store, "m2", "As I said: yes.", MessageRole.ASSISTANT)
    tool = {"tool_call_id": "their-own", "tool_name": "search", "extra_data": {"score": 1}}
    await say(store, "m3", "two hits", MessageRole.TOOL, **tool)
    assert (await player.level()).inbox_pending == 0
    await say(store, "m4", "go on")
    await say(store, "m5", "Be long.", MessageRole.SYSTEM)
    assert (await player.level()).inbox_pending == 1

    items = await store.history(await store.pin_turn(player.pod, OPEN))
    messages = Converter.items_to_messages(items)  # type: ignore[arg-type]  # plain dicts are what the engine is given
    assert [message["role"] for message in messages] == ["system", "assistant", "tool", "user"]
    assistant, result = messages[1], messages[2]
    (call,) = assistant["tool_calls"]  # type: ignore[typeddict-item]
    assert call["id"] == result["tool_call_id"]  # type: ignore[typeddict-item]
    assert len(call["id"]) <= 40
    assert call["function"]["name"] == "search"
    stored = await store.read(find_said, "s1", "m3")
    assert stored is not None
    assert (stored.tool_call_id, stored.tool_name, stored.extra_data) == tuple(tool.values())
    assert (await conversation(store))[-1].state is MessageState.QUEUED


async def test_conversation_that_got_only_a_system_message_waits_on(store: Store, clock: Clock) -> None:
    player = await a_talk(store)
    await say(store, "m1", "hello")
    await player.answer("hi", OPEN)
    await say(store, "m2", "Be brief.", MessageRole.SYSTEM)
    clock.move(seconds=61)
    with pytest.raises(Exception, match="nothing to do"):
        await store.pin_turn(player.pod, OPEN)


# Queued messages.


@pytest.mark.requirement("CONV-1")
async def test_queued_message_is_edited_in_place_and_keeps_its_key(store: Store, clock: Clock) -> None:
    player = await a_talk(store)
    await say(store, "m1", "helo", idempotency_key="k")
    clock.move(seconds=5)
    await edit(store, "m1", "hello", {"fixed": True})
    said = await store.read(find_said, "s1", "m1")
    assert said is not None
    assert (said.content, said.extra_data, said.updated_at) == ("hello", {"fixed": True}, T0 + timedelta(seconds=5))
    again = await store.put_message("s1", NewMessage("other", "helo", "alice", "k"))
    assert (again.id, again.content) == ("m1", "hello")
    assert [item["content"] for item in await next_history(store, player)] == ["hello", "and now?"]


@pytest.mark.requirement("CONV-1")
async def test_deleted_queued_message_is_taken_by_no_turn_and_its_key_is_used(store: Store) -> None:
    player = await a_talk(store)
    await say(store, "m1", SECRET, idempotency_key="k")
    await delete(store, "m1")
    assert (await player.level()).inbox_pending == 0
    assert await conversation(store) == []
    assert SECRET not in await stored_text(store)
    again = await store.put_message("s1", NewMessage("other", SECRET, "alice", "k"))
    assert (again.id, again.state) == ("m1", MessageState.DELETED)
    with pytest.raises(KeyReused):
        await say(store, "m2", "else", idempotency_key="k")
    with pytest.raises(UnknownMessage):
        await delete(store, "m1")
    assert [item["content"] for item in await next_history(store, player)] == ["and now?"]
    assert (await store.read(find_reply, "s1", "m1")).is_over


# What is in the journal.


@pytest.mark.requirement("CONV-1")
@pytest.mark.requirement("STEP-5")
async def test_edited_message_is_what_later_turns_read_and_its_old_content_is_gone(store: Store) -> None:
    player = await a_talk(store)
    await say(store, "m1", f"my name is {SECRET}")
    await player.answer(f"Hello {SECRET}.", OPEN)
    before = {entry.seq: entry.body_digest for entry in await store.entries("s1")}
    answer = await said_by(store, "assistant")
    for content in ("my name is Bo", "my name is Alice"):
        await edit(store, "m1", content)
    await edit(store, answer.id, "Hello Alice.", {"by": "bob"})

    assert await words(store) == [("user", "my name is Alice"), ("assistant", "Hello Alice.")]
    assert (await said_by(store, "assistant")).extra_data == {"by": "bob"}
    assert (await said_by(store, "user")).updated_at is not None
    assert SECRET not in await stored_text(store)
    assert "name is Bo" not in await stored_text(store)
    assert await store.verify("s1") == []
    now = await store.entries("s1")
    assert before == {e.seq: e.body_digest for e in now[: len(before)]}
    assert [entry.body["actor"] for entry in now if entry.type is EntryType.EDITED and entry.body] == ["bob", "bob"]
    history = await next_history(store, player)
    assert history[0] == {"role": "user", "content": "my name is Alice"}
    assert history[1]["content"][0]["text"] == "Hello Alice."


@pytest.mark.requirement("CONV-1")
@pytest.mark.requirement("STEP-5")
async def test_deleted_message_leaves_its_digest_and_who_deleted_it(store: Store) -> None:
    player = await a_talk(store)
    await say(store, "m1", SECRET)
    await player.answer("Fine.", OPEN)
    before = next(entry for entry in await store.entries("s1") if entry.type is EntryType.MESSAGE)
    await delete(store, "m1")

    assert await words(store) == [("assistant", "Fine.")]
    assert (await conversation(store))[0].number == 2
    assert await store.read(count_said, "s1") == 1
    after = await store.entries("s1")
    assert next(entry for entry in after if entry.seq == before.seq) == replace(before, body=None)
    assert (after[-1].type, after[-1].body) == (EntryType.REDACTED, {"seqs": [before.seq], "actor": "bob"})
    assert SECRET not in await stored_text(store)
    assert await store.verify("s1") == []
    roles = [item.get("role") for item in await next_history(store, player)]
    assert roles == ["assistant", "user"]


@pytest.mark.requirement("CONV-1")
@pytest.mark.parametrize("half", ["assistant", "tool"])
async def test_tool_call_and_its_result_are_deleted_together(store: Store, half: str) -> None:
    player = await talk_with_a_tool(store)
    found = [said for said in await conversation(store) if said.role == half and said.tool_call_id]
    await delete(store, found[0].id)
    assert await words(store) == [("user", "look"), ("assistant", "I look."), ("assistant", "Done.")]
    assert SECRET not in await stored_text(store)
    items = await next_history(store, player)
    assert not [item for item in items if item.get("type", "").startswith("function_call")]
    assert await store.verify("s1") == []


async def test_result_of_a_tool_is_edited_and_its_call_is_not(store: Store) -> None:
    player = await talk_with_a_tool(store)
    call, result = [said for said in await conversation(store) if said.tool_call_id]
    await edit(store, result.id, "three rows")
    with pytest.raises(MessageFixed):
        await edit(store, call.id, "{}")
    assert SECRET not in await stored_text(store)
    items = await next_history(store, player)
    assert [item["output"] for item in items if item.get("type") == "function_call_output"] == ["three rows"]


@pytest.mark.requirement("CONV-1")
async def test_cleared_conversation_begins_anew(store: Store) -> None:
    player = await talk_with_a_tool(store)
    await edit(store, "m1", "look there")
    await say(store, "m2", "queued")
    assert await clear(store) == redactions.Cleared(deleted=6, kept=0)
    assert await conversation(store) == []
    assert await store.read(count_said, "s1") == 0
    assert SECRET not in await stored_text(store)
    assert await store.verify("s1") == []
    assert await next_history(store, player, "hello again") == [{"role": "user", "content": "hello again"}]
    assert await clear(store) == redactions.Cleared(deleted=0, kept=1)


# While an agent works.


@pytest.mark.requirement("LIFE-11")
async def test_what_an_agent_is_answering_is_left_alone_until_it_has_answered(store: Store) -> None:
    player = await talk_with_a_tool(store)
    await say(store, "m2", "once more")
    turn = await store.pin_turn(player.pod, OPEN)
    await player.ask(an_answer("Again.", "shell"), "d-again")
    thinking = await said_by(store, "assistant", -2)
    for id_ in ("m2", thinking.id):
        with pytest.raises(MessageInPlay):
            await delete(store, id_)
        with pytest.raises(MessageInPlay):
            await edit(store, id_, "x")
    assert (await clear(store)).kept == 3
    assert [said.content for said in await conversation(store)] == ["once more", "Again.", "{}"]

    later = await a_player(store, epoch=2)
    assert await store.pin_turn(later.pod, OPEN) == turn
    assert await store.history(turn) == [{"role": "user", "content": "once more"}]
    (call_id,) = call_ids(await later.ask(an_answer("never bought"), "d-again"))
    await later.report(call_id, "ok")
    await later.commit(turn.k, Outcome.CONTINUE, OPEN)
    await later.answer("There.", OPEN)
    await delete(store, "m2")
    assert await store.verify("s1") == []


async def test_turn_that_is_played_again_after_a_deletion_buys_an_answer_to_what_is_left(store: Store) -> None:
    player = await talk_with_a_tool(store)
    await say(store, "m2", "once more")
    turn = await store.pin_turn(player.pod, OPEN)
    await player.ask(an_answer("I saw the secret."), "with-secret")
    await delete(store, "m1")
    later = await a_player(store, epoch=2)
    assert await store.pin_turn(later.pod, OPEN) == turn
    assert "look" not in [item.get("content") for item in await store.history(turn)]
    await later.ask(an_answer("I know nothing."), "without-secret")
    await later.commit(turn.k, Outcome.FINAL, OPEN)
    assert (await store.read(find_reply, "s1", "m2")).text == "I know nothing."
    found = await conversation(store)
    assert "I saw the secret." not in [said.content for said in found]
    assert await store.read(count_said, "s1") == len(found)


async def test_finished_session_lets_all_be_deleted_but_its_goal(store: Store) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    await player.ask(an_answer(SECRET, "shell"))
    with pytest.raises(MessageInPlay):
        await delete(store, (await said_by(store, "assistant")).id)
    await store.put_session(a_session(phase=Phase.FAILED, phase_started_at=T0 + timedelta(seconds=1)))
    assert (await clear(store)).kept == 1
    assert SECRET not in await stored_text(store)
    assert await words(store) == [("user", "say hello")]


async def test_program_that_may_repeat_its_requests_keeps_its_answers(store: Store) -> None:
    player = await a_player(store)
    await player.ask(an_answer("an answer"))
    with pytest.raises(MessageInPlay):
        await delete(store, (await said_by(store, "assistant")).id)


async def test_summary_of_what_was_deleted_is_deleted_with_it(store: Store) -> None:
    player = await a_talk(store)
    for number in range(3):
        await say(store, f"m{number}", f"{SECRET} {number}")
        await player.answer(f"noted {number}", OPEN)
    await say(store, "m9", "what did I say?")
    turn = await store.pin_turn(player.pod, OPEN)
    compact = await too_long(store, player, turn)
    with pytest.raises(MessageInPlay):
        await delete(store, "m0")
    await player.ask(an_answer(f"They said {SECRET}."), "summary")
    await player.commit(compact.k, Outcome.FINAL, OPEN)
    last = await store.pin_turn(player.pod, OPEN)
    assert "They said" in str(await store.history(last))
    await delete(store, "m0")
    assert "They said" not in await stored_text(store)
    assert f"{SECRET} 1" in str(await store.history(last))
    assert await store.verify("s1") == []


async def too_long(store: Store, player: Player, turn: PinnedTurn) -> PinnedTurn:
    """Let the model refuse the turn as too long; return the one that summarises."""
    reserved = await player.reserve("too-long")
    await store.fail_call(reserved.call_id, "context_too_long", "too long", charged=False)
    error = {"code": "context_too_long", "message": "too long"}
    await player.commit(turn.k, Outcome.ERROR, OPEN, error=error)
    return await store.pin_turn(player.pod, OPEN)


# The chain.


@pytest.mark.requirement("STEP-5")
async def test_content_that_vanished_without_a_word_is_found(store: Store) -> None:
    await talk_with_a_tool(store)
    await delete(store, "m1")
    answer = await said_by(store, "assistant")
    await store.write(
        lambda work: work.conn.execute(update(entries).where(entries.c.seq == answer.seq).values(body=None))
    )
    (problem,) = await store.verify("s1")
    assert f"entry {answer.seq} has no body" in problem


async def test_message_of_another_session_is_not_found(store: Store) -> None:
    await talk_with_a_tool(store)
    await a_player(store, "s2")
    for id_ in ("m1", "entry-5", "entry-99", "entry-x", ""):
        with pytest.raises(UnknownMessage):
            await store.write(lambda work, id_=id_: redactions.delete(work, "s2", id_, "bob"))
        assert await store.read(find_said, "s2", id_) is None
    assert await store.read(inbox.find, "s1", "m1") is not None


# Replies.


@pytest.mark.requirement("CONV-2")
async def test_reply_is_the_text_that_ended_the_turn_of_a_message(store: Store) -> None:
    player = await talk_with_a_tool(store)
    first = await store.read(find_reply, "s1", "m1")
    assert (first.text, first.is_over) == ("Done.", False)
    await say(store, "m2", "more")
    assert (await store.read(find_reply, "s1", "m2")).text is None
    await player.answer("More.", OPEN)
    await say(store, "m3", "even more")
    await player.answer("Even more.", OPEN)
    assert [(await store.read(find_reply, "s1", id_)).text for id_ in ("m1", "m2", "m3")] == [
        "Done.",
        "More.",
        "Even more.",
    ]
    entry = (await store.entries("s1", after=(first.through_seq or 0) - 1))[0]
    assert entry.type is EntryType.STEP_COMPLETE
    await edit(store, (await said_by(store, "assistant", -1)).id, "Even less.")
    assert (await store.read(find_reply, "s1", "m3")).text == "Even less."


@pytest.mark.requirement("CONV-2")
async def test_message_of_a_session_that_failed_has_no_reply_to_wait_for(store: Store) -> None:
    player = await a_talk(store)
    await say(store, "m1", "hello")
    await store.pin_turn(player.pod, OPEN)
    failed = a_session(
        goal="", spec=TALK, phase=Phase.FAILED, phase_started_at=T0 + timedelta(seconds=1), message="it broke"
    )
    await store.put_session(failed)
    reply = await store.read(find_reply, "s1", "m1")
    assert (reply.text, reply.is_over, reply.phase, reply.message) == (None, True, Phase.FAILED, "it broke")
