"""Which tools an agent is offered, and who runs them. The same for every turn of the session."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from agentsessions.api import wire
from agentsessions.api.kinds import Rules, ToolClass
from agentsessions.api.v1alpha1.agent import Agent, Builtin
from agentsessions.journal.rows import PodIdentity


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call came to."""

    output: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class CallContext:
    """Whose call is run."""

    pod: PodIdentity
    call_id: str


RunCall = Callable[[CallContext, dict[str, Any]], Awaitable[ToolResult]]
"""Runs a call whose arguments fit the offer's schema. What it raises is our bug; a tool's failure is a result."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool on offer."""

    offer: wire.ToolOffer
    tool_class: ToolClass
    run: RunCall | None = None
    """How the gateway runs it; None for the runner's own tools."""
    side_effect_of: Callable[[Mapping[str, Any]], wire.SideEffect] | None = None
    """How far the effect of a call with these arguments reaches, where that depends on them."""
    host_of: Callable[[Mapping[str, Any]], str] | None = None
    """Host that a call with these arguments asks."""


RUN_BY_RUNNER: Final[Mapping[Builtin, Offered]] = MappingProxyType({
    Builtin.SHELL: Offered(
        wire.ToolOffer(name="shell", builtin=Builtin.SHELL, side_effect=wire.SideEffect.INTERNAL), ToolClass.EXECUTE
    ),
    Builtin.FILES: Offered(
        wire.ToolOffer(name="files", builtin=Builtin.FILES, side_effect=wire.SideEffect.INTERNAL), ToolClass.WRITE
    ),
    Builtin.SQL: Offered(
        wire.ToolOffer(name="sql", builtin=Builtin.SQL, side_effect=wire.SideEffect.NONE), ToolClass.QUERY
    ),
})  # fmt: skip
"""Tools of the runner. Their description and parameters are its own."""
READING_PART: Final[Mapping[Builtin, Offered]] = MappingProxyType({
    Builtin.FILES: Offered(
        wire.ToolOffer(
            name="files", builtin=Builtin.FILES, side_effect=wire.SideEffect.NONE, is_read_only=True
        ),
        ToolClass.READ,
    ),
})  # fmt: skip
"""What is offered of a tool where all of it is not allowed."""
_SENT: Final = "sent_"
"""How ids of calls begin that people sent together with their result."""


def offers_of(agent: Agent, rules: Rules, proxied: Iterable[Offered] = ()) -> tuple[Offered, ...]:
    """Return the tools that an agent is offered: those of its own that the session's rules allow.

    Args:
        agent: After defaults.
        rules: Of the session's type and mode.
        proxied: Tools that the gateway runs for this agent, in their order.
    """
    named = [tool.builtin for tool in agent.tools or () if tool.builtin and tool.builtin in RUN_BY_RUNNER]
    wholes = [RUN_BY_RUNNER[name] for name in named]
    own = [
        whole if whole.tool_class in rules.classes else READING_PART.get(name, whole)
        for name, whole in zip(named, wholes, strict=True)
    ]
    by_name: dict[str, Offered] = {}
    for offered in (*own, *proxied):
        if offered.tool_class in rules.classes:
            by_name.setdefault(offered.offer.name, offered)
    return tuple(by_name.values())


def are_spent(rules: Rules, history: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether an agent has had all the rounds of tools that it may have after a message of a person."""
    if rules.tool_rounds is None:
        return False
    rounds, was_call = 0, False
    for item in history:
        is_call = item.get("type") == "function_call" and not str(item["call_id"]).startswith(_SENT)
        if item.get("role") == "user":
            rounds = 0
        elif is_call and not was_call:
            rounds += 1
        was_call = is_call
    return rounds >= rules.tool_rounds
