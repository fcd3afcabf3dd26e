"""Calls of tools that the gateway runs: begun, run once, settled, and only then answered.

A call is a task of its own, which goes on to its end whatever becomes of the pod that asked: who asks again joins it,
or is told what was recorded. What a tool cannot do is text for the model; nothing of it is raised.
"""

import asyncio
import json
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from agentsessions.api import wire
from agentsessions.api.kinds import ExternalEffects, Rules, rules_of
from agentsessions.api.names import MAX_TOOL_OUTPUT_BYTES
from agentsessions.api.roles import ROLES
from agentsessions.api.shortened import shorten
from agentsessions.api.tool_arguments import BadArgumentsError, read_arguments
from agentsessions.api.v1alpha1.agent import Agent, Builtin
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.proxy.http_tool import HttpTool
from agentsessions.gateway.proxy.offers import CallContext, Offered, ToolResult, offers_of
from agentsessions.gateway.proxy.patience import until_journaled
from agentsessions.gateway.proxy.role_tools import RoleTools
from agentsessions.gateway.proxy.server_tools import ServerTools
from agentsessions.gateway.proxy.team_tools import TeamTools
from agentsessions.journal import tools as journal_tools
from agentsessions.journal.asked_calls import Maker, Process, claim, read_asked, read_output
from agentsessions.journal.refusals import Refusal, UnknownCall
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.store import Store
from agentsessions.lifecycle.facts import SessionView

log = structlog.get_logger(__name__)

LONGEST_RUN_SECONDS: Final = 660.0
"""Bound for tools that do not keep their own."""
NOT_DONE: Final = (
    "[recorded] This call was written down and not done: a session of type {type} in mode {mode} records what it would "
    "do outside of itself. Go on as if it had been asked for."
)
REFUSED: Final = (
    "[refused] This call was not done: a session of type {type} in mode {mode} may not act outside of itself."
)
LOOK_SECONDS: Final = 1.0
"""Between two looks at what became of a call that another gateway makes."""
Key = tuple[str, str, str]
Begin = Callable[[PodIdentity, wire.ToolBegin, str], Awaitable[wire.ToolVerdict]]
"""Says what becomes of a call, by the host that it asks."""


