"""A replay does another session once more, and tells which step differs, and in what."""

from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.wire import Outcome, SideEffect, ToolBegin, Verdict
from agentsessions.journal import replays, sources
from agentsessions.journal.entries import EntryType
from agentsessions.journal.refusals import AgentDone, SessionFinished
from agentsessions.journal.rows import Course
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Player, a_player, a_session, an_answer, call_ids

OPEN = Course(is_open=True, idle=timedelta(seconds=60))
PARTS = {"instructions": "i1", "model": "m1", "tools": "t1", "settings": "s1", "conversation": "c"}
pytestmark = pytest.mark.requirement("STEP-4")


async def record(store: Store, steps: int = 4) -> Player:
    """Play the session that is done again: a call of `shell` in each step but the last."""
    player = await a_player(store)
    for number in range(1, steps + 1):
        turn = await player.store.pin_turn(player.pod)
        answer = an_answer("done") if number == steps else an_answer("", "shell")
        relayed = await player.ask(answer, f"d{turn.k}", parts=PARTS)
        for call_id in call_ids(relayed):
            await player.begin(call_id)
            await player.report(call_id, f"result {turn.k}")
        await player.commit(turn.k, Outcome.FINAL if number == steps else Outcome.CONTINUE)
    return player


async def put_replay(store: Store, *, goal: str = "", **replay: Any) -> Player:
    """Let session `s1` be over, and a replay of it take over what it needs."""
    await store.mark_deleted("s1", T0)
    spec = {"replay": {"of": {"name": "s1"}, **replay}}
    row = a_session("r1", goal=goal, spec=spec)
    await store.put_session(row)
    assert await store.write(lambda work: sources.adopt(work, "r1")) is None
    return await a_player(store, "r1")


def completion(step: Any) -> dict[str, Any]:
    """Return the recorded answer as the gateway journals it."""
    answer = an_answer(step.text or "", *(tool.name for tool in step.tools))
    for call, tool in zip(answer["choices"][0]["message"].get("tool_calls", ()), step.tools, strict=False):
        call["function"]["arguments"] = tool.arguments
    return answer


async def play(
    player: Player,
    *,
    results: dict[int, str] | None = None,
    parts: dict[str, str] | None = None,
    live: list[dict[str, Any]] | None = None,
) -> int:
    """Play a replay to its end; return how many steps it had. Tools that run return `results`, by step."""
    store, steps = player.store, 0
    while True:
        try:
            turn = await store.pin_turn(player.pod)
        except AgentDone:
            return steps
        steps += 1
        reserved = await player.reserve(f"d{turn.k}", parts=parts or PARTS)
        found = None if live is not None else await store.read(replays.find_answer, reserved.call_id)
        answer = live[turn.k - 1] if live is not None else completion(found)
        relayed = await player.settle(reserved, answer, (0, 0))
        asked = call_ids(relayed)
        for call_id in asked:
            verdict = await player.begin(call_id)
            if verdict.verdict is Verdict.RUN:
                await player.report(call_id, (results or {}).get(turn.k, f"result {turn.k}"))
        committed = await player.commit(turn.k, Outcome.CONTINUE if asked else Outcome.FINAL)
        if committed.is_last:
            return steps


async def differing(store: Store) -> dict[int, list[Any]]:
    """Return what differs, by step."""
    found = [entry.body for entry in await store.entries("r1") if entry.type is EntryType.DIFFERENCE and entry.body]
    return {body["step"]: body["differences"] for body in found}


async def test_a_recorded_replay_of_an_unchanged_session_reports_no_difference(store: Store) -> None:
    await record(store)
    player = await put_replay(store)
    assert await play(player) == 4
    assert await differing(store) == {}
    level = await player.level()
    assert level.result == "Recorded replay of s1: 4 steps, no difference"
    assert (level.input_tokens, level.output_tokens) == (0, 0)
    assert await store.verify("r1") == []


