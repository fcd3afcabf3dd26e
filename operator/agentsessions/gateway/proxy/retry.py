"""Tries of one purchase: what passes is tried again, a few times and soon; longer waits are the operator's."""

import random
from collections.abc import Awaitable, Callable
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from agentsessions.gateway.proxy.answer import Answer
from agentsessions.gateway.proxy.faults import ModelFault

MAX_ATTEMPTS: Final = 3
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 10.0
"""A provider that asks for more patience is not asked again in this purchase: the epoch fails, and the session's own
retry waits without holding a pod."""


async def buy_with_retries(buy: Callable[[int], Awaitable[Answer]]) -> Answer:
    """Call `buy` with 1, 2, 3 until an answer is complete.

    Nothing may have been journaled of a try that failed.

    Raises:
        ModelFault: The last try's; charged when any of them was begun.
    """
    is_charged = False

    async def attempt(number: int) -> Answer:
        nonlocal is_charged
        try:
            return await buy(number)
        except ModelFault as fault:
            is_charged = fault.is_charged = is_charged or fault.is_charged
            raise

    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, ModelFault) and error.is_retried),
        stop=_is_enough,
        wait=_wait_seconds,
        reraise=True,
    )
    async for state in retrying:
        with state:
            return await attempt(state.retry_state.attempt_number)
    raise AssertionError("tenacity ends with an answer or an error")


def _asked_seconds(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_seconds if isinstance(error, ModelFault) else None


def _is_enough(state: RetryCallState) -> bool:
    return state.attempt_number >= MAX_ATTEMPTS or (_asked_seconds(state) or 0.0) > LONGEST_WAIT_SECONDS


def _wait_seconds(state: RetryCallState) -> float:
    backoff: float = FIRST_WAIT_SECONDS * 2 ** (state.attempt_number - 1)
    # Jitter spreads sessions that a provider refused together.
    jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - no secret hangs on it
    return max(jittered, _asked_seconds(state) or 0)
