"""What people and programs may read of sessions."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import SessionRole, SessionType
from agentsessions.gateway.auth import SESSIONS
from agentsessions.gateway.lookup import ALL_NAMESPACES, SessionId, TheGateway, TheNamespace, TheUser, find_session
from agentsessions.gateway.message_acts import MESSAGES
from agentsessions.gateway.models import SessionDetail, SessionList, StepList, Verification, to_detail, to_session
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.steps import read_steps
from agentsessions.journal.rows import SessionQuery, SessionSort

PREFIX: Final = "/api/v1/agent-sessions"
MAX_LIMIT: Final = 1000
SORT_PATTERN: Final = f"^-?({'|'.join(SessionSort)})$"

router = APIRouter(prefix=PREFIX, tags=["sessions"])

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of the page.")]


def session_query(  # noqa: PLR0913, PLR0917 - the filters of a list; FastAPI passes them by name
    type: Annotated[SessionType | None, Query(description="Kind of session.")] = None,  # noqa: A002 - its name in the API
    role: Annotated[SessionRole | None, Query(description="Part among other sessions.")] = None,
    phase: Annotated[Phase | None, Query(description="Where the session is.")] = None,
    text: Annotated[str | None, Query(max_length=256, description="Part of name, title or goal.")] = None,
    sort: Annotated[str, Query(pattern=SORT_PATTERN, description="Order; `-` before it turns it.")] = "-createdAt",
    limit: Limit = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000, description="Sessions before the page.")] = 0,
    deleted: Annotated[bool, Query(description="Also sessions whose resource is gone; with namespace `*`.")] = False,
) -> SessionQuery:
    """Return what a list is asked for (a FastAPI dependency)."""
    return SessionQuery(
        type=type,
        role=role,
        phase=phase,
        text=text,
        include_deleted=deleted,
        sort=SessionSort(sort.removeprefix("-")),
        descending=sort.startswith("-"),
        limit=limit,
        offset=offset,
    )


@router.get("", response_model_exclude_none=True)
async def list_sessions(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    query: Annotated[SessionQuery, Depends(session_query)],
) -> SessionList:
    """List the sessions of a namespace, or with `*` of all (needs the right to list in the whole cluster)."""
    if namespace == ALL_NAMESPACES:
        await gateway.auth.require(user, "list", SESSIONS, "")
    else:
        refuse_deleted(query)
        await gateway.auth.require(user, "list", SESSIONS, namespace)
        query = replace(query, namespaces=frozenset({namespace}))
    page = await gateway.store.list_sessions(query)
    items = [to_session(row) for row in page.items]
    return SessionList(items=items, total=page.total, limit=query.limit, offset=query.offset)


@router.get("/{session}", response_model_exclude_none=True)
async def get_session(gateway: TheGateway, user: TheUser, namespace: TheNamespace, session: SessionId) -> SessionDetail:
    """Read one session, also after its resource was deleted."""
    return to_detail(await find_session(gateway, user, session, namespace))


@router.get("/{session}/steps", response_model_exclude_none=True)
async def list_steps(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    after: Annotated[int, Query(ge=0, description="`next` of the page before.")] = 0,
    limit: Limit = 100,
) -> StepList:
    """List what the agents thought, did and said (needs `get` on `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace, resource=MESSAGES)
    return await read_steps(lambda seq, count: gateway.store.entries(row.uid, seq, count), after, limit)


@router.get("/{session}/verify", response_model_exclude_none=True)
async def verify_session(
    gateway: TheGateway, user: TheUser, namespace: TheNamespace, session: SessionId
) -> Verification:
    """Check the hash chain of the session's journal from its first entry to its newest."""
    row = await find_session(gateway, user, session, namespace)
    problems = await gateway.store.verify(row.uid)
    level = await gateway.store.level(row.uid)
    head, digest = (level.head, level.digest) if level else (0, "")
    return Verification(ok=not problems, head=head, digest=digest, problems=problems)


def refuse_deleted(query: SessionQuery) -> None:
    """Refuse a list of one namespace that asks for deleted sessions: an earlier namespace of that name may hold some.

    Raises:
        ProblemError: 400.
    """
    if query.include_deleted:
        raise ProblemError(
            400,
            "bad_request",
            "Bad request",
            "deleted=true needs namespace=*: sessions of an earlier namespace of the same name are shown only to those "
            "who may list in all. One deleted session is read by its name or uid.",
        )
