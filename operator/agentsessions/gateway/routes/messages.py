"""What people and programs say to a session, and what became of it. A 2xx means that it is stored."""

from typing import Annotated, Final
from uuid import uuid4

from fastapi import APIRouter, Header, Path, Query

from agentsessions.api.reasons import RefusalCode
from agentsessions.gateway.lookup import SessionId, TheGateway, TheNamespace, TheUser, find_session
from agentsessions.gateway.models import MessageAnswer, MessageBody, MessageList, to_message
from agentsessions.gateway.problems import ProblemError, not_found
from agentsessions.gateway.routes.sessions import MESSAGES, PREFIX, Limit
from agentsessions.journal.refusals import KeyReused, SessionFinished
from agentsessions.journal.rows import NewMessage

KEY_REUSED: Final = "idempotency_key_reused"
MAX_ORDINAL: Final = 2**53

router = APIRouter(prefix=f"{PREFIX}/{{session}}/messages", tags=["messages"])


@router.post("", status_code=201, response_model_exclude_none=True)
async def send_message(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    body: MessageBody,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=256, description="The same as in the body.")
    ] = None,
) -> MessageAnswer:
    """Say something to a session; its next turn takes it (needs `create` on `agentsessions/messages`)."""
    key = one_key(idempotency_key, body.idempotency_key)
    row = await find_session(gateway, user, session, namespace, verb="create", resource=MESSAGES)
    message = NewMessage(id=uuid4().hex, content=body.content, actor=user.name, idempotency_key=key)
    try:
        return to_message(await gateway.store.put_message(row.uid, message))
    except SessionFinished as refusal:
        raise ProblemError(409, RefusalCode.SESSION_FINISHED, "Session is over", f"{refusal}.") from refusal
    except KeyReused as refusal:
        raise ProblemError(409, KEY_REUSED, "Idempotency key used before", f"{refusal}.") from refusal


@router.get("", response_model_exclude_none=True)
async def list_messages(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    after: Annotated[int, Query(ge=0, le=MAX_ORDINAL, description="`next` of the page before.")] = 0,
    limit: Limit = 100,
) -> MessageList:
    """List what was said to a session, in order (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    found = await gateway.store.messages(row.uid, after, limit + 1)
    page = found[:limit]
    return MessageList(items=[to_message(one) for one in page], next=page[-1].ordinal if len(found) > limit else None)


@router.get("/{message}", response_model_exclude_none=True)
async def get_message(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    message: Annotated[str, Path(min_length=1, max_length=64, description="Id of the message.")],
) -> MessageAnswer:
    """Read one message and how far it came (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    found = await gateway.store.message(row.uid, message)
    if found is None:
        raise not_found(f"There is no message {message!r} to session {row.namespace}/{row.name}.")
    return to_message(found)


def one_key(header: str | None, body: str | None) -> str | None:
    """Return the idempotency key of a request.

    Raises:
        ProblemError: 400 when header and body have different ones.
    """
    if header and body and header != body:
        detail = f"The header Idempotency-Key says {header!r} and the body's idempotencyKey {body!r}; send one of them."
        raise ProblemError(400, "bad_request", "Bad request", detail)
    return body or header
