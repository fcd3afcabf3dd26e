"""The conversation of a session: what was sent to it, and what its agents said and did."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from agentsessions.gateway import paths
from agentsessions.gateway.audit import Attempt, attempt_of
from agentsessions.gateway.lookup import MAX_NUMBER, SessionId, TheGateway, TheNamespace, TheUser, find_session
from agentsessions.gateway.message_acts import MESSAGES, act_on_messages, find_for, refuse_large
from agentsessions.gateway.problems import not_found
from agentsessions.gateway.rates import Rate
from agentsessions.gateway.routes.sessions import MAX_LIMIT, Limit
from agentsessions.gateway.speech import (
    Key,
    MessageAnswer,
    MessageCount,
    MessageCreate,
    MessageList,
    MessagePatch,
    MessagesCleared,
    MessagesRecent,
    Order,
    sent_to_answer,
    to_answer,
)
from agentsessions.gateway.state import Gateway
from agentsessions.journal import inbox, redactions
from agentsessions.journal.acts import Act
from agentsessions.journal.messages import SaidQuery, count_said, find_said, list_said
from agentsessions.journal.redactions import Edit
from agentsessions.journal.rows import MessageRole, NewMessage, SessionRow

router = APIRouter(prefix=f"{paths.SESSIONS}/{{session}}/messages", tags=["messages"])


MessageId = Annotated[str, Path(max_length=64, pattern="^[A-Za-z0-9-]+$", description="Id of the message.")]


@router.post("", status_code=201, response_model_exclude_none=True)
async def create_message(
    gateway: TheGateway,
    user: TheUser,
    session: SessionId,
    body: MessageCreate,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.MESSAGE_CREATE))],
    idempotency_key: Annotated[Key | None, Header()] = None,
) -> MessageAnswer:
    """Say something to a session (needs `send` on `agentsessions`). With 201 it is stored for good.

    What a user says wakes the session and begins a turn. A message with another role waits, and stands in front of the
    next thing that a user says.
    """
    row = await find_for(attempt, session)
    refuse_large(body.content)
    gateway.rates.count(Rate.MESSAGES, user)
    message = NewMessage(
        id=str(uuid.uuid4()),
        content=body.content,
        actor=user.name,
        idempotency_key=body.idempotency_key or idempotency_key,
        role=body.role,
        tool_call_id=body.tool_call_id,
        tool_name=body.tool_name,
        extra_data=body.extra_data,
    )
    stored = await act_on_messages(
        attempt,
        row,
        lambda work: inbox.put(work, row.uid, message),
        is_new=lambda stored: stored.id == message.id,
        message=message.id,
    )
    said = await gateway.store.read(find_said, row.uid, stored.id)
    return sent_to_answer(stored) if said is None else to_answer(said)


@router.get("", response_model_exclude_none=True)
async def list_messages(  # noqa: PLR0913, PLR0917 - FastAPI passes them by name
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="`next` of the page before.")] = 0,
    limit: Limit = 100,
    order: Annotated[Order, Query(description="asc: oldest first.")] = Order.ASC,
    role: Annotated[MessageRole | None, Query(description="Who says it.")] = None,
) -> MessageList:
    """List the conversation: what was sent, and what agents said and did (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    query = SaidQuery(after=after, limit=limit + 1, newest_first=order is Order.DESC, role=role)
    found = await gateway.store.read(list_said, row.uid, query)
    items = [to_answer(message) for message in found[:limit]]
    return MessageList(items=items, next=items[-1].number if len(found) > limit else None)


@router.get("/recent", response_model_exclude_none=True)
async def list_recent_messages(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    count: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many.")] = 10,
) -> MessagesRecent:
    """List the newest messages, oldest of them first (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    found = await gateway.store.read(list_said, row.uid, SaidQuery(limit=count, newest_first=True))
    return MessagesRecent(items=[to_answer(message) for message in reversed(found)])


@router.get("/count")
async def count_messages(
    gateway: TheGateway, user: TheUser, namespace: TheNamespace, session: SessionId
) -> MessageCount:
    """Count the messages of the conversation (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    return MessageCount(count=await gateway.store.read(count_said, row.uid))


@router.get("/{message}", response_model_exclude_none=True)
async def get_message(
    gateway: TheGateway, user: TheUser, namespace: TheNamespace, session: SessionId, message: MessageId
) -> MessageAnswer:
    """Read one message (needs `get` on `agentsessions/messages`)."""
    return await _read(gateway, await find_session(gateway, user, session, namespace, resource=MESSAGES), message)


@router.patch("/{message}", response_model_exclude_none=True)
async def patch_message(
    gateway: TheGateway,
    user: TheUser,
    session: SessionId,
    message: MessageId,
    body: MessagePatch,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.MESSAGE_UPDATE))],
) -> MessageAnswer:
    """Change what a message says (needs `update` on `agentsessions/messages`). What it said before is gone for good.

    Later turns read it as it then is. While an agent is answering it the answer is 409.
    """
    row = await find_for(attempt, session)
    refuse_large(body.content)
    wanted = Edit(body.content, body.extra_data)
    await act_on_messages(
        attempt, row, lambda work: redactions.edit(work, row.uid, message, wanted, user.name), message=message
    )
    return await _read(gateway, row, message)


@router.delete("/{message}", status_code=204)
async def delete_message(
    session: SessionId,
    message: MessageId,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.MESSAGE_DELETE))],
) -> Response:
    """Delete a message for good; a tool call with its result (needs `delete` on `agentsessions/messages`).

    The journal keeps its digest, and who deleted it. While an agent is answering it the answer is 409.
    """
    row = await find_for(attempt, session)
    actor = attempt.user.name
    await act_on_messages(attempt, row, lambda work: redactions.delete(work, row.uid, message, actor), message=message)
    return Response(status_code=204)


@router.delete("")
async def clear_messages(
    session: SessionId, attempt: Annotated[Attempt, Depends(attempt_of(Act.MESSAGES_CLEAR))]
) -> MessagesCleared:
    """Delete all messages but the goal and what an agent is answering (needs `delete` on `agentsessions/messages`)."""
    row = await find_for(attempt, session)
    actor = attempt.user.name
    cleared = await act_on_messages(attempt, row, lambda work: redactions.clear(work, row.uid, actor))
    return MessagesCleared(deleted=cleared.deleted, kept=cleared.kept)


async def _read(gateway: Gateway, row: SessionRow, message: str) -> MessageAnswer:
    found = await gateway.store.read(find_said, row.uid, message)
    if found is None:
        raise not_found(f"Session {row.namespace}/{row.name} has no message {message!r}, or not any more.")
    return to_answer(found)