async def test_recorded_results_are_served_without_running_anything(store: Store) -> None:
    await record(store)
    player = await put_replay(store)
    turn = await store.pin_turn(player.pod)
    reserved = await player.reserve()
    relayed = await player.settle(reserved, completion(await store.read(replays.find_answer, reserved.call_id)), (0, 0))
    verdict = await player.begin(call_ids(relayed)[0])
    assert (verdict.verdict, verdict.output) == (Verdict.RECORDED, "result 1")
    await player.commit(turn.k, Outcome.CONTINUE)  # the result is settled


async def test_a_changed_tool_is_told_for_exactly_its_step(store: Store) -> None:
    await record(store)
    player = await put_replay(store, tools="RunInternal")
    await play(player, results={2: "something else"})
    assert await differing(store) == {
        2: [{"what": "toolResult", "name": "shell", "expected": "result 2", "got": "something else"}]
    }
    result = (await player.level()).result
    assert result is not None
    assert result.splitlines() == [
        "Recorded replay of s1: 4 steps, 1 differs",
        "step 2: shell returned 'something else', recorded was 'result 2'",
    ]


async def test_a_model_is_shown_the_recorded_result_and_the_journal_has_the_other(store: Store) -> None:
    await record(store)
    player = await put_replay(store, tools="RunInternal")
    turn = await store.pin_turn(player.pod)
    reserved = await player.reserve()
    relayed = await player.settle(reserved, completion(await store.read(replays.find_answer, reserved.call_id)), (0, 0))
    (call_id,) = call_ids(relayed)
    await player.begin(call_id)
    await player.report(call_id, "something else")
    await player.commit(turn.k, Outcome.CONTINUE)
    items = await store.history(await store.pin_turn(player.pod))
    assert items[-1]["output"] == "result 1"
    (result,) = [entry.body for entry in await store.entries("r1") if entry.type is EntryType.TOOL_RESULT]
    assert result is not None
    assert result["output"] == "something else"


async def test_a_tool_with_outside_effects_never_runs_in_a_recorded_replay(store: Store) -> None:
    await record(store)
    player = await put_replay(store, tools="RunInternal")
    await store.pin_turn(player.pod)
    reserved = await player.reserve()
    relayed = await player.settle(reserved, completion(await store.read(replays.find_answer, reserved.call_id)), (0, 0))
    (call_id,) = call_ids(relayed)
    begin = ToolBegin(call_id=call_id, name="shell", arguments="{}", side_effect=SideEffect.EXTERNAL)
    assert (await store.begin_tool(player.pod, begin)).verdict is Verdict.RECORDED


async def test_changed_instructions_are_told_with_the_part_of_the_request(store: Store) -> None:
    await record(store, 2)
    player = await put_replay(store)
    await play(player, parts={**PARTS, "instructions": "i2"})
    wanted = [{"what": "request", "parts": ["instructions"]}]
    assert await differing(store) == {1: wanted, 2: wanted}


async def test_a_replay_ends_behind_the_step_that_it_is_to_end_with(store: Store) -> None:
    await record(store)
    player = await put_replay(store, untilStep=2)
    assert await play(player) == 2
    assert (await player.level()).result == "Recorded replay of s1: 2 steps, no difference"
    assert (await player.commit(2, Outcome.CONTINUE)).is_last  # the same commit again


async def test_a_replay_is_compared_step_by_step_when_everything_is_done_anew(store: Store) -> None:
    await record(store, 3)
    player = await put_replay(store, mode="Live")
    await play(player, live=[an_answer("", "shell"), an_answer("finished early")])
    assert await differing(store) == {
        2: [
            {"what": "text", "expected": "nothing", "got": "finished early"},
            {"what": "toolCalls", "expected": "shell {}", "got": "nothing"},
        ]
    }
    result = (await player.level()).result
    assert result is not None
    assert result.startswith("Live replay of s1: 2 steps, 1 differs")
    assert result.endswith("it ended before the other one, which has 3 steps")


