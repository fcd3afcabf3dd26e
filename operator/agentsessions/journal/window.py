"""How much of a long conversation a turn shows the model. Pure.

Cut between turns only: a model takes no tool call without its result. The first message, which is the goal where there
is one, always stays, and so does the newest turn.
"""

from collections.abc import Sequence

from agentsessions.journal.entries import EntryRow, EntryType

_COUNTED = frozenset({EntryType.MESSAGE, EntryType.THINKING, EntryType.OUTPUT})
"""What users and assistants said."""


def keep_newest(conversation: Sequence[EntryRow], max_messages: int) -> list[EntryRow]:
    """Return the first message and as many of the newest turns as together hold at most `max_messages` messages.

    Args:
        conversation: Entries in order of seq, beginning with a message.
        max_messages: Texts of users and assistants.
    """
    if count_messages(conversation) <= max_messages:
        return list(conversation)
    first, *rest = conversation
    kept: list[EntryRow] = []
    room = max_messages - 1
    for turn in reversed(_split_turns(rest)):
        room -= count_messages(turn)
        if room < 0 and kept:
            break
        kept = [*turn, *kept]
    return [first, *kept]


def count_messages(conversation: Sequence[EntryRow]) -> int:
    """Return how many texts of users and assistants there are."""
    return sum(entry.type in _COUNTED for entry in conversation)


def _split_turns(conversation: Sequence[EntryRow]) -> list[list[EntryRow]]:
    """Return the entries turn by turn: the messages that it took, and the step that it was closed with."""
    found: list[list[EntryRow]] = []
    step = -1
    for entry in conversation:
        if not found or (step > 0 and entry.step != step):
            found.append([])
        found[-1].append(entry)
        step = entry.step
    return found
