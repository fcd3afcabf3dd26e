"""How much of a long conversation a turn shows the model. Pure.

Cut between turns only: a model takes no tool call without its result. The newest turn always stays.
"""

from collections.abc import Sequence
from typing import Final

from agentsessions.journal.entries import EntryRow, EntryType

_COUNTED: Final = frozenset({EntryType.MESSAGE, EntryType.THINKING, EntryType.OUTPUT})
"""What users and assistants said."""


def keep_newest(said: Sequence[EntryRow], max_messages: int) -> list[EntryRow]:
    """Return the newest turns that together hold at most `max_messages` texts of users and assistants.

    Args:
        said: Entries in order of seq.
        max_messages: Room for texts; one turn is kept whatever its room.
    """
    kept: list[EntryRow] = []
    for turn in reversed(split_turns(said)):
        max_messages -= sum(entry.type in _COUNTED for entry in turn)
        if max_messages < 0 and kept:
            break
        kept = [*turn, *kept]
    return kept


def split_turns(rest: Sequence[EntryRow]) -> list[list[EntryRow]]:
    """Group entries by turn: messages belong to the answer behind them, the last ones to the turn that is open."""
    parts: list[list[EntryRow]] = []
    step = 0
    for entry in rest:
        if not parts or (step and entry.step != step):
            parts.append([])
        parts[-1].append(entry)
        step = entry.step
    return parts
