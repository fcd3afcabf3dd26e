"""What the page's buttons and its box do: the very functions of the API's routes, with forms in and redirects out."""

from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from agentsessions.gateway.audit import Attempt, attempt_of
from agentsessions.gateway.callers import TheCaller
from agentsessions.gateway.lookup import SessionId, TheGateway, TheNamespace, TheUser
from agentsessions.gateway.pages.render import SECURITY
from agentsessions.gateway.pages.signin import read_form
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.resource_bodies import CancelRequest, SessionPatch
from agentsessions.gateway.routes import changes, messages
from agentsessions.gateway.speech import MessageCreate
from agentsessions.journal.acts import Act


async def pause(
    caller: TheCaller,
    namespace: TheNamespace,
    session: SessionId,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.PAUSE))],
) -> Response:
    """Pause a session at its next step's end."""
    await changes.pause_session(caller, session, Response(), attempt)
    return go_back(namespace, session)


async def resume(
    caller: TheCaller,
    namespace: TheNamespace,
    session: SessionId,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.RESUME))],
) -> Response:
    """Let a paused session go on."""
    await changes.resume_session(caller, session, Response(), attempt)
    return go_back(namespace, session)


async def cancel(
    request: Request,
    caller: TheCaller,
    namespace: TheNamespace,
    session: SessionId,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.CANCEL))],
) -> Response:
    """End a session for good."""
    form = await read_form(request)
    try:
        body = CancelRequest(reason=form.get("reason") or None)
    except ValidationError as error:
        raise to_problem(error) from error
    await changes.cancel_session(caller, session, Response(), attempt, body)
    return go_back(namespace, session)


async def raise_limit(
    request: Request,
    gateway: TheGateway,
    caller: TheCaller,
    namespace: TheNamespace,
    session: SessionId,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.UPDATE))],
) -> Response:
    """Change one of a session's limits."""
    form = await read_form(request)
    try:
        body = SessionPatch.model_validate({"limits": {form.get("field", ""): form.get("value", "")}})
    except ValidationError as error:
        raise to_problem(error) from error
    await changes.patch_session(gateway, caller, session, body, attempt)
    return go_back(namespace, session)


async def send(
    request: Request,
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.MESSAGE_CREATE))],
) -> Response:
    """Say something to a session. The form has a key: sent twice it is said once."""
    form = await read_form(request)
    try:
        body = MessageCreate(content=form.get("content", ""), idempotency_key=form.get("key") or None)
    except ValidationError as error:
        raise to_problem(error) from error
    await messages.create_message(gateway, user, session, body, attempt)
    return go_back(namespace, session, form.get("view", ""))


def to_problem(error: ValidationError) -> ProblemError:
    """Return the refusal of a form that says what cannot be."""
    found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return ProblemError(ProblemCode.INVALID_REQUEST, f"That cannot be sent: {found}.")


def go_back(namespace: str, session: str, view: str = "") -> Response:
    """Lead back to the session's page."""
    query = "?view=conversation" if view == "conversation" else ""
    return RedirectResponse(f"/ui/sessions/{namespace}/{session}{query}", 303, headers=SECURITY)
