"""Creating, changing, ending and deleting sessions, in the name of who asks."""

from collections.abc import Awaitable
from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Response

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import FINISHED_AFTER, FINISHED_BEFORE, OperatingMode
from agentsessions.engine.client import Client
from agentsessions.gateway import paths
from agentsessions.gateway.audit import Attempt, attempt_of
from agentsessions.gateway.auth import SESSIONS
from agentsessions.gateway.callers import Caller, TheCaller, find_to_change
from agentsessions.gateway.creation import create
from agentsessions.gateway.lookup import SessionId, TheGateway, TheNamespace, detail_of
from agentsessions.gateway.models import SessionDetail
from agentsessions.gateway.openapi import LOCATION
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.resource_acts import Json, act_on_resource, illegal_state, put, show
from agentsessions.gateway.resource_bodies import (
    CancelRequest,
    SessionCreate,
    SessionPatch,
    ShutdownMode,
    ShutdownRequest,
)
from agentsessions.gateway.watch import AGENT_SESSION
from agentsessions.journal.acts import Act
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.store import utc_now
from agentsessions.lifecycle.phases import TERMINAL

router = APIRouter(prefix=paths.SESSIONS, tags=["sessions"])

REACHED: Final = {
    OperatingMode.PAUSED: frozenset({Phase.PAUSED}),
    OperatingMode.RUNNING: frozenset(Phase) - {Phase.PAUSING, Phase.PAUSED},
    OperatingMode.CANCELLED: frozenset({Phase.CANCELLED}),
}
"""Phases in which a session is what was asked for; until then the answer is 202."""


@router.post("", status_code=201, response_model_exclude_none=True, responses={201: {"headers": LOCATION}})
async def create_session(
    gateway: TheGateway,
    caller: TheCaller,
    namespace: TheNamespace,
    body: SessionCreate,
    response: Response,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.CREATE))],
) -> SessionDetail:
    """Create a session in your own name (needs `create` on `agentsessions`). Its owner is you, unless `owner` is given.

    With a `sessionId` that you have used for a session in the namespace the answer is 409.
    """
    made = await create(attempt, caller, body)
    response.headers["Location"] = f"{paths.SESSIONS}/{made['metadata']['uid']}?namespace={namespace}"
    return await show(gateway, made)


@router.patch("/{session}", response_model_exclude_none=True)
async def patch_session(
    gateway: TheGateway,
    caller: TheCaller,
    session: SessionId,
    body: SessionPatch,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.UPDATE))],
) -> SessionDetail:
    """Change what may change of a session, as a JSON merge patch (needs `patch` on `agentsessions`)."""
    row = await find_live(attempt, session, "patch")
    return await show(gateway, await send_patch(attempt, caller, row, body.to_patch()))


@router.delete("/{session}", status_code=204, responses={202: {"description": "It goes once its finalizers let it."}})
async def delete_session(
    gateway: TheGateway,
    caller: TheCaller,
    session: SessionId,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.DELETE))],
) -> Response:
    """Delete a session's resource with its pods; its journal stays (needs `delete` on `agentsessions`)."""
    row = await find_live(attempt, session, "delete")

    def send(client: Client) -> Awaitable[Json]:
        return client.delete(AGENT_SESSION, row.namespace, row.name, uid=row.uid)

    answer = await act_on_resource(attempt, caller, row, send)
    if "deletionTimestamp" in answer.get("metadata", {}):
        return Response(status_code=202)
    gateway.own_ids.forget(row.uid)  # its id is free, and the watch, which tells so too, may be later
    await gateway.store.mark_deleted(row.uid, utc_now())
    return Response(status_code=204)


@router.post("/{session}/pause", response_model_exclude_none=True, responses={202: {"model": SessionDetail}})
@router.put(
    "/{session}/deactivate",
    name="deactivate_session",
    response_model_exclude_none=True,
    responses={202: {"model": SessionDetail}},
)
async def pause_session(
    caller: TheCaller,
    session: SessionId,
    response: Response,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.PAUSE))],
) -> SessionDetail:
    """Pause a session at its next step's end (needs `patch` on `agentsessions`). 202 until it is Paused."""
    row = await find_live(attempt, session, "patch")
    return await set_mode(attempt, caller, row, {"operatingMode": OperatingMode.PAUSED}, response)


