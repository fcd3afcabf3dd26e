"""The scripted model over its real connection, and the client that reads every provider."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.script import Script
from agentsessions.gateway.proxy.answer import Accumulator, Answer
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.scripted import AGENT_HEADER, ATTEMPT_HEADER, HOST, MODEL_HEADER, ScriptedServer
from agentsessions.gateway.proxy.upstream import Endpoint, Upstream

Ask = Callable[..., Awaitable[Answer]]


@asynccontextmanager
async def a_model(*rules: dict[str, Any]) -> AsyncIterator[Ask]:
    script = Script.model_validate({"rules": rules})
    server = ScriptedServer(lambda namespace, name: script if (namespace, name) == ("team", "m") else None)
    upstream = Upstream((), own=frozenset({(HOST, server.port)}))
    await server.start()

    async def ask(*, name: str = "m", key: str | None = None, attempt: int = 1, **body: Any) -> Answer:
        headers = {AGENT_HEADER: "analyst", MODEL_HEADER: "gr%C3%B6%C3%9Fer", ATTEMPT_HEADER: str(attempt)}
        endpoint = Endpoint(server.url("team", name), key or server.key, headers)
        messages = [{"role": "user", "content": "find it"}]
        whole = {"model": "m", "messages": messages, "stream": True} | body
        return await upstream.buy(endpoint, whole, lambda: None, Accumulator())

    try:
        yield ask
    finally:
        await upstream.close()
        await server.close()


async def test_scripted_answer_arrives_whole_with_calls_and_usage() -> None:
    rule = {
        "when": {"agent": "^analyst$", "model": "größer"},
        "answer": {
            "text": "looking for ${goal}",
            "toolCalls": [{"name": "shell", "arguments": {"command": "ls"}}, {"name": "shell", "rawArguments": "{"}],
            "streamMilliseconds": 100,
            "inputTokens": 11,
            "outputTokens": 7,
        },
    }
    async with a_model(rule) as ask:
        answer = await ask()

    assert answer.text == "looking for find it"
    assert [call["function"]["arguments"] for call in answer.calls] == ['{"command": "ls"}', "{"]
    assert answer.finish_reason == "tool_calls"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 7)


async def test_scripted_cut_breaks_the_connection_in_the_middle() -> None:
    async with a_model({"answer": {"text": "half an answer", "error": {"cutAfterCharacters": 4}}}) as ask:
        with pytest.raises(ModelFault) as caught:
            await ask()

    assert (caught.value.code, caught.value.is_retried, caught.value.is_charged) == (ErrorCode.NETWORK, True, True)
    assert "RemoteProtocolError" in caught.value.message


@pytest.mark.parametrize(
    ("error", "code", "is_retried", "seconds"),
    [
        ({"status": 429, "retryAfterSeconds": 7}, ErrorCode.RATE_LIMITED, True, 7.0),
        ({"status": 503}, ErrorCode.OVERLOADED, True, None),
        ({"status": 400, "code": "context_length_exceeded"}, ErrorCode.CONTEXT_TOO_LONG, False, None),
        ({"status": 400}, ErrorCode.MODEL_ERROR, False, None),
        ({"status": 401}, ErrorCode.MODEL_ERROR, False, None),
    ],
)
async def test_scripted_refusals_are_classified(
    error: dict[str, Any], code: ErrorCode, is_retried: bool, seconds: float | None
) -> None:
    async with a_model({"answer": {"error": error}}) as ask:
        with pytest.raises(ModelFault) as caught:
            await ask()

    assert (caught.value.code, caught.value.is_retried) == (code, is_retried)
    assert caught.value.retry_after_seconds == seconds
    assert not caught.value.is_charged


async def test_scripted_model_counts_attempts_as_told() -> None:
    rules = ({"when": {"attempt": 1}, "answer": {"error": {"status": 500}}}, {"answer": {"text": "now"}})
    async with a_model(*rules) as ask:
        with pytest.raises(ModelFault):
            await ask()
        answer = await ask(attempt=2)

    assert answer.text == "now"


@pytest.mark.parametrize("cap", ["max_tokens", "max_completion_tokens"])
async def test_scripted_answer_ends_at_the_cap_of_the_request(cap: str) -> None:
    async with a_model({"answer": {"text": "a" * 100}}) as ask:
        answer = await ask(**{cap: 5})

    assert (answer.text, answer.finish_reason) == ("a" * 20, "length")


async def test_scripted_model_without_a_rule_says_so() -> None:
    async with a_model({"when": {"step": 9}, "answer": {"text": "never"}}) as ask:
        with pytest.raises(ModelFault, match="No rule of the script matches step 1"):
            await ask()


@pytest.mark.parametrize("wrong", [{"key": "guessed"}, {"name": "other"}])
async def test_scripted_model_answers_only_the_gateway_and_only_scripts_that_are(wrong: dict[str, str]) -> None:
    async with a_model({"answer": {"text": "x"}}) as ask:
        with pytest.raises(ModelFault) as caught:
            await ask(**wrong)

    assert caught.value.code is ErrorCode.MODEL_ERROR
