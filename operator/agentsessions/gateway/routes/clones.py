"""Making a session from another one, in the name of who asks."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from agentsessions.gateway import paths
from agentsessions.gateway.audit import Attempt, attempt_of
from agentsessions.gateway.callers import TheCaller
from agentsessions.gateway.creation import create
from agentsessions.gateway.lookup import SessionId, TheGateway, find_session
from agentsessions.gateway.message_acts import MESSAGES
from agentsessions.gateway.models import SessionDetail
from agentsessions.gateway.openapi import LOCATION
from agentsessions.gateway.resource_acts import show
from agentsessions.gateway.resource_bodies import SessionClone, SessionCreate
from agentsessions.journal.acts import Act

router = APIRouter(prefix=paths.SESSIONS, tags=["sessions"])


@router.post(
    "/{session}/clone", status_code=201, response_model_exclude_none=True, responses={201: {"headers": LOCATION}}
)
async def clone_session(
    gateway: TheGateway,
    caller: TheCaller,
    session: SessionId,
    response: Response,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.CREATE))],
    body: Annotated[SessionClone, Body()] = SessionClone(),  # noqa: B008 - frozen
) -> SessionDetail:
    """Create a session that goes on from another one, or does it once more, also from one that was deleted.

    Needs `get` on `agentsessions/messages` of the other one, and `create` on `agentsessions`. It has the other one's
    spec, but for its operatingMode, sessionId and owner, and is yours.
    """
    row = await find_session(gateway, attempt.user, session, attempt.namespace, resource=MESSAGES)
    try:
        wanted = SessionCreate.model_validate(body.to_create(row))
    except ValidationError as error:
        found = [{**one, "loc": ("body", "overrides", *one["loc"])} for one in error.errors()]
        raise RequestValidationError(found) from error
    made = await create(attempt, caller, wanted)
    response.headers["Location"] = f"{paths.SESSIONS}/{made['metadata']['uid']}?namespace={attempt.namespace}"
    return await show(gateway, made)
