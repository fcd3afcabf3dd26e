"""Who wants to change something, with the token that says so: the API server decides by it, not by our own account."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from agentsessions.gateway.auth import SESSIONS, User, bearer_token
from agentsessions.gateway.lookup import TheGateway, TheUser, find_session
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.state import Gateway
from agentsessions.journal.rows import SessionRow


@dataclass(frozen=True, slots=True)
class Caller:
    """A person or program, and their bearer token."""

    user: User
    token: str = field(repr=False)


async def current_caller(request: Request, user: TheUser) -> Caller:
    """Return who asks, with what proves it (a FastAPI dependency of routes that change sessions)."""
    return Caller(user, bearer_token(request))


TheCaller = Annotated[Caller, Depends(current_caller)]


async def find_to_change(
    gateway: TheGateway, user: User, id_: str, namespace: str, *, verb: str, resource: str
) -> SessionRow:
    """Return a session that the caller may change: with the right, and as its owner where it has one.

    Raises:
        ProblemError: As `find_session`; 403 for the session of another.
    """
    row = await find_session(gateway, user, id_, namespace, verb=verb, resource=resource)
    await require_owner(gateway, user, row)
    return row


async def require_owner(gateway: Gateway, user: User, row: SessionRow) -> None:
    """Refuse who is not the owner of a session that has one, unless they have the verb `own` in its namespace.

    Raises:
        ProblemError: 403.
    """
    owner = row.spec.get("owner")
    if owner is None or owner == user.name:
        return
    try:
        await gateway.auth.require(user, "own", SESSIONS, row.namespace)
    except ProblemError as problem:
        if problem.code != ProblemCode.FORBIDDEN:  # the API server cannot be asked
            raise
        raise ProblemError(
            ProblemCode.FORBIDDEN,
            f"Session {row.namespace}/{row.name} belongs to {owner}, and you are {user.name}: ask its owner, or for "
            f"the verb own on {SESSIONS} in namespace {row.namespace}.",
        ) from problem
