"""Who did what to sessions."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query

from agentsessions.api.model import ApiModel
from agentsessions.gateway import paths
from agentsessions.gateway.auth import SESSIONS
from agentsessions.gateway.instants import Instant
from agentsessions.gateway.lookup import ALL_NAMESPACES, MAX_NUMBER, TheGateway, TheNamespaces, TheUser, present_uid
from agentsessions.gateway.routes.sessions import Limit
from agentsessions.journal import audit
from agentsessions.journal.acts import Act, AuditCheck, Door, SealedRecord, Verdict
from agentsessions.journal.audit import AuditQuery

AUDIT: Final = f"{SESSIONS}/audit"

router = APIRouter(prefix=paths.AUDIT, tags=["audit"])


class AuditAnswer(ApiModel):
    """One act on a session."""

    number: int
    """Its place in the audit, from 1."""
    at: datetime
    """When it was done (UTC)."""
    act: Act
    """What was done, or tried."""
    by: Door
    """gateway: over HTTP, by the actor. manifest: past the gateway; who it was the API server's own audit log knows."""
    outcome: Verdict
    """refused: the actor has no right to it."""
    code: str | None = None
    """Code of the refusal."""
    actor: str | None = None
    """Name of the user, as the API server knows them."""
    actor_uid: str | None = None
    """UID of the user, where there is one."""
    namespace: str | None = None
    """Namespace of the session."""
    session_uid: str | None = None
    """UID of the session, where one was found."""
    session_name: str | None = None
    """Name of the session; for a refused act what the actor wrote in its place."""
    request_id: str | None = None
    """Id of the request, as in the gateway's log."""
    generation: int | None = None
    """Generation of the resource after the act, when it changed the resource."""
    field_manager: str | None = None
    """Who the API server says last changed the spec, for acts by manifest."""
    detail: dict[str, Any] | None = None
    """What else tells one such act from another; never content."""
    hash: str
    """SHA-256 over the record and the hash before it."""


class AuditList(ApiModel):
    """One page of acts, newest first."""

    items: list[AuditAnswer]
    """The acts."""
    next: int | None = None
    """`before` of the next page; absent on the last."""


class AuditVerification(ApiModel):
    """Whether the audit's hash chain holds."""

    ok: bool
    """Nothing was changed, removed or put in another order."""
    head: int
    """Number of the newest record."""
    digest: str
    """Its hash: kept elsewhere, it shows later that nothing before it was changed."""
    problems: list[str]
    """One sentence for each thing that does not fit."""


async def audit_query(  # noqa: PLR0913, PLR0917 - the filters of a list; FastAPI passes them by name
    session: Annotated[str | None, Query(max_length=253, description="UID or name of a session.")] = None,
    actor: Annotated[str | None, Query(max_length=1024, description="Name of a user.")] = None,
    act: Annotated[Act | None, Query(description="What was done.")] = None,
    outcome: Annotated[Verdict | None, Query(description="What became of it.")] = None,
    since: Annotated[Instant | None, Query(description="Not before this instant.")] = None,
    until: Annotated[Instant | None, Query(description="Before this instant.")] = None,
    before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="`next` of the page before.")] = None,
    limit: Limit = 100,
) -> AuditQuery:
    """Return what records are asked for (a FastAPI dependency)."""
    return AuditQuery(
        session=session,
        actor=actor,
        act=act,
        outcome=outcome,
        since=since,
        until=until,
        before=before,
        limit=limit,
    )


@router.get("", response_model_exclude_none=True)
async def list_audit(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespaces,
    query: Annotated[AuditQuery, Depends(audit_query)],
) -> AuditList:
    """List who did what, of one namespace or with `*` of all (needs `list` on `agentsessions/audit`)."""
    everywhere = namespace == ALL_NAMESPACES
    await gateway.auth.require(user, "list", AUDIT, "" if everywhere else namespace)
    if not everywhere:
        # A namespace made again does not show what happened in the one before.
        query = replace(query, namespace=namespace, namespace_uid=await present_uid(gateway, namespace))
    found = await gateway.store.read(audit.list_records, replace(query, limit=query.limit + 1))
    items = [to_answer(sealed) for sealed in found[: query.limit]]
    return AuditList(items=items, next=items[-1].number if len(found) > query.limit else None)


@router.get("/verify")
async def verify_audit(gateway: TheGateway, user: TheUser) -> AuditVerification:
    """Check the audit's hash chain over all namespaces (needs `list` on `agentsessions/audit` in all)."""
    await gateway.auth.require(user, "list", AUDIT, "")
    head = await gateway.store.read(audit.read_head)
    check = AuditCheck()
    problems: list[str] = []
    # Page by page, so that others are answered in between.
    while (found := await gateway.store.read(audit.check_page, check, head)) is not None:
        problems += found
    problems += check.end(head.number, head.digest)
    return AuditVerification(ok=not problems, head=head.number, digest=head.digest, problems=problems)


def to_answer(sealed: SealedRecord) -> AuditAnswer:
    """Return a record as it is shown: without what is empty."""
    record = sealed.record
    fields = {name: getattr(record, name) for name in type(record).__slots__ if name in AuditAnswer.model_fields}
    return AuditAnswer(
        number=sealed.number, hash=sealed.hash, **{name: value for name, value in fields.items() if value}
    )
