"""The turn that a runner plays next, from the journal and the session's spec."""

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from agentsessions.api import wire
from agentsessions.api.reasons import Phase, RefusalCode
from agentsessions.api.v1alpha1.agent import Agent, AgentModel, ModelSettings, ProviderRef
from agentsessions.api.v1alpha1.role import SessionRole
from agentsessions.api.v1alpha1.session import OperatingMode, SessionSpec
from agentsessions.gateway.goal import ensure_goal_message
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.proxy.offers import are_spent
from agentsessions.gateway.proxy.providers import Provider
from agentsessions.gateway.proxy.tools import rules_in
from agentsessions.journal.refusals import AgentIdle, NothingYet
from agentsessions.journal.rows import Course, PinnedTurn, PodIdentity, Schedule, TurnKind
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.teams import team_of

if TYPE_CHECKING:
    from agentsessions.gateway.state import Gateway


async def next_turn(gateway: "Gateway", pod: PodIdentity, *, hold_seconds: float = 0.0) -> wire.Turn:
    """Return what the pod is to do: play a turn, the same until it is committed, or wait, or end.

    Args:
        gateway: The parts.
        pod: Who asks.
        hold_seconds: How long to hold the answer back while there is nothing to play. A commit to the session, by a
            message or by a change of its spec, ends the wait at once.

    Raises:
        ProblemError: 412 when the session is over, 503 for what passes.
        AgentDone: There is no turn any more.
        Refusal: The journal has no turn for this pod.
    """
    ends_at = time.monotonic() + hold_seconds
    with gateway.changes.listen(pod.session_uid) as listener:
        while True:
            session = session_of(gateway, pod)
            await ensure_goal_message(gateway, session)
            control = await _control(gateway, session)
            try:
                return await _pin(gateway, pod, session, control)
            except AgentIdle:
                return _signal(session, pod, wire.Control.IDLE)
            except NothingYet as nothing:
                if control is not wire.Control.GO:
                    return _signal(session, pod, control, nothing.k, nothing.round)
                left = ends_at - time.monotonic()
                if left <= 0:
                    return _signal(session, pod, wire.Control.WAIT, nothing.k, nothing.round)
                if gateway.changes.is_stopping:  # a pod that is told to wait would ask again at once
                    raise unavailable("The gateway is stopping, and there is nothing to play yet.") from nothing
                await listener.wait(min(left, nothing.seconds))


async def _pin(gateway: "Gateway", pod: PodIdentity, session: SessionView, control: wire.Control) -> wire.Turn:
    course = course_of(session.spec)
    pinned = await gateway.store.pin_turn(pod, course, may_begin=control is wire.Control.GO)
    pod = pod.playing(pinned.agent)
    history = await gateway.store.history(pinned, course.max_history)
    agent = agent_of(session, pod)
    provider = find_provider(gateway, pod, agent)
    is_text_only = pinned.kind is TurnKind.COMPACT or are_spent(rules_in(session), history)
    offers = () if is_text_only else await gateway.proxy.tools.offers(session, pod, agent)
    tools = tuple(offered.offer for offered in offers)
    return build_turn(session, pod, pinned, history, control=control, provider=provider, tools=tools)


async def _control(gateway: "Gateway", session: SessionView) -> wire.Control:
    level = await gateway.store.level(session.uid)
    return control_of(session, is_limited=level is not None and level.limit_reached is not None)


def course_of(spec: SessionSpec) -> Course:
    """Return how a session goes on after an answer."""
    talk, asked, effective = spec.conversation, spec.schedule, resolve(spec)
    schedule = None
    if asked is not None:
        schedule = Schedule(timedelta(seconds=asked.interval_seconds), timedelta(seconds=asked.duration_seconds))
    return Course(
        is_open=talk is not None and bool(talk.open),
        idle=effective.idle,
        max_history=effective.max_history,
        schedule=schedule,
        team=team_of(spec),
        delegates=spec.role is SessionRole.DIRECTOR,
    )


def session_of(gateway: "Gateway", pod: PodIdentity) -> SessionView:
    """Return the pod's session.

    Raises:
        ProblemError: 412 when it was deleted.
    """
    session = gateway.session(pod.session_uid)
    if session is None:
        detail = f"Session {pod.namespace}/{pod.name} was deleted; its pod must end."
        raise ProblemError(RefusalCode.SESSION_FINISHED, detail)
    if gateway.watch.merger.find(session) is None:
        raise unavailable(
            f"Revision {session.status.template_revision} of the template of session {pod.namespace}/{pod.name} is not "
            "read yet."
        )
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
    raise ProblemError(RefusalCode.STALE_EPOCH, detail)


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
    if mode is OperatingMode.PAUSED or session.status.phase in {Phase.PAUSING, Phase.PAUSED}:
        return wire.Control.PAUSE
    return wire.Control.GO


def _signal(session: SessionView, pod: PodIdentity, control: wire.Control, k: int = 1, round_: int = 1) -> wire.Turn:
    """Return an answer that says only what to do: there is no turn to play."""
    name = f"{session.namespace}/{session.name}"
    return wire.Turn(k=k, round=round_, agent=pod.agent, epoch=pod.epoch, session=name, control=control, model="")


def build_turn(
    session: SessionView,
    pod: PodIdentity,
    pinned: PinnedTurn,
    history: list[dict[str, object]],
    *,
    control: wire.Control,
    provider: Provider,
    tools: tuple[wire.ToolOffer, ...],
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
        instructions="\n\n".join(part for part in (agent.instructions, *rules_in(session).brief) if part) or None,
        model=model.name or provider.spec.models[0].name,
        settings=model.settings or ModelSettings(),
        max_output_tokens=resolve(session.spec).limits.max_output_tokens,
        tools=tools,
        history=history,
    )


def _model_of(agent: Agent) -> AgentModel:
    return agent.model or AgentModel()
