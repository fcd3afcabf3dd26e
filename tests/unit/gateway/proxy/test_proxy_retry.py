"""Which tries one purchase has."""

import asyncio

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


def test_refusal_of_a_key_says_nothing_of_what_the_provider_quoted() -> None:
    body = b'{"error": {"message": "Incorrect API key provided: sk-ab***yz"}}'

    assert "sk-ab" not in to_fault(401, {}, body, secret="sk-abcdefyz").message


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("0.5", 0.5), ("soon", None), ("", None)])
def test_retry_after_is_read_as_seconds(value: str, seconds: float | None) -> None:
    assert to_fault(429, {"retry-after": value}, b"", secret=None).retry_after_seconds == seconds
