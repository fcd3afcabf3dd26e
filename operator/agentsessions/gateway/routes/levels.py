"""What the operator reads of the journal: levels, for its own service account alone."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from agentsessions.api.child_sessions import ChildReport
from agentsessions.api.levels import LEVELS_PATH, Level, SourceAnswer
from agentsessions.gateway.levels import MEDIA_TYPE, stream_levels
from agentsessions.gateway.lookup import TheGateway
from agentsessions.gateway.metrics import Stream
from agentsessions.gateway.problems import not_found
from agentsessions.gateway.seals import ensure_seal
from agentsessions.gateway.streams import LiveResponse
from agentsessions.journal import child_sessions, sources
from agentsessions.journal.refusals import UnknownSession


async def require_operator(request: Request, gateway: TheGateway) -> None:
    """Refuse all but the operator (a FastAPI dependency)."""
    await gateway.auth.require_operator(request)


router = APIRouter(prefix=LEVELS_PATH, dependencies=[Depends(require_operator)], include_in_schema=False)


@router.get("")
async def stream(gateway: TheGateway) -> Response:
    """Send the levels of all sessions that are not final, `synced`, then levels as they change."""
    return LiveResponse(stream_levels(gateway.store, gateway.changes), MEDIA_TYPE, stream=Stream.LEVELS)


@router.get("/{uid}", response_model_exclude_none=True)
async def get_level(gateway: TheGateway, uid: Annotated[str, Path(max_length=64)]) -> Level:
    """Read one level from the journal as it is at this moment; what is to be sealed is sealed first."""
    await ensure_seal(gateway.store, uid)
    level = await gateway.store.level(uid)
    if level is None:
        raise not_found(f"Session {uid!r} is not in the journal yet.")
    return level


@router.post("/{uid}/source", response_model_exclude_none=True)
async def take_over_source(gateway: TheGateway, uid: Annotated[str, Path(max_length=64)]) -> SourceAnswer:
    """Have a session take over what its spec names of another one, once; say why it cannot."""
    try:
        problem = await gateway.store.write(lambda work: sources.adopt(work, uid))
    except UnknownSession as error:
        raise not_found(f"Session {uid!r} is not in the journal yet.") from error
    return SourceAnswer() if problem is None else SourceAnswer(reason=problem.reason, message=problem.message)


@router.post("/{uid}/children/{request_id}")
async def note_child(
    gateway: TheGateway,
    uid: Annotated[str, Path(max_length=64)],
    request_id: Annotated[str, Path(max_length=64)],
    report: ChildReport,
) -> None:
    """Take note of what became of a session that agents of a director asked for. The same again changes nothing."""
    if not await gateway.store.write(lambda work: child_sessions.note(work, uid, request_id, report)):
        raise not_found(f"Agents of session {uid!r} asked for no session with id {request_id!r}.")
