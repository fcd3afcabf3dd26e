"""Clones and forks begin with a copy of what another session did, as their own journal."""

from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.wire import Outcome
from agentsessions.journal import redactions, sources
from agentsessions.journal.entries import EntryType
from agentsessions.journal.rows import Course
from agentsessions.journal.sources import SourceProblem
from agentsessions.journal.stats import read_performance
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Player, a_player, a_session, an_answer, call_ids

OPEN = Course(is_open=True, idle=timedelta(seconds=60))
pytestmark = pytest.mark.requirement("AG-7")


async def play(player: Player, steps: int, *, is_ended: bool = True) -> None:
    """Play turns with a tool call each; the last one ends with a text."""
    for number in range(1, steps + 1):
        turn = await player.store.pin_turn(player.pod)
        is_last = is_ended and number == steps
        answer = an_answer("done") if is_last else an_answer(f"thought {turn.k}", "shell", "files")
        relayed = await player.ask(answer, f"d{turn.k}", parts={"model": f"m{turn.k}"})
        for call_id, name in zip(call_ids(relayed), ("shell", "files"), strict=False):
            await player.begin(call_id, name)
            await player.report(call_id, f"result {turn.k} of {name}")
        await player.commit(turn.k, Outcome.FINAL if is_last else Outcome.CONTINUE)


async def adopt(store: Store, uid: str) -> SourceProblem | None:
    return await store.write(lambda work: sources.adopt(work, uid))


async def put_fork(store: Store, uid: str = "f1", *, goal: str = "say hello", **source: Any) -> None:
    """Show the journal a session with a source, as it was just created."""
    spec = {"goal": goal, "source": {"sessionRef": {"name": "s1"}, **source}}
    fork = a_session(uid, phase=None, phase_started_at=None, goal=goal, spec=spec, created_at=T0 + timedelta(hours=1))
    await store.put_session(fork)


async def begin(store: Store, uid: str = "f1", *, goal: str = "say hello") -> Player:
    """Let the operator start a fork, and say its goal as the gateway does before each turn."""
    row = await store.get_session_by_uid(uid)
    assert row is not None
    started = a_session(uid, goal=row.goal, spec=row.spec, created_at=row.created_at)
    await store.put_session(started)
    await store.set_goal_message(uid, goal)
    return await a_player(store, uid)


async def test_a_fork_at_step_k_of_20_steps_has_those_as_its_own_and_goes_on_behind_them(store: Store) -> None:
    source = await a_player(store)
    await play(source, 20)
    await put_fork(store, atStep=12)
    assert await adopt(store, "f1") is None
    before, own = await store.entries("s1"), await store.entries("f1")
    level = await source.level()
    assert own[0].type is EntryType.SOURCE
    assert own[0].body is not None
    assert {"name": "s1", "uid": "s1", "head": level.head, "digest": level.digest, "steps": 12}.items() <= own[
        0
    ].body.items()
    told = {EntryType.THINKING, EntryType.TOOL_CALL, EntryType.TOOL_RESULT}
    shared = [(e.agent, e.step, e.index, e.type, e.body) for e in before if e.type in told and e.step <= 12]
    assert [(e.agent, e.step, e.index, e.type, e.body) for e in own if e.type in told] == shared
    fork = await begin(store)
    turn = await store.pin_turn(fork.pod)
    assert turn.k == 13
    theirs = await store.history(turn)
    assert (theirs[0], len(theirs)) == ({"role": "user", "content": "say hello"}, 1 + 12 * 5)
    await play(fork, 3)
    after = await store.entries("f1")
    assert max(entry.step for entry in after) == 15
    assert await store.verify("f1") == []
    assert [entry.seq for entry in after] == list(range(1, len(after) + 1))


