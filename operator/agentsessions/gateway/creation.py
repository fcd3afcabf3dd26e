"""Creating a session in somebody's name."""

from collections.abc import Awaitable

from agentsessions.api.names import API_VERSION
from agentsessions.engine.client import Client
from agentsessions.gateway.audit import Attempt
from agentsessions.gateway.callers import Caller
from agentsessions.gateway.naming import name_of
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.rates import Rate
from agentsessions.gateway.resource_acts import Json, act_on_resource
from agentsessions.gateway.resource_bodies import SessionCreate
from agentsessions.gateway.watch import AGENT_SESSION


async def create(attempt: Attempt, caller: Caller, body: SessionCreate) -> Json:
    """Create a session, owned by the caller unless `owner` is given; return the resource.

    Raises:
        ProblemError: What the API server refuses; 409 when the owner has a session with this `sessionId`; 429.
    """
    gateway, namespace = attempt.gateway, attempt.namespace
    gateway.rates.count(Rate.SESSIONS, caller.user)
    owner = body.owner if "owner" in body.model_fields_set else caller.user.name
    name = name_of(body, owner)
    if body.session_id is not None:
        known = gateway.own_ids.find(namespace, owner, body.session_id)
        if known is not None:
            raise duplicate_id(known.name, namespace, body.session_id)
    metadata = {"name": name, "labels": body.labels, "annotations": body.annotations}
    manifest = {
        "apiVersion": API_VERSION,
        "kind": AGENT_SESSION.kind,
        "metadata": {key: value for key, value in metadata.items() if value},
        "spec": body.to_spec() | ({} if owner is None else {"owner": owner}),
    }

    def send(client: Client) -> Awaitable[Json]:
        return client.create(AGENT_SESSION, namespace, manifest)

    try:
        return await act_on_resource(attempt, caller, name, send)
    except ProblemError as problem:
        if problem.code == ProblemCode.ALREADY_EXISTS and body.session_id is not None and body.name is None:
            raise duplicate_id(name, namespace, body.session_id) from problem
        raise


def duplicate_id(name: str, namespace: str, session_id: str) -> ProblemError:
    """Return the problem of an own id that is taken."""
    return ProblemError(
        ProblemCode.DUPLICATE_ID,
        f"sessionId {session_id!r} is that of session {namespace}/{name}, and is unique for its owner in a namespace: "
        "use that session, delete it, or choose another id.",
    )
