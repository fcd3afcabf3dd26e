"""What a check of `doctor` comes to."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a check came out."""

    GOOD = "ok"
    WARNING = "look"
    BAD = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    level: Level
    text: str
    todo: tuple[str, ...] = ()
    is_end: bool = False
    """Whether the checks behind it make no sense."""
