"""The real clients: `openai`, and `openai-agents` as the runner drives it."""

import asyncio
import json
from typing import Any, cast

import openai
import pytest
from agents import Agent, FunctionTool, ModelSettings, OpenAIChatCompletionsModel, RunConfig, Runner
from openai import AsyncOpenAI

from agentsessions.api import wire
from tests.process.proxy.house import MESSAGES, House, Provider

UID = "uid-team-s"
SHELL: Any = {"type": "function", "function": {"name": "shell", "parameters": {"type": "object", "properties": {}}}}


def openai_client(house: House, pod: str = "p1", **options: Any) -> AsyncOpenAI:
    async def token() -> str:
        return f"pod-{pod}"

    return AsyncOpenAI(base_url=f"{house.url}/openai/v1", api_key=token, **options)


async def test_openai_client_reads_a_whole_answer_and_the_models(house: House) -> None:
    async with openai_client(house) as client:
        answer = await client.chat.completions.create(model="good", messages=MESSAGES)
        models = [model.id async for model in client.models.list()]

    assert answer.choices[0].message.content == "hellothere"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 55
    assert models[:2] == ["good", "flaky"]


async def test_openai_client_reads_a_stream_with_calls_and_usage(house: House) -> None:
    async with openai_client(house) as client:
        stream = await client.chat.completions.create(
            model="same-ids", messages=MESSAGES, tools=[SHELL], stream=True, stream_options={"include_usage": True}
        )
        chunks: list[Any] = [chunk async for chunk in stream]

    first, finish, usage = chunks
    assert len({call.id for call in first.choices[0].delta.tool_calls}) == 2
    assert finish.choices[0].finish_reason == "tool_calls"
    assert usage.usage.total_tokens == 55


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("broken", openai.InternalServerError, "overloaded"),
        ("long", openai.BadRequestError, "context_too_long"),
        ("empty", openai.InternalServerError, "empty_answer"),
    ],
)
async def test_openai_client_gives_up_on_final_errors_without_asking_again(
    house: House, provider: Provider, model: str, kind: type[openai.APIStatusError], code: str
) -> None:
    async with openai_client(house, max_retries=2) as client:
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(model=model, messages=MESSAGES)

    assert caught.value.code == code
    assert len(await provider.asked()) == (3 if model == "broken" else 1)


async def test_openai_client_raises_what_goes_wrong_after_the_headers(house: House) -> None:
    async with openai_client(house) as client:
        with pytest.raises(openai.APIError) as caught:
            async for _ in await client.chat.completions.create(model="cut-text", messages=MESSAGES, stream=True):
                pass

    assert caught.value.code == "network"


