"""Tools by which agents of one session pass work to each other.

A call of `delegate` waits until the other agent has answered, however long that takes: whoever asks again joins the
wait, after a crash of either pod or of the gateway too. What is asked for, and what was answered, is in the journal.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from agentsessions.api import wire
from agentsessions.api.kinds import ToolClass
from agentsessions.api.reasons import Phase, RefusalCode
from agentsessions.api.v1alpha1.agent import Agent
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.api.v1alpha1.team import Strategy
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.proxy.offers import CallContext, Offered, ToolResult
from agentsessions.gateway.streams import Changes
from agentsessions.journal import fences, handoffs
from agentsessions.journal.handoffs import DELEGATE, TRANSFER, Task
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.store import Store
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.teams import Team, team_of

HOLD_SECONDS: Final = 600.0
"""How long one request waits for an answer; the runner then asks again. Less than any tool may run."""
LOOK_SECONDS: Final = 5.0
"""Between two looks at a session of which nothing is heard."""
MAX_TASK_CHARACTERS: Final = 65_536


class TeamTools:
    """Offers the tools of teams, and runs their calls."""

    def __init__(self, store: Store, changes: Changes, session_of: Callable[[str], SessionView | None]) -> None:
        self._store = store
        self._changes = changes
        self._session_of = session_of

    def offers(self, session: SessionView, agent: Agent) -> tuple[Offered, ...]:
        """Return what an agent may pass on, and to whom; the same in each turn."""
        team = team_of(session.spec)
        if team is None:
            return ()
        others = tuple(member.name for member in team.members if member.name != agent.name)
        if team.strategy is Strategy.HANDOFF:
            return tuple(self._to_transfer(name, team) for name in others)
        if team.strategy is Strategy.DIRECTOR and agent.name == team.first:
            return (self._to_delegate(others, team),)
        return ()

    def _to_transfer(self, receiver: str, team: Team) -> Offered:
        offer = wire.ToolOffer(
            name=f"{TRANSFER}{receiver}",
            description=f"Hand the conversation over to agent {receiver}, who sees all of it and goes on from here.",
            parameters={"type": "object", "properties": {}},
            side_effect=wire.SideEffect.INTERNAL,
        )
        return Offered(offer, ToolClass.READ, partial(self._transfer, team, receiver))

    def _to_delegate(self, others: tuple[str, ...], team: Team) -> Offered:
        offer = wire.ToolOffer(
            name=DELEGATE,
            description=f"Give a task to another agent and get its answer. Agents: {', '.join(others)}.",
            parameters={
                "type": "object",
                "properties": {
                    "agent": {"type": "string", "enum": list(others), "description": "Who is to do it."},
                    "task": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": MAX_TASK_CHARACTERS,
                        "description": "What is to be done, with all that the agent needs to know.",
                    },
                },
                "required": ["agent", "task"],
                "additionalProperties": False,
            },
            side_effect=wire.SideEffect.INTERNAL,
        )
        return Offered(offer, ToolClass.READ, partial(self._delegate, team))

    async def _transfer(self, team: Team, receiver: str, context: CallContext, arguments: dict[str, Any]) -> ToolResult:
        """Accept a transfer; it takes place when the turn is committed."""
        del arguments
        refused = await self._store.read(handoffs.find_limit, context.pod.session_uid, team)
        if refused is not None:
            return ToolResult(refused, is_error=True)
        return ToolResult(f"The conversation goes on with agent {receiver}.")

    async def _delegate(self, team: Team, context: CallContext, arguments: dict[str, Any]) -> ToolResult:
        task = Task(context.call_id, arguments["agent"], arguments["task"])
        pod = context.pod
        with self._changes.listen(pod.session_uid) as listener:
            refused = await self._store.write(lambda work: handoffs.give_task(work, pod, team, task))
            if refused is not None:
                return ToolResult(refused, is_error=True)
            ends_at = time.monotonic() + HOLD_SECONDS
            while (left := ends_at - time.monotonic()) > 0 and not self._changes.is_stopping:
                self._refuse_standing(pod)
                found, is_current = await self._store.read(_look, pod, task.call_id)
                if not is_current:  # whoever joined the wait meanwhile asks again, for itself
                    break
                if found is not None:
                    return ToolResult(*found)
                await listener.wait(min(left, LOOK_SECONDS))
        raise unavailable(f"Agent {task.receiver} is still at work; ask again for the same call.")

    def _refuse_standing(self, pod: PodIdentity) -> None:
        """Let the pod end while its session does not go on: the call is taken up by the next one.

        Raises:
            ProblemError: 412.
        """
        session = self._session_of(pod.session_uid)
        where = f"Session {pod.namespace}/{pod.name}"
        if session is None or session.status.phase in TERMINAL:
            raise ProblemError(RefusalCode.SESSION_FINISHED, f"{where} is over; its pod must end.")
        if session.spec.operating_mode is OperatingMode.CANCELLED or session.status.phase is Phase.CANCELLING:
            raise ProblemError(RefusalCode.SESSION_CANCELLED, f"{where} is cancelled; its pod must end.")
        if session.spec.operating_mode is OperatingMode.PAUSED or session.status.phase is Phase.PAUSING:
            raise ProblemError(RefusalCode.SESSION_PAUSED, f"{where} pauses; its pod must end, and another asks again.")


def _look(conn: Connection, pod: PodIdentity, call_id: str) -> tuple[tuple[str, bool] | None, bool]:
    """Return the call's result, if there is one, and whether the pod still speaks for its agent."""
    known = fences.find_pod(conn, pod.pod_uid)
    found = handoffs.read_result(conn, pod.session_uid, pod.agent, call_id)
    return found, known is not None and known.is_current
