"""The routes of agent pods: turns, tools and models. A pod is known by its token alone.

Which of the agents that share it a request is for, it says.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from agentsessions.api import wire
from agentsessions.gateway import genai
from agentsessions.gateway.auth import current_pod
from agentsessions.gateway.goal import ensure_goal_message
from agentsessions.gateway.proxy.checks import find_model, read_request
from agentsessions.gateway.proxy.held import hold_to_offers
from agentsessions.gateway.proxy.policies import begin_call
from agentsessions.gateway.proxy.purchase import Wanted
from agentsessions.gateway.proxy.recorded import is_recorded
from agentsessions.gateway.proxy.refused import RefusalRoute
from agentsessions.gateway.proxy.relay import relay
from agentsessions.gateway.proxy.turns import agent_of, course_of, find_provider, next_turn, session_of
from agentsessions.gateway.seals import ensure_seal
from agentsessions.gateway.state import Gateway, gateway_of
from agentsessions.gateway.tracing import TRACEPARENT, tracing
from agentsessions.journal.fences import note_open_egress
from agentsessions.journal.refusals import AgentDone
from agentsessions.journal.rows import PodIdentity

LONGEST_HOLD_SECONDS: Final = 20.0
"""How long a pod's question for the next turn is held back at most; well within the runner's own patience."""

router = APIRouter(route_class=RefusalRoute, tags=["runner"], include_in_schema=False)
Pod = Annotated[PodIdentity, Depends(current_pod)]
Here = Annotated[Gateway, Depends(gateway_of)]


async def note_egress(request: Request, gateway: Here, pod: Pod) -> None:
    """Note what the pod found out about what it reaches; it says so once."""
    if request.headers.get(wire.EGRESS_HEADER) == wire.EGRESS_OPEN:
        await gateway.store.write(lambda work: note_open_egress(work, pod))


NOTING_EGRESS: Final = [Depends(note_egress)]


@router.get(wire.TURN_PATH, dependencies=NOTING_EGRESS)
async def get_turn(gateway: Here, pod: Pod) -> Response:
    """Return the pinned turn, held back while there is nothing to play; 204 when the agent is done."""
    return await _answer(gateway, pod, hold_seconds=LONGEST_HOLD_SECONDS)


@router.post(wire.COMMIT_PATH, dependencies=NOTING_EGRESS)
async def commit_turn(gateway: Here, pod: Pod, commit: wire.Commit) -> Response:
    """Close the pinned turn; answer with the next one, or 204 after the last."""
    result = await gateway.store.commit_turn(pod, commit, course_of(session_of(gateway, pod).spec))
    error = {genai.ERROR: commit.error.code.value} if commit.error is not None else {}
    tracing().end_turn(pod, {genai.OUTCOME: commit.outcome.value, **error})
    if result.is_last:
        await ensure_seal(gateway.store, pod.session_uid)
        return Response(status_code=204)
    return await _answer(gateway, pod)


@router.post(wire.TOOL_BEGIN_PATH)
async def begin_tool(gateway: Here, pod: Pod, begin: wire.ToolBegin) -> Response:
    """Say whether a tool call is to be run."""
    await hold_to_offers(gateway, session_of(gateway, pod), pod, begin)
    return _json(await begin_call(gateway, pod, begin))


@router.post(wire.TOOL_SETTLE_PATH, status_code=204)
async def settle_tool(gateway: Here, pod: Pod, settle: wire.ToolSettle) -> None:
    """Record a tool's result."""
    await gateway.store.settle_tool(pod, settle)


@router.post(wire.TOOL_CALL_PATH)
async def call_tool(gateway: Here, pod: Pod, call: wire.ToolCall) -> Response:
    """Run a call of a tool that is not the runner's, or tell what became of it."""
    session = session_of(gateway, pod)
    return _json(await gateway.proxy.tools.call(session, pod, agent_of(session, pod), call))


@router.post(f"{wire.OPENAI_PATH}/chat/completions")
async def complete_chat(request: Request, gateway: Here, pod: Pod) -> Response:
    """Buy an answer, or relay the one that was bought before."""
    wanted = read_request(await request.body())
    session = session_of(gateway, pod)
    provider = find_provider(gateway, pod, agent_of(session, pod))
    model = find_model(provider.spec, wanted.model)
    await ensure_goal_message(gateway, session)  # programs of others never ask for a turn
    order = Wanted(pod, wanted, provider, model, is_recorded=is_recorded(session.spec))
    return await relay(await gateway.proxy.purchases.ask(order), wanted)


@router.get(f"{wire.OPENAI_PATH}/models")
async def list_models(gateway: Here, pod: Pod) -> dict[str, Any]:
    """List the models of the agent's provider."""
    provider = find_provider(gateway, pod, agent_of(session_of(gateway, pod), pod))
    models = [
        {"id": model.name, "object": "model", "created": 0, "owned_by": provider.name} for model in provider.spec.models
    ]
    return {"object": "list", "data": models}


async def _answer(gateway: Gateway, pod: PodIdentity, *, hold_seconds: float = 0.0) -> Response:
    try:
        turn = await next_turn(gateway, pod, hold_seconds=hold_seconds)
    except AgentDone:
        return Response(status_code=204)
    answer = _json(turn)
    is_played = turn.control is wire.Control.GO
    if is_played and (trace := tracing().begin_turn(pod.playing(turn.agent), turn.round, turn.k)) is not None:
        answer.headers[TRACEPARENT] = trace
    return answer


def _json(value: wire.Turn | wire.ToolVerdict | wire.ToolAnswer) -> Response:
    return Response(value.model_dump_json(by_alias=True, exclude_none=True), media_type="application/json")
