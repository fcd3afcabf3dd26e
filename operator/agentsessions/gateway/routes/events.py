"""The live stream of one session: as server-sent events, and as messages of a WebSocket."""

import asyncio
from contextlib import aclosing, suppress
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.requests import HTTPConnection
from fastapi.responses import Response

from agentsessions.gateway import metrics, paths
from agentsessions.gateway.auth import EVENTS, Access
from agentsessions.gateway.events import MEDIA_TYPE, End, Following, is_over
from agentsessions.gateway.frames import GREETING, to_message
from agentsessions.gateway.lookup import MAX_NUMBER, SessionId, TheGateway, TheNamespace, TheUser, find_session
from agentsessions.gateway.metrics import Stream
from agentsessions.gateway.state import Gateway
from agentsessions.gateway.streams import STALL_SECONDS, LiveResponse, send_until_gone
from agentsessions.journal.rows import SessionRow

STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Entries as events, ending after `done`.", "content": {MEDIA_TYPE: {}}},
    204: {"description": "The client has seen `done`: there is nothing more."},
}
TOKEN_PROTOCOL: Final = "bearer."  # noqa: S105 - what stands before a token
"""Browsers cannot send headers with a WebSocket: they offer the token as a subprotocol."""
PROTOCOL: Final = "agentsessions.v1"
SLOW: Final = 1013
CLOSE_CODES: Final = {End.DONE: 1000, End.LEFT: 1000, End.STOPPING: 1012, End.REFUSED: 1008, End.BROKEN: 1011}
"""How a WebSocket is closed. A reader who is too slow gets 1013; all but 1000 and 1008 are worth coming back."""

After = Annotated[int | None, Query(ge=0, le=MAX_NUMBER, description="Last entry seen; beats Last-Event-ID.")]

router = APIRouter(prefix=paths.SESSIONS, tags=["sessions"])


@router.get("/{session}/events", response_class=Response, responses=STREAM)
async def stream_session_events(
    request: Request,
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    after: After = None,
    last_event_id: Annotated[int | None, Header(ge=0, le=MAX_NUMBER, description="Last entry seen.")] = None,
) -> Response:
    """Follow a session from the last entry seen, each one once, in order (needs `get` on `agentsessions/events`)."""
    row = await find_session(gateway, user, session, namespace, resource=EVENTS)
    seen = after if after is not None else last_event_id or 0
    if await is_over(gateway.store, row, seen):
        return Response(status_code=204)
    gateway.streams.refuse_more(user.name)
    following = _follow(gateway, request, row, seen)
    return LiveResponse(gateway.streams.count(user.name, following.sse()), MEDIA_TYPE, stream=Stream.EVENTS)


@router.websocket("/{session}/ws")
async def follow_session(
    websocket: WebSocket, gateway: TheGateway, namespace: TheNamespace, session: SessionId, after: After = None
) -> None:
    """Follow a session as on `/events`, one JSON message an event (needs `get` on `agentsessions/events`).

    The bearer token comes in the header Authorization or, from browsers, as the subprotocol `bearer.<token>` beside
    `agentsessions.v1`. A refusal is the answer to the handshake: problem+json.
    """
    caller = with_token(websocket)
    user = await gateway.auth.user(caller)
    row = await find_session(gateway, user, session, namespace, resource=EVENTS)
    gateway.streams.refuse_more(user.name)
    await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
    with gateway.streams.counted(user.name), metrics.OPEN_STREAMS.labels(Stream.SOCKET).track_inprogress():
        following = _follow(gateway, caller, row, after or 0)
        await send_until_gone(_send_all(websocket, following), _until_gone(websocket))


def with_token(websocket: WebSocket) -> HTTPConnection:
    """Return who asks, with a token that came as a subprotocol in its header."""
    offered = [one for one in websocket.scope["subprotocols"] if one.startswith(TOKEN_PROTOCOL)]
    if not offered or "authorization" in websocket.headers:
        return websocket
    header = (b"authorization", b"Bearer " + offered[0].removeprefix(TOKEN_PROTOCOL).encode())
    return HTTPConnection({**websocket.scope, "headers": [*websocket.scope["headers"], header]})


def _follow(gateway: Gateway, request: HTTPConnection, row: SessionRow, after: int) -> Following:
    access = Access("get", EVENTS, row.namespace, row.name)
    is_allowed = partial(gateway.auth.may_go_on, request, access)
    return Following(gateway.store, gateway.changes, gateway.tails, row, after, is_allowed)


async def _send_all(websocket: WebSocket, following: Following) -> None:
    with suppress(WebSocketDisconnect):
        try:
            async with aclosing(following.frames()) as batches:
                async for frames in batches:
                    for frame in frames:
                        async with asyncio.timeout(STALL_SECONDS):
                            if frame is not GREETING:
                                await websocket.send_text(to_message(frame))
            await websocket.close(CLOSE_CODES[following.end])
        except TimeoutError:
            metrics.DROPPED_STREAMS.labels(Stream.SOCKET).inc()
            await websocket.close(SLOW)


async def _until_gone(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
