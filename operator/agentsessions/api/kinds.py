"""What a session's type and mode mean: one table, data only."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

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

    def and_(self, other: "Rules") -> "Rules":
        """Return what both allow."""
        order = list(ExternalEffects)
        return Rules(self.classes & other.classes, max(self.external, other.external, key=order.index))


READ_ONLY: Final = frozenset({ToolClass.QUERY, ToolClass.READ})

TYPES: Final[Mapping[SessionType, Rules]] = MappingProxyType({
    SessionType.CUSTOM: Rules(),
    SessionType.METRICS: Rules(),
    SessionType.POLICY: Rules(READ_ONLY, ExternalEffects.REFUSE),
})  # fmt: skip
MODES: Final[Mapping[SessionMode, Rules]] = MappingProxyType({
    SessionMode.FULL_AUTONOMY: Rules(),
})  # fmt: skip


def rules_of(kind: SessionType, mode: SessionMode) -> Rules:
    """Return what sessions of a type and mode may do: what both allow."""
    return TYPES[kind].and_(MODES[mode])
