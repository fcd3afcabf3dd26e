"""The routes of agent pods: turns, tools and models. A pod is known by its token alone."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from agentsessions.api import wire
from agentsessions.gateway.auth import current_pod
from agentsessions.gateway.course import course_of
from agentsessions.gateway.goal import ensure_goal_message
from agentsessions.gateway.proxy.checks import find_model, read_request
from agentsessions.gateway.proxy.purchase import Wanted
from agentsessions.gateway.proxy.refused import RefusalRoute
from agentsessions.gateway.proxy.relay import relay
from agentsessions.gateway.proxy.turns import agent_of, build_waiting, find_provider, pin_turn, session_of
from agentsessions.gateway.proxy.waits import wait_for_turn
from agentsessions.gateway.state import Gateway, gateway_of
from agentsessions.journal.refusals import AgentDone, AgentIdle
from agentsessions.journal.rows import PodIdentity

router = APIRouter(route_class=RefusalRoute, tags=["runner"], include_in_schema=False)
Pod = Annotated[PodIdentity, Depends(current_pod)]
Here = Annotated[Gateway, Depends(gateway_of)]


@router.get(wire.TURN_PATH)
async def get_turn(gateway: Here, pod: Pod) -> Response:
    """Return the pinned turn, as soon as there is something to play; 204 when the epoch is over."""
    try:
        return _json(await wait_for_turn(gateway, pod))
    except AgentDone:
        return Response(status_code=204)
    except AgentIdle:
        return Response(status_code=204, headers={wire.CLOSED_HEADER: wire.Outcome.IDLE})


@router.post(wire.COMMIT_PATH)
async def commit_turn(gateway: Here, pod: Pod, commit: wire.Commit) -> Response:
    """Close the pinned turn; answer with the next one, or 204 after the last.

    What comes after an idle turn is to be asked for: pinned here, it could be another round's turn of the same number,
    and this commit, sent again, would then be taken for that turn's.
    """
    session = session_of(gateway, pod)
    result = await gateway.store.commit_turn(pod, commit, course_of(session.spec))
    if result.is_last:
        return Response(status_code=204)
    if result.is_idle:
        return _json(build_waiting(session, pod, 1, commit.k + 1, wire.Control.WAIT))
    turn, _ = await pin_turn(gateway, pod)
    return _json(turn)


@router.post(wire.TOOL_BEGIN_PATH)
async def begin_tool(gateway: Here, pod: Pod, begin: wire.ToolBegin) -> Response:
    """Say whether a tool call is to be run."""
    return _json(await gateway.store.begin_tool(pod, begin))


@router.post(wire.TOOL_SETTLE_PATH, status_code=204)
async def settle_tool(gateway: Here, pod: Pod, settle: wire.ToolSettle) -> None:
    """Record a tool's result."""
    await gateway.store.settle_tool(pod, settle)


@router.post(f"{wire.OPENAI_PATH}/chat/completions")
async def complete_chat(request: Request, gateway: Here, pod: Pod) -> Response:
    """Buy an answer, or relay the one that was bought before."""
    wanted = read_request(await request.body())
    session = session_of(gateway, pod)
    provider = find_provider(gateway, pod, agent_of(session, pod))
    model = find_model(provider.spec, wanted.model)
    await ensure_goal_message(gateway, session)  # programs of others never ask for a turn
    return await relay(await gateway.proxy.purchases.ask(Wanted(pod, wanted, provider, model)), wanted)


@router.get(f"{wire.OPENAI_PATH}/models")
async def list_models(gateway: Here, pod: Pod) -> dict[str, Any]:
    """List the models of the agent's provider."""
    provider = find_provider(gateway, pod, agent_of(session_of(gateway, pod), pod))
    models = [
        {"id": model.name, "object": "model", "created": 0, "owned_by": provider.name} for model in provider.spec.models
    ]
    return {"object": "list", "data": models}


def _json(value: wire.Turn | wire.ToolVerdict) -> Response:
    return Response(value.model_dump_json(by_alias=True, exclude_none=True), media_type="application/json")
