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
from agentsessions.gateway.models import SessionDetail, to_detail
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.rates import RATE_LIMITED
from agentsessions.gateway.state import Gateway
from agentsessions.gateway.watch import to_view
from agentsessions.journal.acts import Act, AuditRecord
from agentsessions.journal.rows import SessionRow

log = structlog.get_logger(__name__)

Json = dict[str, Any]
_ALREADY_EXISTS: Final = (409, "already_exists", "There is one already")
_REFUSALS: Final = {
    400: (422, "invalid_request", "Request not valid"),
    403: (403, "forbidden", "Not allowed"),
    404: (404, "not_found", "Not found"),
    409: (409, "conflict", "Changed meanwhile"),
    413: (413, "too_large", "Too large"),
    422: (422, "invalid_request", "Request not valid"),
}
"""What the API server's statuses become: status, code and title."""


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
    return to_detail(await put(gateway, answer))


async def put(gateway: Gateway, answer: Json) -> SessionRow:
    """Write a session as the API server answered it to the journal; return it from there."""
    view = to_view(answer)
    await gateway.watch.write_answer(view)
    row = await gateway.store.get_session_by_uid(view.uid)
    if row is None:
        raise AssertionError(f"session {view.uid} was just written")
    return row


def to_problem(error: ApiError, act: Act, name: str) -> ProblemError:
    """Return the API server's refusal as an answer of ours; what it says stays as it said it."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        return unauthenticated(f"The API server no longer takes the bearer token: {error.said}.")
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = str(int(error.retry_after or 1))
        return ProblemError(429, RATE_LIMITED, "Too many requests", error.said, headers={"Retry-After": wait})
    if error.is_passing:
        return unavailable(
            f"The API server did not answer to {act} {name}; it may have done it: {error}. Look, then try again."
        )
    if isinstance(error, Invalid) and (STAYS_CANCELLED in error.said or FINISHED_BEFORE in error.said):
        return illegal_state(error.said)
    known = _ALREADY_EXISTS if isinstance(error, AlreadyExists) else _REFUSALS.get(error.status)
    if known is None:
        raise error
    status, code, title = known
    return ProblemError(status, code, title, error.said)


def illegal_state(detail: str) -> ProblemError:
    """Return the problem of what is not possible as the session now is."""
    return ProblemError(409, "illegal_state", "Not in this state", detail)
