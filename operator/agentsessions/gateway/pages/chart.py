"""Tokens over steps as a picture (SVG) that needs no script. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

WIDTH: Final = 600
HEIGHT: Final = 90
MOST_POINTS: Final = 300
FEWEST_STEPS: Final = 2


@dataclass(frozen=True, slots=True)
class Chart:
    """A line in a box of WIDTH by HEIGHT, and the area below it."""

    points: str
    """For a `polyline`: x,y pairs."""
    limit_y: float | None
    """Height of the limit's line, when it is in the picture."""
    steps: int
    tokens: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def area(self) -> str:
        """For a `polygon`."""
        return f"0,{HEIGHT} {self.points} {WIDTH},{HEIGHT}"


def draw(tokens_of_steps: Sequence[int], limit: int | None) -> Chart | None:
    """Return the tokens spent after each complete step, from zero; nothing for fewer than two steps."""
    totals = [0, *accumulate(tokens_of_steps)]
    steps, tokens = len(tokens_of_steps), totals[-1]
    if steps < FEWEST_STEPS or not tokens:
        return None
    shown_limit = limit if limit is not None and limit <= tokens * 2 else None
    top = max(tokens, shown_limit or 0)
    stride = max(1, len(totals) // MOST_POINTS)
    kept = sorted({*range(0, len(totals), stride), steps})
    points = " ".join(f"{number * WIDTH / steps:.1f},{HEIGHT - totals[number] * HEIGHT / top:.1f}" for number in kept)
    limit_y = None if shown_limit is None else round(HEIGHT - shown_limit * HEIGHT / top, 1)
    return Chart(points, limit_y, steps, tokens)
