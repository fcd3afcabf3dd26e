"""How much one user may ask for in a minute, counted by each replica for itself."""

import math
import time
from enum import StrEnum
from typing import Self

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from agentsessions.gateway.auth import User
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.settings import Settings


class Rate(StrEnum):
    """What is counted."""

    SESSIONS = "sessions"
    MESSAGES = "messages"


class Rates:
    """Counts what each user asked for in the last minute."""

    def __init__(self, *, sessions_per_minute: int, messages_per_minute: int) -> None:
        """Begin with nothing counted; 0 per minute means that a rate is not limited."""
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        allowed = {Rate.SESSIONS: sessions_per_minute, Rate.MESSAGES: messages_per_minute}
        self._items: dict[Rate, RateLimitItem] = {
            rate: RateLimitItemPerMinute(amount, namespace=rate.value) for rate, amount in allowed.items() if amount
        }

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Begin with what the administrator allows."""
        return cls(sessions_per_minute=settings.sessions_per_minute, messages_per_minute=settings.messages_per_minute)

    def count(self, rate: Rate, user: User, amount: int = 1) -> None:
        """Count what a user asks for.

        Raises:
            ProblemError: 429 with Retry-After: it would be more than allowed, and is not counted.
        """
        item = self._items.get(rate)
        if item is None or self._limiter.hit(item, user.name, cost=amount):
            return
        resets_at = self._limiter.get_window_stats(item, user.name).reset_time
        wait = max(1, math.ceil(resets_at - time.time()))
        raise ProblemError(
            ProblemCode.RATE_LIMITED,
            f"User {user.name!r} may ask for {item.amount} {rate} a minute here, and did. Try again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )
