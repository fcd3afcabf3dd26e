"""Commands of directors, and sessions that they started, that wait for their last word. A query."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from agentsessions.journal.child_levels import open_children
from agentsessions.journal.rows import MailKind
from agentsessions.journal.tables import child_sessions, inbox, sessions
from agentsessions.lifecycle.phases import TERMINAL

_FINAL: Final = tuple(sorted(phase.value for phase in TERMINAL))
_RECEIVER: Final = sessions.alias("receiver")


def count_open(conn: Connection, director_uid: str) -> int:
    """Return how many commands and child sessions of a session wait for their last word."""
    commands: int = conn.scalar(open_commands(inbox.c.sender_uid == director_uid)) or 0
    children: int = conn.scalar(open_children(child_sessions.c.session_uid == director_uid)) or 0
    return commands + children


def open_commands(sent_by: ColumnElement[bool]) -> Select[Any]:
    """Return the query that counts the commands that a session sent, and nobody has answered."""
    return (
        select(func.count())
        .select_from(inbox)
        .join(_RECEIVER, _RECEIVER.c.uid == inbox.c.session_uid)
        .where(
            sent_by,
            inbox.c.kind == MailKind.COMMAND.value,
            inbox.c.replied_at.is_(None),
            # An imported session is history: what it was once told nobody answers.
            _RECEIVER.c.deleted_at.is_(None),
            or_(_RECEIVER.c.phase.is_(None), _RECEIVER.c.phase.not_in(_FINAL)),
        )
    )
