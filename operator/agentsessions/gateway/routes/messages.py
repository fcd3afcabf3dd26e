"""What people and programs say to sessions."""

import uuid
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query
from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.gateway.audit import Attempt, attempt_of
from agentsessions.gateway.lookup import SessionId, TheGateway, TheNamespace, TheUser, find_session
from agentsessions.gateway.problems import ProblemError, not_found
from agentsessions.gateway.routes.sessions import MESSAGES, PREFIX, Limit
from agentsessions.journal import audit, inbox
from agentsessions.journal.acts import Act
from agentsessions.journal.refusals import InboxFull, KeyReused, SessionFinished
from agentsessions.journal.rows import MessageRow, MessageState, NewMessage
from agentsessions.journal.writer import Work

router = APIRouter(prefix=f"{PREFIX}/{{session}}/messages", tags=["messages"])

FULL_SECONDS: Final = 10
"""When to try again with a session whose inbox is full; a turn takes some seconds."""

Key = Annotated[str, Field(min_length=1, max_length=256)]


class MessageCreate(ApiModel):
    """A message to a session."""

    content: Annotated[str, Field(min_length=1, max_length=65_536)]
    """What is said."""
    idempotency_key: Key | None = None
    """The same key with the same content means the same message. Also as header Idempotency-Key."""


class MessageAnswer(ApiModel):
    """A message to a session, and what became of it."""

    id: str
    """Its id."""
    number: int
    """Its place among the session's messages, from 1."""
    role: str
    """Who says it: user."""
    content: str
    """What is said."""
    actor: str
    """Name of the user who sent it."""
    created_at: datetime
    """When it was stored (UTC)."""
    state: MessageState
    """queued: no turn has it yet. taken: a turn shows it to the model. answered: that turn, or a later one, ended."""
    agent: str | None = None
    """Agent that took it."""
    round: int | None = None
    """Round of the turn that took it."""
    turn: int | None = None
    """Number of the turn that took it."""
    seq: int | None = None
    """Its entry in the journal."""


class MessageList(ApiModel):
    """One page of messages, oldest first."""

    items: list[MessageAnswer]
    """The messages."""
    next: int | None = None
    """`after` of the next page; absent on the last."""


@router.post("", status_code=201, response_model_exclude_none=True)
async def create_message(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    body: MessageCreate,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.MESSAGE_CREATE))],
    idempotency_key: Annotated[Key | None, Header()] = None,
) -> MessageAnswer:
    """Say something to a session (needs `create` on `agentsessions/messages`). With 201 it is stored for good."""
    row = await find_session(gateway, user, session, namespace, verb="create", resource=MESSAGES)
    message = NewMessage(
        id=str(uuid.uuid4()),
        content=body.content,
        actor=user.name,
        idempotency_key=body.idempotency_key or idempotency_key,
    )

    def put(work: Work) -> MessageRow:
        stored = inbox.put(work, row.uid, message)
        if stored.id == message.id:  # else it was sent, and recorded, before
            audit.append(work, attempt.done(row, message=stored.id))
        return stored

    try:
        return to_answer(await gateway.store.write(put))
    except KeyReused as refusal:
        raise ProblemError(409, "key_reused", "Key was used before", f"{refusal}.") from refusal
    except SessionFinished as refusal:
        raise ProblemError(409, "session_finished", "Session is over", f"{refusal}.") from refusal
    except InboxFull as refusal:
        later = {"Retry-After": str(FULL_SECONDS)}
        raise ProblemError(429, "inbox_full", "Too many messages wait", f"{refusal}.", headers=later) from refusal


@router.get("", response_model_exclude_none=True)
async def list_messages(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    after: Annotated[int, Query(ge=0, description="`next` of the page before.")] = 0,
    limit: Limit = 100,
) -> MessageList:
    """List what was said to a session, and what became of it (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    found = await gateway.store.messages(row.uid, after, limit + 1)
    items = [to_answer(message) for message in found[:limit]]
    return MessageList(items=items, next=items[-1].number if len(found) > limit else None)


@router.get("/{message}", response_model_exclude_none=True)
async def get_message(
    gateway: TheGateway, user: TheUser, namespace: TheNamespace, session: SessionId, message: str
) -> MessageAnswer:
    """Read one message to a session (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    found = await gateway.store.message(row.uid, message)
    if found is None:
        raise not_found(f"Session {row.namespace}/{row.name} got no message {message!r}.")
    return to_answer(found)


def to_answer(row: MessageRow) -> MessageAnswer:
    """Return a message as it is shown."""
    return MessageAnswer(
        id=row.id,
        number=row.ordinal,
        role=row.role,
        content=row.content,
        actor=row.actor,
        created_at=row.created_at,
        state=row.state,
        agent=row.agent,
        round=row.round,
        turn=row.k,
        seq=row.entry_seq,
    )