@pytest.mark.parametrize("mode", ["Recorded", "Live"])
async def test_a_replay_of_a_conversation_says_again_what_was_said(store: Store, mode: str) -> None:
    source = await a_player(store, goal="", spec={"conversation": {"open": True}})
    for text in ("one", "two"):
        await source.say(text)
        await source.answer(f"re {text}", OPEN)
    player = await put_replay(store, mode=mode)
    live = [an_answer("re one"), an_answer("re two")] if mode == "Live" else None
    assert await play(player, live=live) == 2
    said = [e.body["content"] for e in await store.entries("r1") if e.type is EntryType.MESSAGE and e.body]
    assert said == ["one", "two"]
    assert (await player.level()).result == f"{mode} replay of s1: 2 steps, no difference"
    with pytest.raises(SessionFinished, match="replay"):
        await player.say("three")


async def test_a_replay_has_the_goal_of_the_other_session_unless_it_says_another(store: Store) -> None:
    await record(store, 1)
    player = await put_replay(store)
    items = await store.history(await store.pin_turn(player.pod))
    assert items == [{"role": "user", "content": "say hello"}]


async def test_a_session_that_is_not_over_is_replayed_up_to_a_step_alone(store: Store) -> None:
    await record(store)
    reference = {"of": {"name": "s1"}}
    await store.put_session(a_session("r1", spec={"replay": reference}))
    await store.put_session(a_session("r2", spec={"replay": {**reference, "untilStep": 2}}))
    problem = await store.write(lambda work: sources.adopt(work, "r1"))
    assert problem is not None
    assert "set spec.replay.untilStep" in problem.message
    assert await store.write(lambda work: sources.adopt(work, "r2")) is None


async def test_a_session_without_steps_is_not_replayed_yet(store: Store) -> None:
    await a_player(store)
    await store.mark_deleted("s1", T0)
    await store.put_session(a_session("r1", spec={"replay": {"of": {"name": "s1"}}}))
    problem = await store.write(lambda work: sources.adopt(work, "r1"))
    assert problem is not None
    assert "no completed step" in problem.message


async def test_a_pod_that_dies_in_a_replay_is_followed_by_one_that_plays_the_same(store: Store) -> None:
    await record(store)
    first = await put_replay(store, tools="RunInternal")
    turn = await store.pin_turn(first.pod)
    reserved = await first.reserve(f"d{turn.k}", parts=PARTS)
    await first.settle(reserved, completion(await store.read(replays.find_answer, reserved.call_id)), (0, 0))
    second = await a_player(store, "r1", 2)
    assert (await store.pin_turn(second.pod)).k == turn.k
    relayed = await second.ask(an_answer("never asked for"), f"d{turn.k}", parts=PARTS)
    for call_id in call_ids(relayed):
        await second.begin(call_id)
        await second.report(call_id, "result 1")
    await second.commit(turn.k, Outcome.CONTINUE)
    assert await play(second) == 3
    assert await differing(store) == {}


@pytest.mark.parametrize("tool", sorted(replays.TO_OTHERS))
async def test_a_recorded_replay_says_nothing_to_other_sessions(store: Store, tool: str) -> None:
    player = await a_player(store)
    await store.pin_turn(player.pod)
    (call,) = call_ids(await player.ask(an_answer("", tool), "d1", parts=PARTS))
    await player.begin(call, tool)
    await player.report(call, "told")
    await player.commit(1, Outcome.CONTINUE)
    replay = await put_replay(store, tools="RunInternal", untilStep=1)
    turn = await store.pin_turn(replay.pod)
    (again,) = call_ids(await replay.ask(an_answer("", tool), f"d{turn.k}", parts=PARTS))
    verdict = await replay.begin(again, tool)
    assert (verdict.verdict, verdict.output) == (Verdict.RECORDED, "told")