async def test_a_fork_has_spent_nothing_for_what_it_copied(store: Store) -> None:
    source = await a_player(store)
    await play(source, 3)
    await put_fork(store)
    await adopt(store, "f1")
    found = await store.get_session_by_uid("f1")
    assert found is not None
    spent = found.usage
    assert (spent.steps, spent.turns, spent.tool_calls, spent.input_tokens, spent.cost_micro_usd) == (0, 0, 0, 0, 0)
    figures = await store.read(read_performance, "f1")
    assert (figures.processed, figures.calls) == (0, 0)
    complete = [e.body for e in await store.entries("f1") if e.type is EntryType.STEP_COMPLETE and e.body]
    assert {body["inputTokens"] + body["outputTokens"] for body in complete} == {0}


async def test_adopting_again_changes_nothing(store: Store) -> None:
    await play(await a_player(store), 2)
    await put_fork(store)
    await adopt(store, "f1")
    before = await store.entries("f1")
    assert await adopt(store, "f1") is None
    assert await store.entries("f1") == before


async def test_a_fork_of_a_deleted_session_is_found_by_name_and_by_uid(store: Store) -> None:
    await play(await a_player(store), 2)
    await store.mark_deleted("s1", T0)
    await put_fork(store, "by-name")
    await put_fork(store, "by-uid", sessionRef={"name": "s1", "uid": "s1"})
    assert (await adopt(store, "by-name"), await adopt(store, "by-uid")) == (None, None)


@pytest.mark.parametrize(
    ("reference", "where"),
    [
        pytest.param({"name": "other"}, {}, id="a name that nobody has"),
        pytest.param({"name": "other", "uid": "s1"}, {}, id="a uid of a session with another name"),
        pytest.param({"name": "s1"}, {"namespace": "elsewhere"}, id="a session of another namespace"),
        pytest.param({"name": "s1", "uid": "s1"}, {"namespace_uid": "n0"}, id="a session of a namespace that is gone"),
        pytest.param({"name": "f1"}, {}, id="itself"),
    ],
)
async def test_a_source_that_is_not_there_is_not_found(
    store: Store, reference: dict[str, str], where: dict[str, str]
) -> None:
    await store.put_session(a_session("s1", **where))
    await put_fork(store, sessionRef=reference)
    problem = await adopt(store, "f1")
    assert problem is not None
    assert (problem.reason, reference["name"] in problem.message) == (Reason.SOURCE_NOT_FOUND, True)


async def test_a_source_that_comes_later_heals_a_fork_that_waits_for_it(store: Store) -> None:
    await put_fork(store)
    assert await adopt(store, "f1") is not None
    row = await store.get_session_by_uid("f1")
    assert row is not None
    pending = a_session("f1", phase=Phase.PENDING, spec=row.spec, created_at=row.created_at)
    await store.put_session(pending)
    assert await store.entries("f1") == []  # nothing is journaled before what it was made from
    await play(await a_player(store), 2)
    assert await adopt(store, "f1") is None
    types = [entry.type.value for entry in await store.entries("f1")]
    assert (types[0], types[-2:]) == ("source", ["session_start", "state"])


async def test_a_fork_that_is_cancelled_before_its_source_came_has_a_journal(store: Store) -> None:
    await put_fork(store)
    row = await store.get_session_by_uid("f1")
    assert row is not None
    for phase in (Phase.PENDING, Phase.CANCELLED):
        await store.put_session(a_session("f1", phase=phase, spec=row.spec, created_at=row.created_at))
    assert [entry.type.value for entry in await store.entries("f1")] == ["session_start", "state", "done"]


async def test_a_step_beyond_the_end_is_refused_with_how_many_there_are(store: Store) -> None:
    await play(await a_player(store), 3)
    await put_fork(store, atStep=4)
    problem = await adopt(store, "f1")
    assert problem is not None
    assert problem.reason is Reason.SOURCE_INVALID
    assert "spec.source.atStep is 4" in problem.message
    assert "3 completed steps" in problem.message


async def test_a_running_session_is_forked_at_its_last_closed_turn(store: Store) -> None:
    source = await a_player(store)
    await play(source, 2, is_ended=False)
    await store.pin_turn(source.pod)
    await source.ask(an_answer("under way", "shell"), "d3")
    await put_fork(store)
    await adopt(store, "f1")
    assert {entry.step for entry in await store.entries("f1")} == {0, 1, 2}
    fork = await begin(store)
    assert (await store.pin_turn(fork.pod)).k == 3


