"""Which columns of a table a terminal has room for: texts are cut first, then columns go, from the right. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

GAP: Final = 3
"""Spaces between two columns."""
TEXTS: Final = frozenset({"TEXT", "GOAL", "ARGUMENTS"})
"""Headers of columns that may be cut: the beginning of a text is worth something, that of a name or a number is not."""
LEAST_TEXT: Final = 16
ALWAYS: Final = 3
"""So many columns stay, however narrow the terminal: it wraps their lines, as it does kubectl's."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column that is shown."""

    place: int
    width: int


def fit(headers: Sequence[str], widths: Sequence[int], room: int) -> list[Column]:
    """Return the columns that fit into `room` characters, with the width of each.

    Args:
        headers: Their names.
        widths: Characters that each needs.
        room: Characters of a line.
    """
    least = [min(width, LEAST_TEXT) if name in TEXTS else width for name, width in zip(headers, widths, strict=True)]
    kept = list(range(len(headers)))
    for place in reversed(range(ALWAYS, len(headers))):
        if _length([least[one] for one in kept]) <= room:
            break
        if headers[place] not in TEXTS:
            kept.remove(place)
    spare = room - _length([least[one] for one in kept])
    columns = []
    for place in kept:
        more = max(0, min(widths[place] - least[place], spare))
        spare -= more
        columns.append(Column(place, least[place] + more))
    return columns


def _length(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)
