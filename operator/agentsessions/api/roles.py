"""What a session's role lets its agents use, besides its type and mode. Data only."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agentsessions.api.kinds import ExternalEffects, Rules, ToolClass
from agentsessions.api.v1alpha1.role import SessionRole

ROLES: Final[Mapping[SessionRole, Rules]] = MappingProxyType({
    SessionRole.DIRECTOR: Rules(),
    SessionRole.DEPARTMENT: Rules(),
    SessionRole.OBSERVER: Rules(frozenset({ToolClass.QUERY, ToolClass.READ}), ExternalEffects.REFUSE),
    SessionRole.WORKER: Rules(),
})  # fmt: skip
"""An observer reads, and never writes."""
