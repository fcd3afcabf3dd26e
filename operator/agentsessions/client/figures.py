"""Figures that the gateway answers, as values: see `values` for what holds of all."""

from dataclasses import dataclass, field
from datetime import datetime

from agentsessions.client.values import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Sessions that are there now."""

    total: int
    by_type: dict[str, int]
    by_role: dict[str, int]
    by_phase: dict[str, int]
    average_uptime_seconds: float | None = None
    processed_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Sessions that were created in a period."""

    period: str
    sessions: int
    finished: int
    average_duration_milliseconds: float | None = None
    success_rate: float | None = None
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost_micro_usd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a session fares."""

    status: str
    reasons: list[str]
    uptime_seconds: int
    last_activity: datetime | None = None
    message_queue: int
    error_rate: float
    memory_bytes: int | None = None
    cpu_cores: float | None = None
    resources_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What a session achieved, and how fast."""

    messages_processed: int
    average_response_milliseconds: float | None = None
    error_rate: float
    throughput_per_second: float
    steps: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    duration_milliseconds: int
    memory_bytes: int | None = None
    cpu_cores: float | None = None
    resources_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One session's part at one place."""

    seq: int
    type: str
    name: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What two sessions have at one place."""

    agent: str
    step: int
    index: int
    difference: str
    round: int | None = None
    fields: list[str] = field(default_factory=list)
    left: Side | None = None
    right: Side | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many places are how."""

    same: int = 0
    changed: int = 0
    only_left: int = 0
    only_right: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One of two sessions that were compared."""

    uid: str
    namespace: str
    name: str
    phase: str
    usage: Usage
    duration_milliseconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sessions side by side."""

    left: Compared
    right: Compared
    summary: Counts
    is_same: bool
    items: list[Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A session that was imported."""

    uid: str
    namespace: str
    name: str
    head: int
