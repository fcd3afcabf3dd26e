"""The live stream of one session."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from agentsessions.gateway.auth import SESSIONS, Access
from agentsessions.gateway.events import MEDIA_TYPE, is_over, stream_events
from agentsessions.gateway.lookup import SessionId, TheGateway, TheNamespace, TheUser, find_session
from agentsessions.gateway.metrics import Stream
from agentsessions.gateway.routes.sessions import PREFIX
from agentsessions.gateway.streams import LiveResponse

EVENTS: Final = f"{SESSIONS}/events"
MAX_SEQ: Final = 2**53
STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Entries as events, ending after `done`.", "content": {MEDIA_TYPE: {}}},
    204: {"description": "The client has seen `done`: there is nothing more."},
}

router = APIRouter(prefix=PREFIX, tags=["sessions"])


@router.get("/{session}/events", response_class=Response, responses=STREAM)
async def stream_session_events(
    request: Request,
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    after: Annotated[int | None, Query(ge=0, le=MAX_SEQ, description="Last entry seen; beats Last-Event-ID.")] = None,
    last_event_id: Annotated[int | None, Header(ge=0, le=MAX_SEQ, description="Last entry seen.")] = None,
) -> Response:
    """Follow a session from the last entry seen, each one once, in order (needs `get` on `agentsessions/events`)."""
    row = await find_session(gateway, user, session, namespace, resource=EVENTS)
    seen = after if after is not None else last_event_id or 0
    if await is_over(gateway.store, row, seen):
        return Response(status_code=204)

    async def is_allowed() -> bool:
        return await gateway.auth.may_go_on(request, Access("get", EVENTS, row.namespace, row.name))

    source = stream_events(gateway.store, gateway.changes, row, seen, is_allowed)
    return LiveResponse(source, MEDIA_TYPE, stream=Stream.EVENTS)
