"""Tokens over steps as a picture (SVG) that needs no script. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from agentsessions.journal.entries import EntryRow

WIDTH: Final = 600
HEIGHT: Final = 120
MOST_POINTS: Final = 300


@dataclass(frozen=True, slots=True)
class Chart:
    """A line in a box of WIDTH by HEIGHT."""

    points: str
    """For a `polyline`: x,y pairs."""
    limit_y: float | None
    """Height of the limit's line, when it is in the picture."""
    steps: int
    tokens: int
    width: int = WIDTH
    height: int = HEIGHT


def draw(complete: Sequence[EntryRow], limit: int | None) -> Chart | None:
    """Return the tokens spent after each complete step, from zero; nothing for fewer than two steps."""
    bodies = [one.body or {} for one in complete]
    totals = [0, *accumulate((body.get("inputTokens") or 0) + (body.get("outputTokens") or 0) for body in bodies)]
    steps, tokens = len(bodies), totals[-1]
    if steps < 2 or not tokens:  # noqa: PLR2004 - a line needs two steps
        return None
    shows_limit = limit is not None and limit <= tokens * 2
    top = max(tokens, limit if shows_limit and limit else 0)
    stride = max(1, len(totals) // MOST_POINTS)
    kept = sorted({*range(0, len(totals), stride), steps})
    points = " ".join(f"{number * WIDTH / steps:.1f},{HEIGHT - totals[number] * HEIGHT / top:.1f}" for number in kept)
    return Chart(points, HEIGHT - limit * HEIGHT / top if shows_limit and limit else None, steps, tokens)
