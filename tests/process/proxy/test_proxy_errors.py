"""What becomes of a session whose model call or tool fails: a real runner, a gateway, and a scripted model."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentsessions.api import wire
from agentsessions.api.levels import Level
from agentsessions.api.reasons import ErrorCode, ExitCode
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.store import utc_now
from tests.integration.runner_process import RunnerProcess
from tests.process.proxy.house import House, Provider

UID = "uid-team-s"
TOO_LONG = {"status": 400, "code": "context_length_exceeded", "message": "of 8192 tokens"}
SHELL = {"name": "shell", "arguments": {"command": "echo apples"}}
PEARS = {"name": "shell", "arguments": {"command": "echo pears"}}
NARROW: list[dict[str, Any]] = [
    {"when": {"text": "^Write a summary"}, "answer": {"text": "the shelf has ${result[1]}"}},
    {"when": {"text": "^Summary of the conversation so far: the shelf has apples"}, "answer": {"text": "apples"}},
    {"when": {"step": 1}, "answer": {"toolCalls": [SHELL]}},
    {"when": {"step": 2}, "answer": {"toolCalls": [PEARS]}},
    {"when": {"step": 3}, "answer": {"error": TOO_LONG}},
]
"""A model whose context is full at the third answer."""


@pytest.fixture
def runner(tmp_path: Path) -> RunnerProcess:
    folder = tmp_path / "runner"
    folder.mkdir()
    return RunnerProcess(folder)


async def run(runner: RunnerProcess, house: House, pod: str = "p1") -> int:
    """Run a fresh runner as a pod, to its end."""
    be_pod(runner, pod)
    return await runner.run(house.url)


def be_pod(runner: RunnerProcess, pod: str) -> None:
    (runner.workspace.parent / "token").write_text(f"pod-{pod}")


async def put_script(house: House, rules: list[dict[str, Any]]) -> None:
    await house.put_provider({"type": "Scripted", "models": [{"name": "tiny"}], "script": {"rules": rules}})


async def level_of(house: House) -> Level:
    level = await house.store.level(UID)
    assert level is not None
    return level


async def entries_of(house: House, kind: EntryType) -> list[EntryRow]:
    return [entry for entry in await house.store.entries(UID) if entry.type is kind]


@pytest.mark.requirement("LIFE-10")
async def test_a_session_that_is_too_long_at_its_third_turn_is_compacted_and_completes(
    house: House, runner: RunnerProcess
) -> None:
    await put_script(house, NARROW)

    assert await run(runner, house) == ExitCode.DONE

    level = await level_of(house)
    assert level.closing is not None
    assert (level.closing.outcome, level.result) == (wire.Outcome.FINAL, "apples")
    assert (level.steps, level.turns, level.epoch_turns) == (4, 4, 4)
    (compaction,) = await entries_of(house, EntryType.COMPACTION)
    assert compaction.body is not None
    assert compaction.body["text"].startswith("the shelf has apples")
    assert (await house.types())[-8:] == [
        "step_start", "error", "step_start", "compaction", "step_complete", "step_start", "output", "step_complete",
    ]  # fmt: skip
    assert await house.store.verify(UID) == []


@pytest.mark.requirement("LIFE-10")
@pytest.mark.requirement("LIFE-11")
async def test_a_runner_killed_in_a_compaction_is_followed_by_one_that_does_not_buy_it_again(
    house: House, runner: RunnerProcess
) -> None:
    summary, *others = NARROW
    await put_script(house, [summary | {"answer": summary["answer"] | {"delayMilliseconds": 1500}}, *others])
    be_pod(runner, "p1")
    first = await runner.start(house.url)
    await is_bought(house, step=4)
    first.kill()
    await first.wait()
    await house.put_session(pod="p2", epoch=2)

    assert await run(runner, house, "p2") == ExitCode.DONE

    level = await level_of(house)
    assert (level.result, level.steps) == ("apples", 4)
    assert [entry.epoch for entry in await entries_of(house, EntryType.COMPACTION)] == [1]
    assert [entry.step for entry in await entries_of(house, EntryType.STEP_START)] == [1, 2, 3, 4, 5]
    assert await house.store.verify(UID) == []


async def is_bought(house: House, step: int) -> None:
    """Wait until an answer is being bought."""
    changes = house.store.changes()
    while not [entry for entry in await entries_of(house, EntryType.STEP_START) if entry.step == step]:
        await anext(aiter(changes))


@pytest.mark.requirement("LIFE-10")
async def test_a_session_that_no_summary_makes_short_enough_ends_with_its_reason(
    house: House, runner: RunnerProcess
) -> None:
    await put_script(house, [{"answer": {"error": TOO_LONG}}])

    assert await run(runner, house) == ExitCode.ERROR

    level = await level_of(house)
    assert level.closing is not None
    assert (level.closing.outcome, level.closing.code) == (wire.Outcome.ERROR, ErrorCode.CONTEXT_TOO_LONG)
    assert level.steps == 0


@pytest.mark.requirement("LIFE-10")
async def test_a_model_that_calls_tools_instead_of_a_summary_fails_that_epoch(
    house: House, runner: RunnerProcess
) -> None:
    _, *others = NARROW
    stubborn = {"when": {"text": "^Write a summary"}, "answer": {"toolCalls": [SHELL]}}
    await put_script(house, [stubborn, *others])

    assert await run(runner, house) == ExitCode.ERROR

    closing = (await level_of(house)).closing
    assert closing is not None
    assert closing.code is ErrorCode.MODEL_ERROR
    assert "summary" in (closing.message or "")
    assert len(await entries_of(house, EntryType.TOOL_CALL)) == 2


@pytest.mark.requirement("LIFE-10")
async def test_a_tool_that_fails_is_text_for_the_model_and_ends_nothing(house: House, runner: RunnerProcess) -> None:
    calls = [{"name": "shell", "rawArguments": "{"}, {"name": "teleport"}, {"name": "files", "arguments": {}}]
    answer = {"text": "told: ${result[2]}"}
    await put_script(
        house, [{"when": {"step": 1}, "answer": {"toolCalls": calls}}, {"when": {"step": 2}, "answer": answer}]
    )

    assert await run(runner, house) == ExitCode.DONE

    results = await entries_of(house, EntryType.TOOL_RESULT)
    assert [(result.body or {})["isError"] for result in results] == [True, True, True]
    assert await entries_of(house, EntryType.ERROR) == []
    level = await level_of(house)
    assert level.closing is not None
    assert level.closing.outcome is wire.Outcome.FINAL
    assert "no tool 'teleport'" in (level.result or "")


@pytest.mark.requirement("LIFE-10")
async def test_what_a_provider_asks_for_in_retry_after_reaches_the_operator(house: House, provider: Provider) -> None:
    asked_at = utc_now()
    await house.put_session(agents=[{"name": "agent", "model": {"name": "later"}}], name="t", pod="p9")
    async with house.client("p9") as client:
        turn = wire.Turn.model_validate_json((await client.get(wire.TURN_PATH)).content)
        await house.ask("later", pod="p9")
        error = wire.TurnError(code=ErrorCode.RUNNER_ERROR, message="?")
        commit = wire.Commit(k=turn.k, outcome=wire.Outcome.ERROR, error=error)
        await client.post(wire.COMMIT_PATH, json=commit.to_json())

    assert len(await provider.asked()) == 1
    level = await house.store.level("uid-team-t")
    assert level is not None
    assert level.closing is not None
    assert level.closing.code is ErrorCode.RATE_LIMITED
    assert level.closing.retry_at is not None
    assert timedelta(seconds=30) <= level.closing.retry_at - asked_at < timedelta(seconds=60)


async def test_a_request_that_was_too_long_before_the_first_word_is_not_paid(house: House) -> None:
    await house.ask("long-inside")

    level = await level_of(house)
    assert (level.steps, level.input_tokens) == (0, 0)
