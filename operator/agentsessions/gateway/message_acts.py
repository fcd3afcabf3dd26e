"""Every change of what is said in a session by HTTP: one job of the journal's writer each."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeVar

import structlog

from agentsessions.gateway.auth import SESSIONS, User
from agentsessions.gateway.problems import ProblemError, not_found, unavailable
from agentsessions.gateway.state import Gateway
from agentsessions.journal.refusals import (
    KeyReused,
    MessageFixed,
    MessageInPlay,
    Refusal,
    SessionFinished,
    StoreClosed,
    UnknownMessage,
)
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.writer import Work

log = structlog.get_logger(__name__)

T = TypeVar("T")

MESSAGES: Final = f"{SESSIONS}/messages"
"""What the rights to read, say, change and delete messages are asked for."""
MAX_MESSAGE_BYTES: Final = 262_144

_CONFLICTS: Final[dict[type[Refusal], tuple[str, str]]] = {
    KeyReused: ("key_reused", "Key was used before"),
    SessionFinished: ("session_finished", "Session is over"),
    MessageInPlay: ("being_answered", "Message is being answered"),
    MessageFixed: ("not_changeable", "Message cannot be changed"),
}


class MessageAct(StrEnum):
    """What is done; also the RBAC verb that it takes."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


async def act_on_messages(
    gateway: Gateway, user: User, act: MessageAct, row: SessionRow, job: Callable[[Work], T]
) -> T:
    """Return what a job on the messages of a session returns, once it is committed.

    Args:
        gateway: The parts.
        user: Who wants it; their right to it is known.
        act: What is done.
        row: The session.
        job: Does it.

    Raises:
        ProblemError: 404 or 409.
    """
    try:
        done = await gateway.store.write(job)
    except StoreClosed as closed:
        raise unavailable("The gateway is stopping. Try again.") from closed
    except UnknownMessage as refusal:
        raise not_found(f"{refusal}.") from refusal
    except Refusal as refusal:
        if type(refusal) not in _CONFLICTS:
            raise
        code, title = _CONFLICTS[type(refusal)]
        raise ProblemError(409, code, title, f"{refusal}.") from refusal
    log.info("messages changed", act=act.value, namespace=row.namespace, session=row.name, user=user.name)
    return done


def refuse_large(content: str | None) -> None:
    """Refuse a message that is larger than allowed.

    Raises:
        ProblemError: 413.
    """
    size = len(content.encode()) if content is not None else 0
    if size > MAX_MESSAGE_BYTES:
        raise ProblemError(
            413,
            "too_large",
            "Too large",
            f"The message has {size} bytes; {MAX_MESSAGE_BYTES} are the most. Larger data belongs in a file.",
        )
