"""What each class of error means for the session, and how long to wait before the next try.

The result of a tool that failed is no such error: it is text for the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from agentsessions.api.reasons import ErrorCode, StopReason
from agentsessions.lifecycle.effective import Effective


class Action(StrEnum):
    """How an error is answered."""

    RETRY = "Retry"
    """A new epoch plays the same turn again."""
    COMPACT = "Compact"
    """The gateway makes the conversation shorter in the same epoch; an epoch that ends so could not be helped."""
    FAIL = "Fail"
    """Another try cannot mend it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a session in which an epoch failed."""

    action: Action
    stop_reason: StopReason
    """Why the session fails when the action is used up, or is to fail."""


RULES: Final[Mapping[ErrorCode, Rule]] = {
    ErrorCode.RATE_LIMITED: Rule(Action.RETRY, StopReason.RETRIES_EXHAUSTED),
    ErrorCode.OVERLOADED: Rule(Action.RETRY, StopReason.RETRIES_EXHAUSTED),
    ErrorCode.NETWORK: Rule(Action.RETRY, StopReason.RETRIES_EXHAUSTED),
    ErrorCode.MODEL_ERROR: Rule(Action.RETRY, StopReason.RETRIES_EXHAUSTED),
    ErrorCode.EMPTY_ANSWER: Rule(Action.RETRY, StopReason.RETRIES_EXHAUSTED),
    ErrorCode.POD_LOST: Rule(Action.RETRY, StopReason.RETRIES_EXHAUSTED),
    ErrorCode.NODE_LOST: Rule(Action.RETRY, StopReason.RETRIES_EXHAUSTED),
    ErrorCode.RUNNER_ERROR: Rule(Action.RETRY, StopReason.RETRIES_EXHAUSTED),
    ErrorCode.CONTEXT_TOO_LONG: Rule(Action.COMPACT, StopReason.CONTEXT_TOO_LONG),
    ErrorCode.START_FAILED: Rule(Action.FAIL, StopReason.START_FAILED),
    ErrorCode.POLICY: Rule(Action.FAIL, StopReason.POLICY_REFUSED),
}
LOST: Final = frozenset({ErrorCode.POD_LOST, ErrorCode.NODE_LOST})
"""Not the session's fault: after progress the next epoch need not wait."""


def rule_of(code: str) -> Rule:
    """Return the rule for a class of error; one that only a newer version knows is tried again."""
    return next((rule for known, rule in RULES.items() if known == code), RULES[ErrorCode.RUNNER_ERROR])


def compute_backoff(effective: Effective, retries: int, jitter: float) -> timedelta:
    """Return how long to wait before the next epoch, after `retries` epochs in a row without a committed turn.

    Doubles from the initial to the longest wait, and is never outside of them. `jitter` in [0, 1) spreads sessions that
    failed together over a quarter of it.
    """
    doublings = min(max(retries - 1, 0), 20)  # 2**20 is beyond every allowed wait
    wait = min(effective.initial_backoff * (1 << doublings), effective.max_backoff)
    spread = wait * (jitter / 4)
    if wait - spread >= effective.initial_backoff:
        return wait - spread
    return min(wait + spread, effective.max_backoff)


def next_try_at(
    effective: Effective, retries: int, jitter: float, *, now: datetime, not_before: datetime | None
) -> datetime:
    """Return when the next epoch is due: not before the provider wants it, and within the longest wait."""
    due = now + compute_backoff(effective, retries, jitter)
    return due if not_before is None else max(due, min(not_before, now + effective.max_backoff))
