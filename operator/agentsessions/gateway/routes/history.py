"""What was: a session told again, and two of them side by side."""

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from agentsessions.gateway import paths
from agentsessions.gateway.auth import EVENTS, Access, User
from agentsessions.gateway.compare import Compared, Comparison, compare, count
from agentsessions.gateway.events import MEDIA_TYPE
from agentsessions.gateway.lookup import (
    DEFAULT_NAMESPACE,
    MAX_NUMBER,
    SessionId,
    TheGateway,
    TheNamespace,
    TheUser,
    find_session,
)
from agentsessions.gateway.message_acts import MESSAGES
from agentsessions.gateway.metrics import Stream
from agentsessions.gateway.models import to_usage
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.replay import Part, Replay
from agentsessions.gateway.state import Gateway
from agentsessions.gateway.streams import LiveResponse
from agentsessions.journal.comparison import read_compared
from agentsessions.journal.entries import EntryRow
from agentsessions.journal.rows import SessionRow

MOST_COMPARED: Final = 1000
REPLAYED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Entries as events, ending after `end`.", "content": {MEDIA_TYPE: {}}},
    204: {"description": "There is nothing to tell, or no more of it."},
}
ONE: Final = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[^/]{1,253}$"

router = APIRouter(tags=["history"])

Which = Annotated[str, Query(pattern=ONE, description="`namespace/name` or `namespace/uid`.")]
Round = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Only this round of it.")]


async def part_of(
    from_: Annotated[int, Query(alias="from", ge=1, le=MAX_NUMBER, description="First entry to tell.")] = 1,
    until: Annotated[int, Query(ge=1, le=MAX_NUMBER, description="Last entry to tell.")] = MAX_NUMBER,
    last_event_id: Annotated[int | None, Header(ge=0, le=MAX_NUMBER, description="Last entry seen.")] = None,
) -> Part:
    """Return which entries are asked for (a FastAPI dependency)."""
    return Part(max(from_ - 1, last_event_id or 0), until)


@router.get(f"{paths.SESSIONS}/{{session}}/replay", response_class=Response, responses=REPLAYED)
async def replay_session(
    request: Request,
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    part: Annotated[Part, Depends(part_of)],
    speed: Annotated[float, Query(ge=0, le=10_000, description="1 as it was, 10 ten times as fast, 0 at once.")] = 1,
) -> Response:
    """Tell what happened again, with its pauses, none longer than 5 s (needs `get` on `agentsessions/events`)."""
    row = await find_session(gateway, user, session, namespace, resource=EVENTS)
    if part.after >= min(part.until, row.usage.head):
        return Response(status_code=204)
    gateway.streams.refuse_more(user.name)
    is_allowed = partial(gateway.auth.may_go_on, request, Access("get", EVENTS, row.namespace, row.name))
    told = Replay(gateway.store, gateway.changes, row, part, speed, is_allowed)
    return LiveResponse(gateway.streams.count(user.name, told.sse()), MEDIA_TYPE, stream=Stream.REPLAY)


@router.get(paths.COMPARE, response_model_exclude_none=True)
async def compare_sessions(
    gateway: TheGateway,
    user: TheUser,
    left: Which,
    right: Which,
    left_round: Annotated[Round, Query(alias="leftRound")] = None,
    right_round: Annotated[Round, Query(alias="rightRound")] = None,
) -> Comparison:
    """Lay two sessions, or two rounds, side by side (needs `get` on `agentsessions/messages` of both)."""
    if (left_round is None) != (right_round is None):
        raise ProblemError(ProblemCode.BAD_REQUEST, "Name a round of both sides, or of neither.")
    first, second = await _find(gateway, user, left), await _find(gateway, user, right)
    places = compare(
        await _read(gateway, first, left_round),
        await _read(gateway, second, right_round),
        by_round=left_round is None,
    )
    summary = count(places)
    return Comparison(
        left=_compared(first, left_round),
        right=_compared(second, right_round),
        summary=summary,
        is_same=summary.same == len(places),
        items=places,
    )


async def _find(gateway: Gateway, user: User, which: str) -> SessionRow:
    namespace, slash, id_ = which.rpartition("/")
    return await find_session(gateway, user, id_, namespace if slash else DEFAULT_NAMESPACE, resource=MESSAGES)


async def _read(gateway: Gateway, row: SessionRow, round_: int | None) -> list[EntryRow]:
    found = await gateway.store.read(read_compared, row.uid, round_, MOST_COMPARED + 1)
    if len(found) > MOST_COMPARED:
        detail = (
            f"Session {row.namespace}/{row.name} has more than {MOST_COMPARED} steps to compare: compare round by "
            "round, with leftRound and rightRound."
        )
        raise ProblemError(ProblemCode.TOO_LONG, detail)
    return found


def _compared(row: SessionRow, round_: int | None) -> Compared:
    span = row.finished_at - row.started_at if row.finished_at and row.started_at else None
    return Compared(
        uid=row.uid,
        namespace=row.namespace,
        name=row.name,
        round=round_,
        phase=row.phase or "Pending",
        usage=to_usage(row.usage),
        duration_milliseconds=None if span is None else int(span.total_seconds() * 1000),
    )
