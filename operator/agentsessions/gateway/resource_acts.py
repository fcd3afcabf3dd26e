"""Every change of a session's resource by HTTP: sent to the API server in the caller's name, answered as it answers."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import structlog

from agentsessions.api.v1alpha1.session import FINISHED_BEFORE, STAYS_CANCELLED
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, ApiError, Invalid
from agentsessions.gateway.audit import Attempt
from agentsessions.gateway.auth import unauthenticated
from agentsessions.gateway.callers import Caller
from agentsessions.gateway.lookup import detail_of
from agentsessions.gateway.models import SessionDetail
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.state import Gateway
from agentsessions.gateway.watch import to_view
from agentsessions.journal.acts import Act, AuditRecord
from agentsessions.journal.rows import SessionRow

log = structlog.get_logger(__name__)

Json = dict[str, Any]
_REFUSALS: Final = {
    400: ProblemCode.INVALID_REQUEST,
    403: ProblemCode.FORBIDDEN,
    404: ProblemCode.NOT_FOUND,
    409: ProblemCode.CONFLICT,
    413: ProblemCode.TOO_LARGE,
    422: ProblemCode.INVALID_REQUEST,
}
"""What the API server's statuses become."""


async def act_on_resource(
    attempt: Attempt,
    caller: Caller,
    about: SessionRow | str,
    send: Callable[[Client], Awaitable[Json]],
) -> Json:
    """Return what the API server answers to a change, which is then recorded.

    Args:
        attempt: What is done.
        caller: In whose name.
        about: The session, or the name of one that is to be.
        send: Makes the request.

    Raises:
        ProblemError: It refuses, or cannot be asked.
    """
    name = about if isinstance(about, str) else about.name
    try:
        answer = await send(attempt.gateway.callers.client(caller.token))
    except ApiError as error:
        raise to_problem(error, attempt.act, f"{attempt.namespace}/{name}") from error
    await attempt.record(_to_record(attempt, about, answer))
    return answer


def _to_record(attempt: Attempt, about: SessionRow | str, answer: Json) -> AuditRecord:
    metadata = answer.get("metadata", {})
    if isinstance(about, str):
        return attempt.done(uid=metadata["uid"], name=about, generation=metadata["generation"])
    return attempt.done(about, generation=None if attempt.act is Act.DELETE else metadata["generation"])


async def show(gateway: Gateway, answer: Json) -> SessionDetail:
    """Return a session as the API server answered it, and let the journal know it before the watch tells."""
    return await detail_of(gateway, await put(gateway, answer))


async def put(gateway: Gateway, answer: Json) -> SessionRow:
    """Write a session as the API server answered it to the journal; return it from there."""
    view = to_view(answer)
    await gateway.watch.write_answer(view)
    row = await gateway.store.get_session_by_uid(view.uid)
    if row is None:
        raise AssertionError(f"session {view.uid} was just written")
    return row


def to_problem(error: ApiError, act: str, name: str) -> ProblemError:
    """Return the API server's refusal as an answer of ours; what it says stays as it said it."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        return unauthenticated(f"The API server no longer takes the bearer token: {error.said}.")
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = str(int(error.retry_after or 1))
        return ProblemError(ProblemCode.RATE_LIMITED, error.said, headers={"Retry-After": wait})
    if error.is_passing:
        return unavailable(
            f"The API server did not answer to {act} {name}; it may have done it: {error}. Look, then try again."
        )
    if isinstance(error, Invalid) and (STAYS_CANCELLED in error.said or FINISHED_BEFORE in error.said):
        return illegal_state(error.said)
    code = ProblemCode.ALREADY_EXISTS if isinstance(error, AlreadyExists) else _REFUSALS.get(error.status)
    if code is None:
        raise error
    return ProblemError(code, error.said)


def illegal_state(detail: str) -> ProblemError:
    """Return the problem of what is not possible as the session now is."""
    return ProblemError(ProblemCode.ILLEGAL_STATE, detail)
