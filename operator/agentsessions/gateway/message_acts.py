"""Every change of what is said in a session by HTTP: one job of the journal's writer each."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from agentsessions.gateway.audit import Attempt
from agentsessions.gateway.auth import SESSIONS
from agentsessions.gateway.callers import find_to_change
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError, not_found
from agentsessions.journal import audit
from agentsessions.journal.acts import Act
from agentsessions.journal.refusals import (
    InboxFull,
    KeyReused,
    MessageFixed,
    MessageInPlay,
    Refusal,
    SessionFinished,
    UnknownMessage,
)
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.writer import Work

T = TypeVar("T")

MESSAGES: Final = f"{SESSIONS}/messages"
"""What the rights to read, change and delete messages are asked for."""
SEND: Final = ("send", SESSIONS)
"""The right to say something: a verb of its own, like those that steer a session."""
MAX_MESSAGE_BYTES: Final = 262_144
FULL_SECONDS: Final = 10
"""When to try again with a session whose inbox is full; a turn takes some seconds."""

_CONFLICTS: Final[dict[type[Refusal], ProblemCode]] = {
    KeyReused: ProblemCode.KEY_REUSED,
    SessionFinished: ProblemCode.SESSION_FINISHED,
    MessageInPlay: ProblemCode.BEING_ANSWERED,
    MessageFixed: ProblemCode.NOT_CHANGEABLE,
}


RIGHTS: Final = {
    Act.MESSAGE_CREATE: SEND,
    Act.MESSAGE_UPDATE: ("update", MESSAGES),
    Act.MESSAGE_DELETE: ("delete", MESSAGES),
    Act.MESSAGES_CLEAR: ("delete", MESSAGES),
}
"""RBAC verb and resource that each act takes."""


async def find_for(attempt: Attempt, id_: str) -> SessionRow:
    """Return the session whose messages are to change, once the caller is known to have the right.

    Raises:
        ProblemError: As `find_to_change`.
    """
    verb, resource = RIGHTS[attempt.act]
    return await find_to_change(attempt.gateway, attempt.user, id_, attempt.namespace, verb=verb, resource=resource)


def _always(done: object) -> bool:
    del done
    return True


async def act_on_messages(
    attempt: Attempt,
    row: SessionRow,
    job: Callable[[Work], T],
    *,
    is_new: Callable[[T], bool] = _always,
    **detail: Any,
) -> T:
    """Return what a job on the messages of a session returns, once it is committed together with its record.

    Args:
        attempt: What is done; the right to it is known.
        row: The session.
        job: Does it.
        is_new: Whether what it returns was not done, and recorded, before.
        detail: What tells the act from others.

    Raises:
        ProblemError: 404, 409 or 429.
    """

    def recorded(work: Work) -> T:
        done = job(work)
        if is_new(done):
            audit.append(work, attempt.done(row, **detail))
        return done

    try:
        return await attempt.gateway.store.write(recorded)
    except UnknownMessage as refusal:
        raise not_found(f"{refusal}.") from refusal
    except InboxFull as refusal:
        later = {"Retry-After": str(FULL_SECONDS)}
        raise ProblemError(ProblemCode.INBOX_FULL, f"{refusal}.", headers=later) from refusal
    except Refusal as refusal:
        if type(refusal) not in _CONFLICTS:
            raise
        raise ProblemError(_CONFLICTS[type(refusal)], f"{refusal}.") from refusal


def refuse_large(content: str | None) -> None:
    """Refuse a message that is larger than allowed.

    Raises:
        ProblemError: 413.
    """
    size = len(content.encode()) if content is not None else 0
    if size > MAX_MESSAGE_BYTES:
        raise ProblemError(
            ProblemCode.TOO_LARGE,
            f"The message has {size} bytes; {MAX_MESSAGE_BYTES} are the most. Larger data belongs in a file.",
        )
