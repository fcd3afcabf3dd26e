"""Lists of sessions, those of the past among them."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import StringConstraints

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.role import SessionRole
from agentsessions.api.v1alpha1.session import SessionMode, SessionType
from agentsessions.gateway import paths
from agentsessions.gateway.auth import SESSIONS, User
from agentsessions.gateway.instants import Instant
from agentsessions.gateway.listing import SessionList, from_cursor, to_list
from agentsessions.gateway.lookup import ALL_NAMESPACES, TheGateway, TheNamespaces, TheUser, present_uid
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.routes.sessions import Limit
from agentsessions.gateway.state import Gateway
from agentsessions.journal.lists import read_page
from agentsessions.journal.session_query import MAX_OFFSET, SessionQuery, SessionSort

SORT_PATTERN: Final = f"^-?({'|'.join(SessionSort)})$"

router = APIRouter(prefix=paths.SESSIONS, tags=["sessions"])

WORD: Final = r"^[^\x00]*$"
"""What a database can look for."""


Label = Annotated[str, StringConstraints(pattern=r"^[^=\x00]{1,317}=[^=\x00]{0,63}$")]


async def which(  # noqa: PLR0913, PLR0917 - the filters of a list; FastAPI passes them by name
    type: Annotated[SessionType | None, Query(description="Kind of session.")] = None,  # noqa: A002 - its name in the API
    role: Annotated[SessionRole | None, Query(description="Part among other sessions.")] = None,
    mode: Annotated[SessionMode | None, Query(description="Which classes of tools agents may use.")] = None,
    phase: Annotated[list[Phase] | None, Query(description="Any of these phases.")] = None,
    owner: Annotated[str | None, Query(max_length=253, pattern=WORD, description="User name of the owner.")] = None,
    session_id: Annotated[
        str | None, Query(alias="sessionId", max_length=253, pattern=WORD, description="An id of the owner's own.")
    ] = None,
    template: Annotated[
        str | None, Query(max_length=63, pattern=WORD, description="Template that it starts from.")
    ] = None,
    label: Annotated[list[Label] | None, Query(max_length=16, description="All of these, as `key=value`.")] = None,
    text: Annotated[
        str | None, Query(max_length=256, pattern=WORD, description="Part of name, own id, title, description or goal.")
    ] = None,
) -> SessionQuery:
    """Return which sessions are asked for, of those that are there (a FastAPI dependency)."""
    return SessionQuery(
        type=type,
        role=role,
        mode=mode,
        phases=tuple(phase or ()),
        owner=owner,
        session_id=session_id,
        template=template,
        labels=tuple((key, value) for key, _, value in (one.partition("=") for one in label or ())),
        text=text,
    )


async def _when(
    query: Annotated[SessionQuery, Depends(which)],
    deleted: Annotated[bool, Query(description="Also sessions whose resource is gone.")] = False,
    created_after: Annotated[Instant | None, Query(alias="createdAfter", description="At or after.")] = None,
    created_before: Annotated[Instant | None, Query(alias="createdBefore", description="Before.")] = None,
    finished_after: Annotated[Instant | None, Query(alias="finishedAfter", description="At or after.")] = None,
    finished_before: Annotated[Instant | None, Query(alias="finishedBefore", description="Before.")] = None,
) -> SessionQuery:
    """Return the query with its times (a FastAPI dependency)."""
    return replace(
        query,
        include_deleted=deleted,
        created_after=created_after,
        created_before=created_before,
        finished_after=finished_after,
        finished_before=finished_before,
    )


async def session_query(
    query: Annotated[SessionQuery, Depends(_when)],
    sort: Annotated[str, Query(pattern=SORT_PATTERN, description="Order; `-` before it turns it.")] = "-createdAt",
    limit: Limit = 100,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Sessions before the page; further: `cursor`.")] = 0,
    cursor: Annotated[str | None, Query(max_length=1024, description="`next` of the page before.")] = None,
) -> SessionQuery:
    """Return what a list is asked for (a FastAPI dependency).

    Raises:
        ProblemError: 400.
    """
    if cursor is not None and offset:
        raise ProblemError(ProblemCode.BAD_REQUEST, "A page begins at `offset` or at `cursor`, not at both.")
    order, descending = SessionSort(sort.removeprefix("-")), sort.startswith("-")
    after = None if cursor is None else from_cursor(cursor, order, descending=descending)
    return replace(query, sort=order, descending=descending, limit=limit, offset=offset, after=after)


@router.get("", response_model_exclude_none=True)
async def list_sessions(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespaces,
    query: Annotated[SessionQuery, Depends(session_query)],
) -> SessionList:
    """List the sessions of a namespace, or with `*` of all (needs the right to list in the whole cluster)."""
    asked = await within(gateway, user, namespace, query)
    return to_list(await gateway.store.read(read_page, asked), asked)


async def within(gateway: Gateway, user: User, namespace: str, query: SessionQuery) -> SessionQuery:
    """Return the query kept to what the caller may list.

    What was deleted is shown of the present namespace alone: an earlier one of the same name may have had other
    readers.

    Raises:
        ProblemError: 403.
    """
    if namespace == ALL_NAMESPACES:
        await gateway.auth.require(user, "list", SESSIONS, "")
        return query
    await gateway.auth.require(user, "list", SESSIONS, namespace)
    uid = await present_uid(gateway, namespace) if query.include_deleted else None
    return replace(query, namespace=namespace, namespace_uid=uid)
