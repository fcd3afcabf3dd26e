"""How a purchase fails, as one type, and how the pod is told."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from agentsessions.api.reasons import ErrorCode
from agentsessions.gateway.problem_codes import kind_of
from agentsessions.gateway.problems import ProblemError

LONGEST_RETRY_AFTER_SECONDS: Final = 86_400.0
"""More than any session waits; providers may send what no date can hold."""


@dataclass(eq=False)  # not frozen: context managers set an exception's traceback
class ModelFault(Exception):  # noqa: N818 - a fault of the provider, told to the pod as a problem
    """A model call that brought no answer."""

    code: ErrorCode
    message: str
    """For people, and never with a key in it."""
    is_retried: bool = False
    """Whether the proxy itself may try again."""
    retry_after_seconds: float | None = None
    """What the provider asked for."""
    is_charged: bool = False
    """Whether the provider had begun to answer, and so will want to be paid."""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def retry_at(self, now: datetime) -> datetime | None:
        """Return the time before which the provider does not want to be asked again, if it said one at `now`."""
        if self.retry_after_seconds is None:
            return None
        return now + timedelta(seconds=min(self.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))

    def to_problem(self) -> ProblemError:
        """Return the answer for the pod; final, because the proxy has tried what could be tried."""
        error: dict[str, Any] = {"message": self.message, "type": kind_of(self.code).title, "code": self.code.value}
        return ProblemError(self.code, self.message, final=True, error=error)
