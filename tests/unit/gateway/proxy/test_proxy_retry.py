"""Which tries one purchase has."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from agentsessions.api.reasons import ErrorCode
from agentsessions.gateway.proxy import retry
from agentsessions.gateway.proxy.answer import Answer
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.refusal import to_fault

ANSWER = Answer("text", (), "stop", None, 0)


def a_fault(*, retried: bool = True, after: float | None = None, charged: bool = False) -> ModelFault:
    return ModelFault(ErrorCode.OVERLOADED, "busy", is_retried=retried, retry_after_seconds=after, is_charged=charged)


async def run(*outcomes: ModelFault | Answer) -> tuple[list[int], ModelFault | Answer]:
    tries: list[int] = []

    async def buy(number: int) -> Answer:
        tries.append(number)
        outcome = outcomes[number - 1]
        if isinstance(outcome, ModelFault):
            raise outcome
        return outcome

    try:
        return tries, await retry.buy_with_retries(buy)
    except ModelFault as fault:
        return tries, fault


async def test_retry_goes_on_until_an_answer_is_complete() -> None:
    assert await run(a_fault(), a_fault(), ANSWER) == ([1, 2, 3], ANSWER)


async def test_retry_ends_after_three_tries_with_the_last_fault() -> None:
    faults = [a_fault() for _ in range(3)]

    assert await run(*faults) == ([1, 2, 3], faults[-1])


async def test_retry_leaves_alone_what_another_try_does_not_mend() -> None:
    assert (await run(a_fault(retried=False), ANSWER))[0] == [1]


async def test_retry_does_not_wait_longer_than_its_cap() -> None:
    assert (await run(a_fault(after=retry.LONGEST_WAIT_SECONDS + 1), ANSWER))[0] == [1]


async def test_a_try_that_was_begun_is_charged_even_when_the_last_one_was_refused() -> None:
    _, outcome = await run(a_fault(charged=True), a_fault(retried=False))

    assert isinstance(outcome, ModelFault)
    assert outcome.is_charged


async def test_retry_after_is_waited_for() -> None:
    clock = asyncio.get_running_loop().time
    began = clock()

    await run(a_fault(after=0.1), ANSWER)

    assert clock() - began >= 0.1


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (429, b"", ErrorCode.RATE_LIMITED),
        (500, b"<html>", ErrorCode.OVERLOADED),
        (529, b"{}", ErrorCode.OVERLOADED),
        (408, b"[]", ErrorCode.NETWORK),
        (404, b'{"detail": "no such path"}', ErrorCode.MODEL_ERROR),
        (302, b"", ErrorCode.MODEL_ERROR),
        (400, b'{"error": {"code": "context_length_exceeded"}}', ErrorCode.CONTEXT_TOO_LONG),
        (400, b'{"message": "This model\'s maximum context length is 8192 tokens."}', ErrorCode.CONTEXT_TOO_LONG),
        (413, b'{"error": "prompt is too long"}', ErrorCode.CONTEXT_TOO_LONG),
    ],
)
def test_refusals_are_classified_in_every_form_that_servers_use(status: int, body: bytes, code: ErrorCode) -> None:
    assert to_fault(status, {}, body, secret=None).code is code


def an_error(message: str, **more: object) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


VLLM = "You passed 1015 input tokens and requested 10 output tokens. However, the model's context length is only 1024"
LLAMA = "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it"


@pytest.mark.requirement("LIFE-10")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(400, an_error("", code="context_length_exceeded"), id="OpenAI and Azure, by code"),
        pytest.param(400, an_error(VLLM, type="BadRequestError", code=400), id="vLLM, with the status as code"),
        pytest.param(
            400,
            an_error("The decoder prompt (length 9) is longer than the maximum model length of 8."),
            id="vLLM, for pictures",
        ),
        pytest.param(400, an_error("max_tokens must be at least 1, got -186."), id="vLLM, older, when nothing is left"),
        pytest.param(
            400,
            b'{"message":"The input (9 tokens) is longer than the model\'s context length (8 tokens).","code":400}',
            id="SGLang, without error around it",
        ),
        pytest.param(
            400,
            an_error("Input length (9 tokens) exceeds the maximum allowed length (8 tokens)."),
            id="SGLang, by memory",
        ),
        pytest.param(400, an_error(LLAMA, type="exceed_context_size_error", code=400), id="llama.cpp"),
        pytest.param(400, an_error("", type="exceed_context_size_error", code=400), id="llama.cpp, by type"),
        pytest.param(
            500,
            an_error("Context size has been exceeded.", type="server_error", code=500),
            id="llama.cpp, while it answers",
        ),
        pytest.param(400, an_error("Requested tokens (2285) exceed context window of 2048"), id="llama-cpp-python"),
        pytest.param(400, an_error("the input length exceeds the context length"), id="Ollama"),
        pytest.param(400, an_error("prompt too long; exceeded max context length by 4 tokens"), id="Ollama, for chats"),
        pytest.param(
            422, b'{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048."}', id="TGI"
        ),
        pytest.param(400, an_error("prompt is too long: 9 tokens > 8 maximum"), id="Anthropic front ends"),
        pytest.param(
            400,
            b'[{"error":{"code":400,"message":"The input exceeds the maximum number of tokens allowed (8)."}}]',
            id="Gemini, in a list",
        ),
        pytest.param(
            400, an_error("This model's maximum prompt length is 8 but the request contains 9 tokens."), id="xAI"
        ),
        pytest.param(
            429,
            an_error("Request too large for m on tokens per min (TPM): Limit 8.", code="rate_limit_exceeded"),
            id="more in one request than is sold in a minute",
        ),
    ],
)
def test_a_request_that_is_too_long_is_known_in_the_words_of_each_server(status: int, body: bytes) -> None:
    fault = to_fault(status, {}, body, secret=None)

    assert (fault.code, fault.is_retried) == (ErrorCode.CONTEXT_TOO_LONG, False)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        pytest.param(
            429, an_error("Too many tokens, please wait before trying again."), ErrorCode.RATE_LIMITED, id="throttled"
        ),
        pytest.param(
            429, an_error("Rate limit reached for m on tokens per min (TPM)"), ErrorCode.RATE_LIMITED, id="too soon"
        ),
        pytest.param(
            400, an_error("temperature must be below 2", code=400), ErrorCode.MODEL_ERROR, id="another mistake"
        ),
        pytest.param(503, an_error("context length of the queue"), ErrorCode.OVERLOADED, id="a server that is busy"),
    ],
)
def test_other_refusals_are_not_taken_for_too_long(status: int, body: bytes, code: ErrorCode) -> None:
    assert to_fault(status, {}, body, secret=None).code is code


@pytest.mark.parametrize(
    ("after", "seconds"),
    [
        pytest.param(None, None, id="nothing was asked for"),
        pytest.param(45.0, 45, id="some seconds"),
        pytest.param(1e300, 86_400, id="more than a date can hold"),
    ],
)
def test_fault_says_when_the_provider_may_be_asked_again(after: float | None, seconds: int | None) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)

    assert a_fault(after=after).retry_at(now) == (None if seconds is None else now + timedelta(seconds=seconds))


def test_refusal_of_a_key_says_nothing_of_what_the_provider_quoted() -> None:
    body = b'{"error": {"message": "Incorrect API key provided: sk-ab***yz"}}'

    assert "sk-ab" not in to_fault(401, {}, body, secret="sk-abcdefyz").message


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("0.5", 0.5), ("soon", None), ("", None)])
def test_retry_after_is_read_as_seconds(value: str, seconds: float | None) -> None:
    assert to_fault(429, {"retry-after": value}, b"", secret=None).retry_after_seconds == seconds
