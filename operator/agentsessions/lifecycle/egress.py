"""What is told when a session's pod was seen to reach what the agents' NetworkPolicy forbids."""

from typing import Final

from agentsessions.api.names import NETWORK_POLICY
from agentsessions.api.reasons import ConditionType, Reason
from agentsessions.api.v1alpha1.status import Condition
from agentsessions.lifecycle.conditions import build_condition
from agentsessions.lifecycle.situation import Situation

KIND: Final = ConditionType.EGRESS_OPEN
OPEN: Final = (
    "an agent's pod connected to the API server (Service kubernetes in namespace default), which NetworkPolicy "
    f"{NETWORK_POLICY} forbids: agents may reach whatever other pods reach. Use a network plugin that enforces "
    "NetworkPolicy; `kubectl agentsession doctor --probe` tells whether yours does, docs/egress.md what else it may be"
)


def egress_conditions(case: Situation, *, is_moving: bool) -> list[Condition]:
    """Return the condition that tells it, or none.

    Args:
        case: The session.
        is_moving: Whether its status is written anyway: it is for nothing of this.
    """
    before = case.status.conditions or []
    is_shown = any(one.type == KIND for one in before)
    if not (_is_open(case, is_shown=is_shown) if is_moving else is_shown):
        return []
    reason = Reason.API_SERVER_REACHED
    return [build_condition(KIND, before, case.now, is_true=True, reason=reason, message=OPEN, generation=None)]


def _is_open(case: Situation, *, is_shown: bool) -> bool:
    """Return what is known now; what was seen holds until an epoch has ended whose pod did not see it."""
    level = case.level
    if level is None:
        return is_shown
    has_ended = level.closing is not None or any(agent.closing is not None for agent in level.agents)
    return level.is_egress_open or (is_shown and not has_ended)
