"""Health and performance of one session: from its status, its journal and its pods. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from agentsessions.api.model import ApiModel
from agentsessions.api.reasons import ConditionType, Phase
from agentsessions.gateway.pod_usage import PodUsage
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.stats import Performance
from agentsessions.lifecycle.facts import SessionView

FEW_ERRORS: Final = 0.1
MANY_ERRORS: Final = 0.5
LONG_QUEUE: Final = 10


class Health(StrEnum):
    """How a session fares."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Resources(ApiModel):
    """What the pods of a session use now."""

    memory_bytes: int | None = None
    """Null where it is not known."""
    cpu_cores: float | None = None
    """Null where it is not known."""
    resources_reason: str | None = None
    """Why memory and CPU are not known."""


class HealthAnswer(Resources):
    """How a session fares."""

    status: Health
    """healthy, degraded or unhealthy."""
    reasons: list[str]
    """One sentence for each thing that is not well."""
    uptime_seconds: int
    """From its first pod to its end, or until now."""
    last_activity: datetime | None = None
    """When the newest journal entry was written (UTC)."""
    message_queue: int
    """Messages that no turn has taken."""
    error_rate: float
    """Model calls and tool results that failed, of all; 0 to 1."""


class PerformanceAnswer(Resources):
    """What a session achieved."""

    messages_processed: int
    """Turns that ended with a text."""
    average_response_milliseconds: float | None = None
    """Of model answers; null before the first."""
    error_rate: float
    """Model calls and tool results that failed, of all; 0 to 1."""
    throughput_per_second: float
    """Messages processed for each second of uptime."""
    steps: int
    """Model answers bought."""
    tool_calls: int
    """Tool calls in the models' answers."""
    input_tokens: int
    """Tokens sent to models."""
    output_tokens: int
    """Tokens that models answered."""
    duration_milliseconds: int
    """From its first pod to its end, or until now."""


def to_health(
    row: SessionRow, view: SessionView | None, found: Performance, pods: PodUsage, now: datetime
) -> HealthAnswer:
    """Return how a session fares.

    Args:
        row: The session.
        view: The same as the cluster shows it; None once it was deleted.
        found: What its calls came to.
        pods: What its pods use.
        now: The time.
    """
    bad, poor = _bad(row, view, found), _poor(row, view, found)
    status = Health.UNHEALTHY if bad else Health.DEGRADED if poor else Health.HEALTHY
    return HealthAnswer(
        status=status,
        reasons=[*bad, *poor],
        uptime_seconds=int(_uptime_seconds(row, now)),
        last_activity=row.last_at,
        message_queue=found.queued,
        error_rate=_error_rate(found),
        memory_bytes=pods.memory_bytes,
        cpu_cores=pods.cpu_cores,
        resources_reason=pods.reason,
    )


def to_performance(row: SessionRow, found: Performance, pods: PodUsage, now: datetime) -> PerformanceAnswer:
    """Return what a session achieved."""
    seconds, average = _uptime_seconds(row, now), found.average_response_milliseconds
    return PerformanceAnswer(
        messages_processed=found.processed,
        average_response_milliseconds=None if average is None else round(average, 1),
        error_rate=_error_rate(found),
        throughput_per_second=round(found.processed / seconds, 6) if seconds else 0.0,
        steps=row.usage.steps,
        tool_calls=row.usage.tool_calls,
        input_tokens=row.usage.input_tokens,
        output_tokens=row.usage.output_tokens,
        duration_milliseconds=int(seconds * 1000),
        memory_bytes=pods.memory_bytes,
        cpu_cores=pods.cpu_cores,
        resources_reason=pods.reason,
    )


def _bad(row: SessionRow, view: SessionView | None, found: Performance) -> list[str]:
    reasons = []
    if row.phase in {Phase.FAILED, Phase.EXPIRED}:
        reasons.append(f"the session is {row.phase}: {row.message or row.stop_reason or row.reason}")
    stalled = [one for one in (view.status.conditions if view else None) or () if one.type == ConditionType.STALLED]
    if row.phase is not Phase.FAILED:
        reasons += [f"the session is stuck: {one.message}" for one in stalled if one.status == "True"]
    if _error_rate(found) >= MANY_ERRORS:
        reasons.append(f"{found.errors} of {found.calls} calls failed")
    return reasons


def _poor(row: SessionRow, view: SessionView | None, found: Performance) -> list[str]:
    reasons = []
    if row.phase is Phase.WAITING:
        reasons.append(f"the session waits for somebody: {row.message}")
    if view is not None and view.status.next_retry_at is not None:
        reasons.append(f"the agent failed; it is tried again at {view.status.next_retry_at:%H:%M:%S} UTC")
    if row.usage.limit_reached is not None:
        reasons.append(f"limit {row.usage.limit_reached} is reached")
    if found.queued > LONG_QUEUE:
        reasons.append(f"{found.queued} messages wait")
    if FEW_ERRORS <= _error_rate(found) < MANY_ERRORS:
        reasons.append(f"{found.errors} of {found.calls} calls failed")
    return reasons


def _error_rate(found: Performance) -> float:
    return round(found.errors / found.calls, 4) if found.calls else 0.0


def _uptime_seconds(row: SessionRow, now: datetime) -> float:
    if row.started_at is None:
        return 0.0
    return max(0.0, ((row.finished_at or row.deleted_at or now) - row.started_at).total_seconds())
