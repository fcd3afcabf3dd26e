"""Which of the queued messages a turn takes. Pure.

- Without commands among them: all, up to the last that begins a turn.
- A command begins an answer of its own, so that the answer is the reply to it alone. Of those who wait, the one with
  the higher priority is first, but never before something that the same sender said earlier.
- Messages of people wait in one line, with the priority of an ordinary command; they are taken together.
"""

from collections.abc import Sequence
from typing import Any, Final

from agentsessions.journal.rows import MailKind, MailPriority, MessageRole

PEOPLE: Final = ""


def choose(queued: Sequence[Any], *, may_begin: bool) -> list[Any]:
    """Return the messages to take, in the order in which the model is to read them.

    Args:
        queued: Rows of the inbox, in order.
        may_begin: Whether the turn begins an answer; else it goes on with one, and takes no command.
    """
    if not may_begin:
        return _up_to_last([row for row in queued if row.kind != MailKind.COMMAND])
    first: dict[str, Any] = {}
    for row in queued:
        if _is_waking(row):
            first.setdefault(_line_of(row), row)
    if not first:
        return []
    chosen = min(first.values(), key=lambda row: (-(row.priority or MailPriority.NORMAL), row.ordinal))
    if chosen.kind == MailKind.COMMAND:
        return [chosen]
    return _up_to_last([row for row in queued if row.kind != MailKind.COMMAND])


def _up_to_last(queued: Sequence[Any]) -> list[Any]:
    last = max((place for place, row in enumerate(queued) if _is_waking(row)), default=-1)
    return list(queued[: last + 1])


def _is_waking(row: Any) -> bool:
    return row.role == MessageRole.USER and not row.is_held


def _line_of(row: Any) -> str:
    return str(row.sender_uid) if row.kind == MailKind.COMMAND else PEOPLE
