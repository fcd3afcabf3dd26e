"""Calls that wait for a person: what they are, and the answers, given in the name of who asks."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Path, Query
from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.approval import ANSWERS_OF, MAX_ANSWER_OUTPUT, Answer, ApprovalOutcome, ApprovalRequest
from agentsessions.engine.client import Client
from agentsessions.engine.errors import ApiError, NotFound
from agentsessions.engine.resources import resource_path
from agentsessions.gateway import paths
from agentsessions.gateway.audit import Attempt, attempt_of
from agentsessions.gateway.callers import Caller, TheCaller
from agentsessions.gateway.lookup import ALL_NAMESPACES, TheGateway, TheNamespaces, TheUser
from agentsessions.gateway.problems import not_found
from agentsessions.gateway.proxy.decisions import SESSION_APPROVAL, to_approval
from agentsessions.gateway.resource_acts import Json, illegal_state, to_problem
from agentsessions.gateway.routes.sessions import Limit
from agentsessions.journal.acts import Act
from agentsessions.journal.session_query import MAX_OFFSET
from agentsessions.lifecycle.approvals import ApprovalView

APPROVALS: Final = "sessionapprovals"

router = APIRouter(prefix=paths.APPROVALS, tags=["approvals"])

Name = Annotated[str, Path(min_length=1, max_length=253, description="Name of the SessionApproval.")]


class ApprovalAnswer(ApiModel):
    """A call that waits for a person, or waited."""

    name: str
    """Name of the SessionApproval."""
    namespace: str
    """Its namespace."""
    session: str
    """Name of the session."""
    session_uid: str
    """UID of the session."""
    request: ApprovalRequest
    """The call."""
    outcome: ApprovalOutcome | None = None
    """What it came to; absent while it waits."""
    decided_by: list[str] | None = None
    """Who decided; absent when its time ran out."""
    decided_at: datetime | None = None
    """When (UTC)."""
    message: str | None = None
    """What it waits for, or how it came out."""


class ApprovalList(ApiModel):
    """One page of calls that wait, oldest first; those that are decided too, if asked for."""

    items: list[ApprovalAnswer]
    """The page."""
    total: int
    """Calls on all pages."""
    limit: int
    """Most items of a page."""
    offset: int
    """Calls before this page."""


class DecisionBody(ApiModel):
    """Why a call is approved or denied."""

    reason: Annotated[str, Field(max_length=1024)] | None = None
    """For people, and after a denial for the model."""


class HappenedBody(DecisionBody):
    """What a call in doubt came to."""

    output: Annotated[str, Field(max_length=MAX_ANSWER_OUTPUT)]
    """The result that it had: the model gets it."""


@router.get("", response_model_exclude_none=True)
async def list_approvals(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespaces,
    is_all: Annotated[bool, Query(alias="all", description="Those that are decided, too.")] = False,
    limit: Limit = 100,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Calls before the page.")] = 0,
) -> ApprovalList:
    """List calls that wait for a person, of one namespace or with `*` of all (needs `list` on `sessionapprovals`)."""
    everywhere = namespace == ALL_NAMESPACES
    await gateway.auth.require(user, "list", APPROVALS, "" if everywhere else namespace)
    found = [
        view
        for view in gateway.proxy.decisions.informer.values()
        if (everywhere or view.namespace == namespace) and (is_all or view.status.outcome is None)
    ]
    found.sort(key=lambda view: (view.spec.request.asked_at, view.name))
    items = [to_answer(view) for view in found[offset : offset + limit]]
    return ApprovalList(items=items, total=len(found), limit=limit, offset=offset)


@router.post("/{approval}/approve", response_model_exclude_none=True)
async def approve_call(
    caller: TheCaller,
    approval: Name,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.APPROVE))],
    body: Annotated[DecisionBody, Body()] = DecisionBody(),  # noqa: B008 - frozen
) -> ApprovalAnswer:
    """Approve a call (needs `approve` and `patch` on `sessionapprovals`). It runs once enough people did."""
    return await decide(attempt, caller, approval, Answer.APPROVE, body)


@router.post("/{approval}/deny", response_model_exclude_none=True)
async def deny_call(
    caller: TheCaller,
    approval: Name,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.DENY))],
    body: Annotated[DecisionBody, Body()] = DecisionBody(),  # noqa: B008 - frozen
) -> ApprovalAnswer:
    """Deny a call (needs `approve` and `patch` on `sessionapprovals`). The model is told, with the reason."""
    return await decide(attempt, caller, approval, Answer.DENY, body)


@router.post("/{approval}/happened", response_model_exclude_none=True)
async def settle_call(
    caller: TheCaller,
    approval: Name,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.SETTLE))],
    body: HappenedBody,
) -> ApprovalAnswer:
    """Say that a call in doubt happened, and with which result (needs `approve` and `patch` on `sessionapprovals`)."""
    return await decide(attempt, caller, approval, Answer.HAPPENED, body)


@router.post("/{approval}/run-again", response_model_exclude_none=True)
async def run_call_again(
    caller: TheCaller,
    approval: Name,
    attempt: Annotated[Attempt, Depends(attempt_of(Act.RUN_AGAIN))],
    body: Annotated[DecisionBody, Body()] = DecisionBody(),  # noqa: B008 - frozen
) -> ApprovalAnswer:
    """Say that a call in doubt did not happen: it runs again (needs `approve` and `patch` on `sessionapprovals`)."""
    return await decide(attempt, caller, approval, Answer.RUN_AGAIN, body)


async def decide(attempt: Attempt, caller: Caller, name: str, answer: Answer, body: DecisionBody) -> ApprovalAnswer:
    """Write an answer under the caller's name, with their own token: the API server decides whether they may.

    Raises:
        ProblemError: 403 without the right, 404 when there is no such call, 409 when it is decided.
    """
    gateway, namespace = attempt.gateway, attempt.namespace
    await gateway.auth.require(caller.user, "approve", APPROVALS, namespace, name)
    client = gateway.callers.client(caller.token)
    view = await _find(client, attempt, namespace, name)
    kind = view.spec.request.kind
    if answer not in ANSWERS_OF[kind]:
        allowed = " or ".join(ANSWERS_OF[kind])
        raise illegal_state(f"Approval {namespace}/{name} is of kind {kind}: answer {allowed}, not {answer}.")
    if view.status.outcome is not None:
        raise illegal_state(f"Approval {namespace}/{name} is decided: {view.status.message}.")
    said = {"answer": answer.value, **body.to_json()}
    patch: Json = {"metadata": {"uid": view.uid}, "spec": {"decisions": {caller.user.name: said}}}
    try:
        written = await client.merge_patch(SESSION_APPROVAL, namespace, name, patch)
    except ApiError as error:
        raise to_problem(error, attempt.act, f"{namespace}/{name}") from error
    await attempt.record(attempt.done(uid=view.session_uid, name=view.spec.session, approval=name))
    return to_answer(to_approval(written) or view)


async def _find(client: Client, attempt: Attempt, namespace: str, name: str) -> ApprovalView:
    """Return the call as it is now, as the caller may see it."""
    try:
        view = to_approval(await client.get(resource_path(SESSION_APPROVAL, namespace, name)))
    except NotFound:
        view = None
    except ApiError as error:
        raise to_problem(error, attempt.act, f"{namespace}/{name}") from error
    if view is None:
        raise not_found(f"There is no approval {name!r} in namespace {namespace!r}.")
    return view


def to_answer(view: ApprovalView) -> ApprovalAnswer:
    """Return a call as it is shown."""
    return ApprovalAnswer(
        name=view.name,
        namespace=view.namespace,
        session=view.spec.session,
        session_uid=view.session_uid,
        request=view.spec.request,
        outcome=view.status.outcome,
        decided_by=view.status.decided_by,
        decided_at=view.status.decided_at,
        message=view.status.message,
    )
