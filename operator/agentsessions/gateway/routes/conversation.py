"""One call to talk: it makes the session when there is none, says something, and waits for the answer."""

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request, Response

from agentsessions.gateway import paths
from agentsessions.gateway.audit import Attempt, attempt_of
from agentsessions.gateway.auth import Access
from agentsessions.gateway.callers import TheCaller
from agentsessions.gateway.events import MEDIA_TYPE
from agentsessions.gateway.lookup import TheGateway, TheNamespace
from agentsessions.gateway.message_acts import MESSAGES
from agentsessions.gateway.metrics import Stream
from agentsessions.gateway.openapi import LOCATION
from agentsessions.gateway.speech import Key
from agentsessions.gateway.streams import LiveResponse
from agentsessions.gateway.talk import Talk, await_reply, stream_reply, unanswered
from agentsessions.gateway.talk_models import ConversationAnswer, ConversationRequest
from agentsessions.gateway.talk_start import begin
from agentsessions.journal.acts import Act

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The answer; or, if asked for, events up to it.",
        "content": {MEDIA_TYPE: {}},
        "model": ConversationAnswer,
    },
    202: {
        "description": "There is no answer yet; Location leads to the message.",
        "headers": LOCATION,
        "model": ConversationAnswer,
    },
}

router = APIRouter(tags=["conversation"])


@router.post(
    paths.CONVERSATION, response_model=ConversationAnswer, response_model_exclude_none=True, responses=RESPONSES
)
async def converse(  # noqa: PLR0913, PLR0917 - FastAPI passes them by name
    request: Request,
    response: Response,
    gateway: TheGateway,
    caller: TheCaller,
    namespace: TheNamespace,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.MESSAGE_CREATE))],
    body: ConversationRequest,
    accept: Annotated[str, Header(description=f"{MEDIA_TYPE}: answer with events.")] = "",
    idempotency_key: Annotated[Key | None, Header(description="The same as in the body, which wins.")] = None,
) -> Any:
    """Say something to a session, which is made when there is none, and wait for the answer.

    Needs `send` on `agentsessions` and `get` on `agentsessions/messages`, to be streamed `get` on
    `agentsessions/events`, and for a new session `create` on `agentsessions`. The same call with the same key is the
    same message, and gets its answer.
    """
    if body.stream or MEDIA_TYPE in accept:
        body = body.model_copy(update={"stream": True})
        gateway.streams.refuse_more(caller.user.name)
    talk = await begin(attempt, caller, body, body.idempotency_key or idempotency_key)
    if body.stream:
        return _stream(request, gateway, caller, talk)
    reply = await await_reply(gateway, talk, body.wait_seconds)
    if reply.text is None and reply.is_over:
        raise unanswered(talk, reply)
    if reply.text is None:
        response.status_code = 202
        response.headers["Location"] = (
            f"{paths.SESSIONS}/{talk.row.uid}/messages/{talk.message.id}?namespace={namespace}"
        )
    return await talk.to_answer(gateway, reply)


def _stream(request: Request, gateway: TheGateway, caller: TheCaller, talk: Talk) -> Response:
    is_allowed = partial(gateway.auth.may_go_on, request, Access("get", MESSAGES, talk.row.namespace, talk.row.name))
    told = stream_reply(gateway, talk, is_allowed)
    return LiveResponse(gateway.streams.count(caller.user.name, told), MEDIA_TYPE, stream=Stream.EVENTS)
