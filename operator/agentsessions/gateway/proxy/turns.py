"""The turn that a runner plays next, from the journal and the session's spec."""

from typing import TYPE_CHECKING

from agentsessions.api import wire
from agentsessions.api.reasons import Phase, RefusalCode
from agentsessions.api.v1alpha1.agent import Agent, AgentModel, ModelSettings, ProviderRef
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.gateway.course import course_of
from agentsessions.gateway.goal import ensure_goal_message
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.proxy.providers import Provider
from agentsessions.journal.refusals import NothingYet
from agentsessions.journal.rows import PinnedTurn, PodIdentity, TurnKind
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.phases import TERMINAL

if TYPE_CHECKING:
    from agentsessions.gateway.state import Gateway


async def pin_turn(gateway: "Gateway", pod: PodIdentity) -> tuple[wire.Turn, float]:
    """Return the turn to play, the same until it is committed; or one to wait for, and for how many seconds.

    Raises:
        ProblemError: 412 when the session is over, 503 for what passes.
        Refusal: The journal has no turn for this pod.
    """
    session = session_of(gateway, pod)
    await ensure_goal_message(gateway, session)
    level = await gateway.store.level(session.uid)
    control = control_of(session, is_limited=level is not None and level.limit_reached is not None)
    course = course_of(session.spec)
    try:
        pinned = await gateway.store.pin_turn(pod, course, may_begin=control is wire.Control.GO)
    except NothingYet as nothing:
        told = wire.Control.WAIT if control is wire.Control.GO else control
        return build_waiting(session, pod, nothing.round, nothing.k, told), nothing.seconds
    history = await gateway.store.history(
        session.uid, pod.agent, pinned.round, pinned.history_seq, pinned.cut_seq, course.max_history
    )
    provider = find_provider(gateway, pod, agent_of(session, pod))
    return build_turn(session, pod, pinned, history, control=control, provider=provider), 0.0


def session_of(gateway: "Gateway", pod: PodIdentity) -> SessionView:
    """Return the pod's session.

    Raises:
        ProblemError: 412 when it was deleted.
    """
    session = gateway.session(pod.session_uid)
    if session is None:
        detail = f"Session {pod.namespace}/{pod.name} was deleted; its pod must end."
        raise ProblemError(412, RefusalCode.SESSION_FINISHED, "Session is over", detail)
    return session


def agent_of(session: SessionView, pod: PodIdentity) -> Agent:
    """Return the agent that the pod plays, after defaults.

    Raises:
        ProblemError: 412 when the session has no such agent.
    """
    for agent in resolve(session.spec).agents:
        if agent.name == pod.agent:
            return agent
    detail = f"Session {pod.namespace}/{pod.name} has no agent {pod.agent!r}; its pod must end."
    raise ProblemError(412, RefusalCode.STALE_EPOCH, "Not this agent's pod any more", detail)


def find_provider(gateway: "Gateway", pod: PodIdentity, agent: Agent) -> Provider:
    """Return the provider of the agent's model.

    Raises:
        ProblemError: 503 when it is not there: it may be created, or not seen yet.
    """
    name = (_model_of(agent).provider_ref or ProviderRef()).name
    provider = gateway.proxy.directory.find(pod.namespace, name)
    if provider is None:
        raise unavailable(
            f"Session {pod.namespace}/{pod.name} uses ModelProvider {name!r}, which is neither in its namespace nor "
            f"shared in {gateway.settings.namespace}. Create it, or name another in a new session."
        )
    return provider


def control_of(session: SessionView, *, is_limited: bool) -> wire.Control:
    """Return what the runner is to do with the turn."""
    mode = session.spec.operating_mode
    if mode is OperatingMode.CANCELLED or is_limited or session.status.phase in {*TERMINAL, Phase.CANCELLING}:
        return wire.Control.STOP
    return wire.Control.PAUSE if mode is OperatingMode.PAUSED else wire.Control.GO


def build_turn(
    session: SessionView,
    pod: PodIdentity,
    pinned: PinnedTurn,
    history: list[dict[str, object]],
    *,
    control: wire.Control,
    provider: Provider,
) -> wire.Turn:
    """Return a turn with everything that goes into its model request; no clock and no list that may change does."""
    agent = agent_of(session, pod)
    model = _model_of(agent)
    return wire.Turn(
        k=pinned.k,
        round=pinned.round,
        agent=pod.agent,
        epoch=pod.epoch,
        session=f"{pod.namespace}/{pod.name}",
        control=control,
        instructions=agent.instructions,
        model=model.name or provider.spec.models[0].name,
        settings=model.settings or ModelSettings(),
        max_output_tokens=resolve(session.spec).limits.max_output_tokens,
        tools=() if pinned.kind is TurnKind.COMPACT else tuple(tool.builtin for tool in agent.tools or ()),
        history=history,
    )


def build_waiting(session: SessionView, pod: PodIdentity, round_: int, k: int, control: wire.Control) -> wire.Turn:
    """Return a turn that is not there yet; it needs no provider."""
    return wire.Turn(
        k=k,
        round=round_,
        agent=pod.agent,
        epoch=pod.epoch,
        session=f"{pod.namespace}/{pod.name}",
        control=control,
        model=_model_of(agent_of(session, pod)).name or "",
    )


def _model_of(agent: Agent) -> AgentModel:
    return agent.model or AgentModel()
