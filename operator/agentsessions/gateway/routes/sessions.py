"""What people and programs may read of sessions."""

from typing import Annotated, Final

from fastapi import APIRouter, Query

from agentsessions.gateway import paths
from agentsessions.gateway.lookup import (
    MAX_NUMBER,
    SessionId,
    TheGateway,
    TheNamespace,
    TheUser,
    detail_of,
    find_session,
)
from agentsessions.gateway.message_acts import MESSAGES
from agentsessions.gateway.models import SessionDetail, StepList, Verification
from agentsessions.gateway.steps import read_steps
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.verification import Anchor, read_anchor_problems
from agentsessions.lifecycle.facts import SessionView

MAX_LIMIT: Final = 1000

router = APIRouter(prefix=paths.SESSIONS, tags=["sessions"])

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of the page.")]


@router.get("/{session}", response_model_exclude_none=True)
async def get_session(gateway: TheGateway, user: TheUser, namespace: TheNamespace, session: SessionId) -> SessionDetail:
    """Read one session, also after its resource was deleted."""
    return await detail_of(gateway, await find_session(gateway, user, session, namespace))


@router.get("/{session}/steps", response_model_exclude_none=True)
async def list_steps(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER, description="`next` of the page before.")] = 0,
    limit: Limit = 100,
) -> StepList:
    """List what the agents thought, did and said (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    return await read_steps(lambda seq, count: gateway.store.entries(row.uid, seq, count), after, limit)


@router.get("/{session}/verify", response_model_exclude_none=True)
async def verify_session(
    gateway: TheGateway, user: TheUser, namespace: TheNamespace, session: SessionId
) -> Verification:
    """Check the hash chain of the session's journal, and that it holds what the session's status said of it."""
    row = await find_session(gateway, user, session, namespace)
    problems = await gateway.store.verify(row.uid)
    problems += await gateway.store.read(read_anchor_problems, row.uid, anchors_of(row, gateway.session(row.uid)))
    level = await gateway.store.level(row.uid)
    head, digest = (level.head, level.digest) if level else (0, "")
    return Verification(ok=not problems, head=head, digest=digest, problems=problems)


def anchors_of(row: SessionRow, view: SessionView | None) -> list[Anchor]:
    """Return where the chain was by the status: as the journal copied it, and as the cluster has it now."""
    found = [Anchor(row.anchor_head, row.anchor_digest)] if row.anchor_digest else []
    if view is not None and view.status.journal is not None:
        found.append(Anchor(view.status.journal.head, view.status.journal.digest))
    return found
