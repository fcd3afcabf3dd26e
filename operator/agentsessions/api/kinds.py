"""What a session's type and mode mean: one table, data only."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from agentsessions.api.v1alpha1.agent import Builtin
from agentsessions.api.v1alpha1.session import SessionMode, SessionType


class ToolClass(StrEnum):
    """What a tool can do, at most. The gateway offers and lets through only tools of an allowed class."""

    QUERY = "query"
    """Reads the session's own data sources."""
    READ = "read"
    """Reads files of the workspace, and tools of servers that are declared free of side effects."""
    WRITE = "write"
    """Writes files of the workspace."""
    EXECUTE = "execute"
    """Runs programs in the agent's pod."""
    EXTERNAL = "external"
    """Acts, or may act, on something outside of the session."""


class ExternalEffects(StrEnum):
    """What becomes of a call whose effect reaches outside of the session."""

    DO = "do"
    RECORD = "record"
    """It is written to the journal as wanted, and answered as not done."""
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a session may do by its type or mode."""

    classes: frozenset[ToolClass] = frozenset(ToolClass)
    external: ExternalEffects = ExternalEffects.DO
    tool_rounds: int | None = None
    """Answers with tool calls after a message of a person; then the agent is offered no tools. None: any number."""
    is_sealed: bool = False
    """Whether the journal is verified and sealed with the last answer, before the session is Completed."""
    max_steps: int | None = None
    """Default of limits.maxSteps; None: the product's."""
    brief: tuple[str, ...] = ()
    """Told to each agent after its own instructions."""

    def and_(self, other: "Rules") -> "Rules":
        """Return what both allow."""
        order = list(ExternalEffects)
        return Rules(
            self.classes & other.classes,
            max(self.external, other.external, key=order.index),
            tool_rounds=_least(self.tool_rounds, other.tool_rounds),
            is_sealed=self.is_sealed or other.is_sealed,
            max_steps=_least(self.max_steps, other.max_steps),
            brief=self.brief + other.brief,
        )

    @property
    def holds_back(self) -> bool:
        """Whether there is any class of tools that it does not allow."""
        return self.classes != frozenset(ToolClass)


def _least(one: int | None, other: int | None) -> int | None:
    return min((number for number in (one, other) if number is not None), default=None)


READ_ONLY: Final = frozenset({ToolClass.QUERY, ToolClass.READ})

TYPES: Final[Mapping[SessionType, Rules]] = MappingProxyType({
    SessionType.CUSTOM: Rules(),
    SessionType.METRICS: Rules(),
    SessionType.SIMULATION: Rules(
        external=ExternalEffects.RECORD,
        brief=("This is a simulation: what reaches outside of the session is recorded, and not done.",),
    ),
    SessionType.AUDIT: Rules(
        READ_ONLY,
        ExternalEffects.REFUSE,
        is_sealed=True,
        brief=("This is an audit: you read and report, and change nothing.",),
    ),
})  # fmt: skip
MODES: Final[Mapping[SessionMode, Rules]] = MappingProxyType({
    SessionMode.FULL_AUTONOMY: Rules(),
    SessionMode.ANALYSIS: Rules(READ_ONLY, ExternalEffects.REFUSE),
    SessionMode.QUERY: Rules(
        frozenset({ToolClass.QUERY}),
        ExternalEffects.REFUSE,
        tool_rounds=1,
        max_steps=4,
        brief=("You may query the data sources once, with as many queries as you need in one answer; then answer.",),
    ),
    SessionMode.SCRIPT: Rules(
        READ_ONLY,
        ExternalEffects.REFUSE,
        brief=("Your last answer is a script, and nothing else. It is not run.",),
    ),
})  # fmt: skip
BUILTINS: Final[Mapping[Builtin, frozenset[ToolClass]]] = MappingProxyType({
    Builtin.SHELL: frozenset({ToolClass.EXECUTE}),
    Builtin.FILES: frozenset({ToolClass.READ, ToolClass.WRITE}),
    Builtin.SQL: frozenset({ToolClass.QUERY}),
    Builtin.HTTP: frozenset({ToolClass.READ, ToolClass.EXTERNAL}),
})  # fmt: skip
"""What each built-in tool does; Http reads with GET and HEAD. Where only some is allowed, that part is offered."""


def rules_of(kind: SessionType, mode: SessionMode) -> Rules:
    """Return what sessions of a type and mode may do: what both allow."""
    return TYPES[kind].and_(MODES[mode])
