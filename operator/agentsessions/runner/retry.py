"""How the runner waits for what passes."""

from typing import Final

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential
from tenacity.wait import wait_base

from agentsessions.runner.errors import PassingError
from agentsessions.runner.settings import Patience

log = structlog.get_logger(__name__)

LONGEST_RETRY_AFTER_SECONDS: Final = 60.0


class WaitAsTold(wait_base):
    """Wait what the answer's Retry-After says, and never less than exponential back-off with full jitter."""

    def __init__(self, patience: Patience) -> None:
        self._jitter = wait_random_exponential(
            multiplier=patience.first_wait_seconds,
            max=patience.longest_wait_seconds,
            min=patience.first_wait_seconds / 2,
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds until the next attempt."""
        error = retry_state.outcome.exception() if retry_state.outcome else None
        told = error.retry_after_seconds if isinstance(error, PassingError) else None
        return max(self._jitter(retry_state), min(told or 0.0, LONGEST_RETRY_AFTER_SECONDS))


def passing_retry(patience: Patience, *, what: str) -> AsyncRetrying:
    """Return attempts that go on while `PassingError` is raised; the last one is raised when patience ends."""

    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning("waiting for the gateway", what=what, attempt=state.attempt_number, error=str(error))

    return AsyncRetrying(
        retry=retry_if_exception_type(PassingError),
        wait=WaitAsTold(patience),
        # Time spent waiting, not time since the start: a model call may take longer than patience before it fails.
        stop=lambda state: state.idle_for >= patience.total_seconds,
        before_sleep=note,
        reraise=True,
    )
