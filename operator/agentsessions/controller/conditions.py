"""Conditions of objects that only the operator judges."""

from collections.abc import Sequence
from datetime import datetime

from agentsessions.api.reasons import ConditionType, Reason
from agentsessions.api.v1alpha1.status import Condition


def build_condition(
    kind: ConditionType,
    before: Sequence[Condition],
    *,
    problem: str,
    reason: Reason,
    generation: int,
    now: datetime,
) -> Condition:
    """Return a condition that is true when there is no problem; its time moves only when its status does."""
    known = next((one for one in before if one.type == kind), None)
    wanted = Condition(
        type=kind,
        status="False" if problem else "True",
        reason=reason if problem else Reason.ACCEPTED,
        message=problem[:1024],
        last_transition_time=now.replace(microsecond=0),
        observed_generation=generation,
    )
    if known is not None and known.status == wanted.status:
        return wanted.model_copy(update={"last_transition_time": known.last_transition_time})
    return wanted