class Tools:
    """Runs the calls of all sessions."""

    def __init__(
        self, store: Store, begin: Begin, servers: ServerTools, http: HttpTool, together: tuple[TeamTools, RoleTools]
    ) -> None:
        """Run what `begin` says is to be run."""
        self._store = store
        self._begin = begin
        self._process = Process(uuid.uuid4().hex, store.instance)
        self._servers = servers
        self._http = http
        self._team, self._by_role = together
        self._running: dict[Key, asyncio.Task[wire.ToolAnswer]] = {}
        self._turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._is_draining = False

    async def offers(self, session: SessionView, pod: PodIdentity, agent: Agent) -> tuple[Offered, ...]:
        """Return what the agent is offered, the same in each turn of the session.

        Raises:
            ProblemError: 503 when a server that has not been asked before cannot be asked.
            Refusal: The pod does not speak for the agent.
        """
        rules = rules_in(session)
        by_role = self._by_role.offers(session, rules)
        http = [self._http.offer(tool, rules) for tool in agent.tools or () if tool.builtin is Builtin.HTTP]
        own = offers_of(agent, rules, [*http, *await self._servers.offers(pod, agent), *by_role])
        return (*own, *self._team.offers(session, agent))

    async def call(self, session: SessionView, pod: PodIdentity, agent: Agent, asked: wire.ToolCall) -> wire.ToolAnswer:
        """Return what became of a call; it is run unless the journal has its result.

        Raises:
            Refusal: The journal has no such call for this pod.
            ProblemError: 503 while the gateway is stopping.
        """
        key = (pod.session_uid, pod.agent, asked.call_id)
        task = self._running.get(key)
        if task is None:
            if self._is_draining:
                raise unavailable("The gateway is stopping; another one runs the tool.")
            task = asyncio.create_task(self._in_turn(session, pod, agent, asked), name=f"tool {asked.name}")
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def drain(self, seconds: float) -> int:
        """Begin no more calls, wait for those that run; return how many are left."""
        self._is_draining = True
        if running := set(self._running.values()):
            await asyncio.wait(running, timeout=seconds)
        return len(self._running)

    async def close(self) -> None:
        """Break off what is left."""
        left = set(self._running.values())
        for task in left:
            task.cancel()
        for task in left:
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def _in_turn(
        self, session: SessionView, pod: PodIdentity, agent: Agent, asked: wire.ToolCall
    ) -> wire.ToolAnswer:
        """Run the calls of one agent one after the other, whatever its pod asks for at once."""
        whose = (pod.session_uid, pod.agent)
        try:
            async with self._turns[whose]:
                return await self._serve(session, pod, agent, asked)
        finally:
            if sum(key[:2] == whose for key in self._running) <= 1:  # this one; a lock that is waited for stays
                self._turns.pop(whose, None)

    async def _serve(
        self, session: SessionView, pod: PodIdentity, agent: Agent, asked: wire.ToolCall
    ) -> wire.ToolAnswer:
        await self._check(pod, asked)
        offered = {one.offer.name: one for one in await self.offers(session, pod, agent)}.get(asked.name)
        arguments = _parse(asked.arguments)
        effect = effect_of(offered, arguments)
        result = withheld(session, effect)
        if result is not None:
            effect = wire.SideEffect.NONE  # what is not done leaves nobody in doubt
        begin = wire.ToolBegin(call_id=asked.call_id, name=asked.name, arguments=asked.arguments, side_effect=effect)
        said = await self._begin(pod, begin, host_of(offered, arguments))
        if said.verdict is wire.Verdict.RUN and effect is wire.SideEffect.EXTERNAL:
            said = await self._claim(pod, begin)
        if said.verdict is not wire.Verdict.RUN:
            return wire.ToolAnswer(verdict=said.verdict, output=said.output or "")
        started = time.monotonic()
        result = result or await self._run(offered, pod, asked)
        settle = wire.ToolSettle(
            call_id=asked.call_id,
            output=shorten(result.output, MAX_TOOL_OUTPUT_BYTES),
            is_error=result.is_error,
            duration_milliseconds=int((time.monotonic() - started) * 1000),
        )
        await until_journaled(lambda: self._store.settle_tool(pod, settle, is_own=True))
        log.info("tool ran", tool=asked.name, is_error=result.is_error, milliseconds=settle.duration_milliseconds)
        return wire.ToolAnswer(verdict=wire.Verdict.RUN, output=settle.output, is_error=settle.is_error)

    async def _check(self, pod: PodIdentity, asked: wire.ToolCall) -> None:
        """Refuse a call that is not what the model wrote: what is journaled is what is done."""
        wrote = await self._store.read(read_asked, pod.session_uid, pod.agent, asked.call_id)
        if wrote is not None and wrote != asked.arguments:
            raise UnknownCall(f"call {asked.call_id} has other arguments in the model's answer")

    async def _claim(self, pod: PodIdentity, begin: wire.ToolBegin) -> wire.ToolVerdict:
        """Say what becomes of a call with an effect outside: it is ours to make, another one made it, or nobody knows.

        Another gateway that lives is waited for. It journals the result, or it is found dead.
        """
        while True:
            match await self._store.write(lambda work: claim(work, pod, begin.call_id, self._process)):
                case Maker.ME:
                    return wire.ToolVerdict(verdict=wire.Verdict.RUN)
                case Maker.GONE:
                    return await self._store.write(lambda work: journal_tools.doubt(work, pod, begin))
                case Maker.ANOTHER:
                    output = await self._store.read(read_output, pod.session_uid, pod.agent, begin.call_id)
            if output is not None:
                return wire.ToolVerdict(verdict=wire.Verdict.RECORDED, output=output)
            await asyncio.sleep(LOOK_SECONDS)

    async def _run(self, offered: Offered | None, pod: PodIdentity, asked: wire.ToolCall) -> ToolResult:
        if offered is None or offered.run is None:
            return ToolResult(f"there is no tool {asked.name!r} that the gateway runs for this agent", is_error=True)
        try:
            # In a thread: a schema of a stranger may take its time.
            arguments = await asyncio.to_thread(read_arguments, asked.name, offered.offer.parameters, asked.arguments)
            async with asyncio.timeout(LONGEST_RUN_SECONDS):
                return await offered.run(CallContext(pod, asked.call_id), arguments)
        except BadArgumentsError as error:
            return ToolResult(str(error), is_error=True)
        except (ProblemError, Refusal):  # nothing was done: the pod asks again, or must end
            raise
        except TimeoutError:
            return ToolResult(f"{asked.name}: stopped after {LONGEST_RUN_SECONDS:.0f} s", is_error=True)
        except Exception as error:  # a tool's bug must not end the session; the model and the log get to know it
            log.exception("tool failed", tool=asked.name)
            return ToolResult(f"{asked.name}: {type(error).__name__}", is_error=True)


def rules_in(session: SessionView) -> Rules:
    """Return what a session may do by its type, mode and role."""
    return rules_of(session.spec.type, session.spec.mode).and_(ROLES[session.spec.role])


def effect_of(offered: Offered | None, arguments: dict[str, Any] | None) -> wire.SideEffect:
    """Return how far a call's effect reaches; nothing is done for a tool that is not on offer."""
    if offered is None:
        return wire.SideEffect.NONE
    if offered.side_effect_of is None:
        return offered.offer.side_effect
    return wire.SideEffect.NONE if arguments is None else offered.side_effect_of(arguments)


def host_of(offered: Offered | None, arguments: dict[str, Any] | None) -> str:
    """Return the host that a call asks; empty when it asks none, or is no call at all."""
    return "" if offered is None or offered.host_of is None or arguments is None else offered.host_of(arguments)


def _parse(arguments: str) -> dict[str, Any] | None:
    """Return a call's arguments; None where they are no JSON object."""
    with suppress(ValueError, RecursionError):
        parsed = json.loads(arguments)
        return parsed if isinstance(parsed, dict) else None
    return None


def withheld(session: SessionView, effect: wire.SideEffect) -> ToolResult | None:
    """Return what is answered for an effect that the session's type or mode does not let happen; None: do it."""
    if effect is not wire.SideEffect.EXTERNAL:
        return None
    words = {"type": session.spec.type.value, "mode": session.spec.mode.value}
    match rules_in(session).external:
        case ExternalEffects.DO:
            return None
        case ExternalEffects.RECORD:
            return ToolResult(NOT_DONE.format(**words))
        case ExternalEffects.REFUSE:
            return ToolResult(REFUSED.format(**words), is_error=True)
