"""Which session a route's `{id}` means, and whether the caller may see it.

A namespace that was deleted and made again is another one: what happened in the old one is not shown by name, and by
uid only to those who may read sessions of all namespaces.
"""

import re
from typing import Annotated, Final

from fastapi import Depends, Header, Path, Query, Request
from fastapi.requests import HTTPConnection

from agentsessions.gateway.auth import SESSIONS, Access, User
from agentsessions.gateway.models import SessionDetail, to_detail
from agentsessions.gateway.problems import not_found
from agentsessions.gateway.requests import name_session, name_user
from agentsessions.gateway.state import Gateway, gateway_of
from agentsessions.journal.rows import SessionRow

DEFAULT_NAMESPACE: Final = "default"
ALL_NAMESPACES: Final = "*"
NO_NAMESPACE: Final = "none"
MAX_NUMBER: Final = 2**53
"""Of entries, messages and records: what every reader of JSON keeps exact, and every database takes."""
NAMESPACE_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
NAMESPACES_PATTERN: Final = r"^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$"

PATH_NAMESPACE: Final = "ns"
"""Parameter of the page's paths. Not by `dependency_overrides`: with one, FastAPI reads signatures at each request."""

TheGateway = Annotated[Gateway, Depends(gateway_of)]
SessionId = Annotated[
    str, Path(min_length=1, max_length=253, description="UID, or name of the newest session of that name.")
]


async def current_user(request: Request, gateway: TheGateway) -> User:
    """Return the person or program that asks (a FastAPI dependency of user routes)."""
    user = await gateway.auth.user(request)
    name_user(user.name)
    return user


async def namespace_of(
    connection: HTTPConnection,
    namespace: Annotated[
        str | None,
        Query(pattern=NAMESPACE_PATTERN, description="Namespace. Default `default`."),
    ] = None,
    x_namespace: Annotated[
        str | None, Header(pattern=NAMESPACE_PATTERN, description="The same as a header; the query wins.")
    ] = None,
) -> str:
    """Return the namespace that a request speaks of (a FastAPI dependency): on the page it is part of the path.

    Raises:
        ProblemError: 404 when what the path has is no name of a namespace.
    """
    in_path = connection.path_params.get(PATH_NAMESPACE)
    if in_path is None:
        return namespace or x_namespace or DEFAULT_NAMESPACE
    if not re.fullmatch(NAMESPACE_PATTERN, in_path):
        raise not_found(f"{in_path!r} is no name of a namespace.")
    return str(in_path)


async def namespaces_of(
    namespace: Annotated[
        str | None,
        Query(pattern=NAMESPACES_PATTERN, description="Namespace; `*` means all. Default `default`."),
    ] = None,
    x_namespace: Annotated[
        str | None, Header(pattern=NAMESPACES_PATTERN, description="The same as a header; the query wins.")
    ] = None,
) -> str:
    """Return the namespace that a list is asked for, or `*` (a FastAPI dependency)."""
    return namespace or x_namespace or DEFAULT_NAMESPACE


TheUser = Annotated[User, Depends(current_user)]
TheNamespace = Annotated[str, Depends(namespace_of)]
TheNamespaces = Annotated[str, Depends(namespaces_of)]


async def present_uid(gateway: Gateway, namespace: str) -> str:
    """Return the uid that a namespace has now; one that none has, where there is no such namespace."""
    return await gateway.watch.namespace_uid(namespace) or NO_NAMESPACE


async def find_session(
    gateway: Gateway, user: User, id_: str, namespace: str, *, verb: str = "get", resource: str = SESSIONS
) -> SessionRow:
    """Return the session that `id_` means, once the caller is known to have the right.

    Raises:
        ProblemError: 403 without the right, 404 when there is none.
    """
    row = await gateway.store.get_session(id_, namespace)
    # Asked first by what the caller wrote, so that a refusal does not tell whether there is such a session.
    await gateway.auth.require(user, verb, resource, namespace, row.name if row else id_)
    if row is None or not await _is_visible(gateway, user, row, Access(verb, resource), by_uid=id_ == row.uid):
        raise not_found(f"There is no session {id_!r} in namespace {namespace!r}, by name or by uid.")
    name_session(row.uid)
    return row


async def detail_of(gateway: Gateway, row: SessionRow) -> SessionDetail:
    """Return a session as it is shown whole."""
    return to_detail(row, await gateway.store.level(row.uid))


async def _is_visible(gateway: Gateway, user: User, row: SessionRow, everywhere: Access, *, by_uid: bool) -> bool:
    if row.namespace_uid == await gateway.watch.namespace_uid(row.namespace):
        return True
    return by_uid and await gateway.auth.is_allowed(user, everywhere)