async def test_a_fork_of_agents_of_other_names_is_refused(store: Store) -> None:
    await play(await a_player(store), 2)
    spec = {"goal": "g", "agents": [{"name": "writer"}], "source": {"sessionRef": {"name": "s1"}}}
    await store.put_session(a_session("f1", phase=None, phase_started_at=None, spec=spec))
    problem = await adopt(store, "f1")
    assert problem is not None
    assert "writer" in problem.message


async def test_reset_names_the_source_and_takes_nothing_of_it(store: Store) -> None:
    await play(await a_player(store), 3)
    await put_fork(store, history="Reset")
    await adopt(store, "f1")
    fork = await begin(store)
    turn = await store.pin_turn(fork.pod)
    assert (turn.k, await store.history(turn)) == (1, [{"role": "user", "content": "say hello"}])
    first = (await store.entries("f1"))[0]
    assert (first.type, first.body and first.body["steps"]) == (EntryType.SOURCE, 0)


async def test_a_clone_of_a_finished_session_with_the_same_goal_is_done_at_once(store: Store) -> None:
    await play(await a_player(store), 2)
    await put_fork(store)
    await adopt(store, "f1")
    fork = await begin(store)
    with pytest.raises(Exception, match="final answer"):
        await store.pin_turn(fork.pod)
    assert (await fork.level()).result == "done"


async def test_another_goal_is_said_behind_the_copied_history_once(store: Store) -> None:
    await play(await a_player(store), 2)
    await put_fork(store, goal="now in French")
    await adopt(store, "f1")
    fork = await begin(store, goal="now in French")
    await store.set_goal_message("f1", "now in French")  # by another gateway
    items = await store.history(await store.pin_turn(fork.pod))
    assert [item["content"] for item in items if item.get("role") == "user"] == ["say hello", "now in French"]


async def test_a_fork_of_a_conversation_goes_on_with_what_was_said(store: Store) -> None:
    talk = {"conversation": {"open": True}}
    source = await a_player(store, goal="", spec=talk)
    for text in ("one", "two"):
        await source.say(text)
        await source.answer(f"re {text}", OPEN)
    spec = {**talk, "source": {"sessionRef": {"name": "s1"}, "atStep": 1}}
    await store.put_session(a_session("f1", goal="", spec=spec, phase=None, phase_started_at=None))
    assert await adopt(store, "f1") is None
    await store.put_session(a_session("f1", goal="", spec=spec))
    fork = await a_player(store, "f1")
    await fork.say("three")
    items = await store.history(await store.pin_turn(fork.pod, OPEN))
    assert [item["content"] for item in items if item["role"] == "user"] == ["one", "three"]


async def test_what_was_deleted_or_edited_is_copied_as_it_is_now(store: Store) -> None:
    talk = {"conversation": {"open": True}}
    source = await a_player(store, goal="", spec=talk)
    for text in ("one", "two"):
        await source.say(text)
        await source.answer(f"re {text}", OPEN)
    edit = redactions.Edit(content="ONE")
    await store.write(lambda work: redactions.edit(work, "s1", "m-one", edit, "bob"))
    await store.write(lambda work: redactions.delete(work, "s1", "m-two", "bob"))
    spec = {**talk, "source": {"sessionRef": {"name": "s1"}}}
    await store.put_session(a_session("f1", goal="", spec=spec, phase=None, phase_started_at=None))
    await adopt(store, "f1")
    said = [e.body["content"] for e in await store.entries("f1") if e.type is EntryType.MESSAGE and e.body]
    assert said == ["ONE"]
    assert await store.verify("f1") == []


async def test_a_fork_of_a_session_that_runs_in_rounds_is_refused(store: Store) -> None:
    await store.put_session(a_session("s1", type="Metrics"))
    await put_fork(store)
    problem = await adopt(store, "f1")
    assert problem is not None
    assert "rounds" in problem.message
