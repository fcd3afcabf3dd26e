"""Sessions whose spec this version cannot read: the CRD is newer, or older, than the operator."""

from datetime import datetime

from agentsessions.api.reasons import ConditionType, Reason
from agentsessions.api.v1alpha1.status import Condition, SessionStatus


def skew_message(problem: str) -> str:
    """Say what is wrong with a spec that does not parse."""
    return f"spec is not what this version of the operator understands ({problem}): upgrade it, or change the session"[
        :1024
    ]


def mark_unreadable(status: SessionStatus, problem: str, now: datetime) -> SessionStatus:
    """Return the status with Accepted=False and all else as it is: what runs is left alone."""
    before = status.conditions or []
    old = next((condition for condition in before if condition.type == ConditionType.ACCEPTED), None)
    is_same = old is not None and old.status == "False"
    condition = Condition(
        type=ConditionType.ACCEPTED,
        status="False",
        reason=Reason.INVALID_SPEC,
        message=skew_message(problem),
        last_transition_time=old.last_transition_time if old and is_same else now.replace(microsecond=0),
    )
    others = [other for other in before if other.type != ConditionType.ACCEPTED]
    return status.model_copy(update={"conditions": [*others, condition]})
