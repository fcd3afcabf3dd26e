"""What an error class means for the session: try again in a new epoch, or fail."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from agentsessions.api.reasons import ErrorCode, StopReason
from agentsessions.lifecycle.effective import Effective

FATAL: Final[Mapping[ErrorCode, StopReason]] = {
    ErrorCode.CONTEXT_TOO_LONG: StopReason.CONTEXT_TOO_LONG,  # the same request would fail the same way
    ErrorCode.POLICY: StopReason.POLICY_REFUSED,
}
"""Errors that another try cannot mend. All others are tried again."""


def compute_backoff(effective: Effective, retries: int, jitter: float) -> timedelta:
    """Return how long to wait before the next epoch, after `retries` epochs in a row without a committed turn.

    Doubles from the initial to the longest wait, less up to a quarter of it: `jitter` in [0, 1) spreads sessions
    that failed together.
    """
    doublings = min(max(retries - 1, 0), 20)  # 2**20 is beyond every allowed wait
    wait = min(effective.initial_backoff * (1 << doublings), effective.max_backoff)
    return wait * (1 - jitter / 4)
