"""Messages between sessions: what others sent to a session, and what it sent."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query

from agentsessions.api.model import ApiModel
from agentsessions.gateway import paths
from agentsessions.gateway.lookup import MAX_NUMBER, SessionId, TheGateway, TheNamespace, TheUser, find_session
from agentsessions.gateway.message_acts import MESSAGES
from agentsessions.gateway.routes.sessions import Limit
from agentsessions.journal.mailbox import find_mail
from agentsessions.journal.rows import MailKind, MessageRow, MessageState

router = APIRouter(prefix=f"{paths.SESSIONS}/{{session}}/mailbox", tags=["messages"])


class Box(StrEnum):
    """Which way messages went."""

    RECEIVED = "received"
    SENT = "sent"


class MailAnswer(ApiModel):
    """One message between two sessions."""

    id: str
    """Its id: of a command also what reports and errors on it name."""
    number: int
    """Its place in this list, from 1."""
    kind: MailKind
    """COMMAND, PROGRESS_REPORT or ERROR."""
    priority: int
    """1 (low) to 4 (critical)."""
    sender: str
    """Name of the session that sent it."""
    receiver: str
    """Name of the session that it was sent to."""
    correlation_id: str | None = None
    """Of a report or an error: id of the command."""
    content: str
    """What it says; empty once deleted."""
    created_at: datetime
    """When it was stored (UTC)."""
    state: MessageState
    """queued: no turn has it yet. taken: a turn shows it to the model. answered: that turn, or a later one, ended.
    deleted: its content is gone."""
    replied_at: datetime | None = None
    """When a command got its last word: an answer or an error (UTC)."""


class MailList(ApiModel):
    """One page of a mailbox."""

    items: list[MailAnswer]
    """The messages, oldest first."""
    next: int | None = None
    """`after` of the next page; absent on the last."""


@router.get("", response_model_exclude_none=True)
async def list_mail(  # noqa: PLR0913, PLR0917 - FastAPI passes them by name
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    box: Annotated[Box, Query(description="received: from other sessions. sent: to other sessions.")] = Box.RECEIVED,
    kind: Annotated[MailKind | None, Query(description="Only these.")] = None,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="`next` of the page before.")] = 0,
    limit: Limit = 100,
) -> MailList:
    """List commands, reports and errors between sessions (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    found = await gateway.store.read(
        lambda conn: find_mail(conn, row.uid, is_sent=box is Box.SENT, kind=kind, after=after, limit=limit + 1)
    )
    items = [_to_answer(*one) for one in found[:limit]]
    return MailList(items=items, next=items[-1].number if len(found) > limit else None)


def _to_answer(number: int, receiver: str, message: MessageRow) -> MailAnswer:
    return MailAnswer(
        id=message.id,
        number=number,
        kind=MailKind(message.kind or MailKind.COMMAND),
        priority=message.priority or 0,
        sender=message.sender or "",
        receiver=receiver,
        correlation_id=message.correlation_id,
        content=message.content,
        created_at=message.created_at,
        state=message.state,
        replied_at=message.replied_at,
    )