async def test_headers_wait_for_the_provider_and_pings_keep_the_stream_alive(
    house: House, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsessions.gateway.proxy.relay.PING_SECONDS", 0.01)
    body = {"model": "slow-stream", "messages": MESSAGES, "stream": True}
    async with house.client() as client, client.stream("POST", "/openai/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        lines = response.aiter_lines()
        assert await anext(lines) == ": ping"
        await provider.release()
        rest = [line async for line in lines if line.startswith("data:")]

    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[0].removeprefix("data:"))["choices"][0]["delta"]["content"] == "atlast"


SCRIPT = {
    "rules": [
        {
            "when": {"step": 1},
            "answer": {
                "text": "let me count",
                "toolCalls": [
                    {"name": "shell", "arguments": {"command": "wc"}, "id": "same"},
                    {"name": "shell", "arguments": {"command": "wc -l"}, "id": "same"},
                ],
            },
        },
        {"when": {"step": 2, "attempt": 1}, "answer": {"text": "cut off", "error": {"cutAfterCharacters": 3}}},
        {
            "when": {"lastResult": "lines"},
            "answer": {"text": "${n} for ${goal}", "capture": [{"name": "n", "pattern": "(\\d+) lines"}]},
        },
    ]
}


async def play_one_turn(house: House, pod: str) -> tuple[wire.Turn, wire.Commit]:
    """Play as the runner does: get the turn, one model call with its tools, and say how it ended."""
    async with house.client(pod) as http, openai_client(house, pod, max_retries=0) as model_client:
        turn = wire.Turn.model_validate_json((await http.get(wire.TURN_PATH)).content)
        asked = 0

        async def run_tool(context: Any, arguments: str) -> str:
            nonlocal asked
            asked += 1
            begin = wire.ToolBegin(
                call_id=context.tool_call_id,
                name="shell",
                arguments=arguments,
                side_effect=wire.SideEffect.INTERNAL,
            )
            assert (await http.post(wire.TOOL_BEGIN_PATH, json=begin.to_json())).json() == {"verdict": "run"}
            settle = wire.ToolSettle(call_id=context.tool_call_id, output="12 lines", duration_milliseconds=1)
            assert (await http.post(wire.TOOL_SETTLE_PATH, json=settle.to_json())).status_code == 204
            return "12 lines"

        agent = Agent(
            name=turn.agent,
            instructions=turn.instructions,
            model=OpenAIChatCompletionsModel(turn.model, model_client),
            model_settings=ModelSettings(include_usage=True, max_tokens=turn.max_output_tokens),
            tools=[FunctionTool("shell", "", {"type": "object", "properties": {}}, run_tool, strict_json_schema=False)],
        )
        result = Runner.run_streamed(
            agent,
            cast("list[Any]", turn.history),
            max_turns=None,
            run_config=RunConfig(tracing_disabled=True),
        )
        async for event in result.stream_events():
            if event.type == "agent_updated_stream_event":
                result.cancel("after_turn")
        return turn, wire.Commit(k=turn.k, outcome=wire.Outcome.CONTINUE if asked else wire.Outcome.FINAL)


@pytest.mark.requirement("AG-1")
async def test_agents_sdk_plays_a_scripted_session_to_its_end(house: House) -> None:
    await house.put_provider({"type": "Scripted", "models": [{"name": "tiny"}], "script": SCRIPT})

    first, commit = await play_one_turn(house, "p1")
    async with house.client() as client:
        following = await client.post(wire.COMMIT_PATH, json=commit.to_json())
        second, last = await play_one_turn(house, "p1")
        over = await client.post(wire.COMMIT_PATH, json=last.to_json())
        again = await client.post(wire.COMMIT_PATH, json=last.to_json())

    assert (first.k, first.model, first.control) == (1, "tiny", wire.Control.GO)
    assert wire.Turn.model_validate_json(following.content) == second
    assert (over.status_code, again.status_code) == (204, 204)
    level = await house.store.level(UID)
    assert level is not None
    assert level.result == "12 for say hello"
    assert (level.steps, level.tool_calls, level.turns) == (2, 2, 2)
    assert level.closing is not None
    assert level.closing.outcome is wire.Outcome.FINAL
    assert await house.types() == [
        "step_start",
        "thinking",
        "tool_call",
        "tool_call",
        "tool_result",
        "tool_result",
        "step_complete",
        "step_start",
        "output",
        "step_complete",
    ]


async def test_agents_sdk_of_a_new_epoch_replays_what_the_old_one_bought(house: House) -> None:
    await house.put_provider({"type": "Scripted", "models": [{"name": "tiny"}], "script": SCRIPT})
    await play_one_turn_until_the_answer(house)
    before = await house.store.level(UID)
    await house.put_session(pod="p2", epoch=2)

    turn, commit = await play_one_turn(house, "p2")

    after = await house.store.level(UID)
    assert before is not None
    assert after is not None
    assert (after.steps, after.input_tokens) == (before.steps, before.input_tokens)
    assert (turn.k, commit.outcome) == (1, wire.Outcome.CONTINUE)


async def play_one_turn_until_the_answer(house: House) -> None:
    """Be a pod that dies as soon as its answer was bought."""
    playing = asyncio.create_task(play_one_turn(house, "p1"))
    async with asyncio.timeout(20):
        while "tool_call" not in await house.types():
            pass
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)


async def test_turn_says_pause_stop_and_what_to_play_with(house: House) -> None:
    agent = {
        "name": "agent",
        "instructions": "be brief",
        "model": {"name": "slow", "settings": {"temperature": 0.2}},
        "tools": [{"builtin": "Files"}],
    }
    await house.put_session(name="t", pod="p9", agents=[agent], limits={"maxOutputTokens": 99})
    turn = await get_turn(house, "p9")
    await house.put_session(name="t", pod="p9", agents=[agent], operatingMode="Paused")
    paused = await get_turn(house, "p9")

    assert (turn.instructions, turn.model, turn.settings.temperature) == ("be brief", "slow", 0.2)
    assert ([tool.builtin for tool in turn.tools], turn.max_output_tokens, turn.control) == (
        ["Files"],
        99,
        wire.Control.GO,
    )
    assert turn.history[-1]["content"] == "say hello"
    assert (paused.control, paused.k, paused.history) == (wire.Control.PAUSE, turn.k, turn.history)


async def test_turn_of_a_session_at_its_limit_says_stop(house: House) -> None:
    await house.put_session(limits={"maxSteps": 1})
    await house.ask()
    await house.ask(messages=[{"role": "user", "content": "more"}])

    assert (await get_turn(house, "p1")).control is wire.Control.STOP


async def get_turn(house: House, pod: str) -> wire.Turn:
    async with house.client(pod) as client:
        response = await client.get(wire.TURN_PATH)
    assert response.status_code == 200, response.text
    return wire.Turn.model_validate_json(response.content)


async def test_pods_that_are_not_known_or_not_current_are_sent_away(house: House) -> None:
    async with house.client("stranger") as client:
        early = await client.get(wire.TURN_PATH)
    await house.put_session(pod="p2", epoch=2)
    async with house.client("p1") as client:
        late = await client.get(wire.TURN_PATH)

    assert (early.status_code, early.json()["code"]) == (425, "not_fenced")
    assert (late.status_code, late.json()["code"]) == (412, "stale_epoch")
