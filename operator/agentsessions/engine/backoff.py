"""When to try again."""

import random
from collections.abc import Callable
from typing import Final

_MOST_DOUBLINGS: Final = 30


class Backoff:
    """Doubles the wait of a key with each failure, up to a bound, and spreads it so that keys do not come in step."""

    def __init__(
        self,
        first_seconds: float = 0.5,
        most_seconds: float = 30.0,
        *,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Set the bounds.

        Args:
            first_seconds: Longest wait after the first failure.
            most_seconds: Longest wait of all.
            spread: Picks a factor between two bounds.
        """
        self._first_seconds = first_seconds
        self._most_seconds = most_seconds
        self._spread = spread
        self._failures: dict[str, int] = {}

    def next(self, key: str) -> float:
        """Count a failure of `key` and return the seconds to wait: between half the bound and the bound."""
        failures = self._failures.get(key, 0)
        self._failures[key] = min(failures + 1, _MOST_DOUBLINGS)
        return min(self._first_seconds * 2.0**failures, self._most_seconds) * self._spread(0.5, 1.0)

    def reset(self, key: str) -> None:
        """Forget the failures of `key`: it succeeded, or is gone."""
        self._failures.pop(key, None)