@router.post("/{session}/resume", response_model_exclude_none=True, responses={202: {"model": SessionDetail}})
@router.put(
    "/{session}/activate",
    name="activate_session",
    response_model_exclude_none=True,
    responses={202: {"model": SessionDetail}},
)
async def resume_session(
    caller: TheCaller,
    session: SessionId,
    response: Response,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.RESUME))],
) -> SessionDetail:
    """Let a paused session go on (needs `patch` on `agentsessions`). 202 until it does."""
    row = await find_live(attempt, session, "patch")
    return await set_mode(attempt, caller, row, {"operatingMode": OperatingMode.RUNNING}, response)


@router.post("/{session}/cancel", response_model_exclude_none=True, responses={202: {"model": SessionDetail}})
async def cancel_session(
    caller: TheCaller,
    session: SessionId,
    response: Response,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.CANCEL))],
    body: Annotated[CancelRequest | None, Body()] = None,
) -> SessionDetail:
    """End a session for good (needs `patch` on `agentsessions`). 202 until it is Cancelled."""
    row = await find_live(attempt, session, "patch")
    spec = {"operatingMode": OperatingMode.CANCELLED, **_shutdown(reason=body.reason if body else None)}
    return await set_mode(attempt, caller, row, spec, response)


@router.post("/{session}/shutdown", response_model_exclude_none=True, responses={202: {"model": SessionDetail}})
async def shutdown_session(
    caller: TheCaller,
    session: SessionId,
    response: Response,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.SHUTDOWN))],
    body: Annotated[ShutdownRequest, Body()] = ShutdownRequest(),  # noqa: B008 - frozen
) -> SessionDetail:
    """End a session for good, saying how and why (needs `patch` on `agentsessions`). 202 until it is Cancelled."""
    row = await find_live(attempt, session, "patch")
    grace = 0 if body.mode is ShutdownMode.FORCED else body.grace_period_seconds
    spec = {"operatingMode": OperatingMode.CANCELLED, **_shutdown(reason=body.reason, gracePeriodSeconds=grace)}
    return await set_mode(attempt, caller, row, spec, response)


def _shutdown(**fields: object) -> Json:
    given = {name: value for name, value in fields.items() if value is not None}
    return {"shutdown": given} if given else {}


async def find_live(attempt: Attempt, id_: str, verb: str) -> SessionRow:
    """Return a session that the caller may change, and whose resource is there.

    Raises:
        ProblemError: As `find_to_change`; 409 when only its journal is left.
    """
    row = await find_to_change(attempt.gateway, attempt.user, id_, attempt.namespace, verb=verb, resource=SESSIONS)
    if row.deleted_at is not None:
        detail = f"Session {row.namespace}/{row.name} was deleted; its journal can be read, and nothing be changed."
        raise ProblemError(ProblemCode.SESSION_FINISHED, detail)
    return row


async def send_patch(attempt: Attempt, caller: Caller, row: SessionRow, patch: Json) -> Json:
    """Send a merge patch for the very session that was found, and not for a later one of its name."""
    meant = {**patch, "metadata": {**patch.get("metadata", {}), "uid": row.uid}}

    def send(client: Client) -> Awaitable[Json]:
        return client.merge_patch(AGENT_SESSION, row.namespace, row.name, meant)

    return await act_on_resource(attempt, caller, row, send)


async def set_mode(attempt: Attempt, caller: Caller, row: SessionRow, spec: Json, response: Response) -> SessionDetail:
    """Ask for an operating mode; the same again changes nothing.

    Raises:
        ProblemError: 409 in the words of the API server's own rule when the session is finished.
    """
    now = await put(attempt.gateway, await send_patch(attempt, caller, row, {"spec": spec}))
    mode: OperatingMode = spec["operatingMode"]
    if now.phase in TERMINAL and (mode, now.phase) != (OperatingMode.CANCELLED, Phase.CANCELLED):
        # The rule sees changes alone, and a finished session may well be in the mode that is asked for.
        detail = f"session {row.namespace}/{row.name}: {FINISHED_BEFORE}{now.phase}{FINISHED_AFTER}"
        raise illegal_state(detail)
    response.status_code = 200 if (now.phase or Phase.PENDING) in REACHED[mode] else 202
    return await detail_of(attempt.gateway, now)
