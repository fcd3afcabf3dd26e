"""SessionQuota: how many sessions a namespace may run, how fast, and for how much a day; and its emergency stop."""

from typing import Annotated, Final

from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.status import Condition, Count

SHOWN_WAITING: Final = 10
"""Names of waiting sessions in status."""


class SessionQuotaSpec(ApiModel):
    """Limits of a namespace. Each is optional; of several quotas each must be satisfied."""

    max_concurrent_sessions: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Sessions that hold a pod at the same time. When no quota of the namespace says it, the operator's default holds
    (100)."""
    max_starts_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Sessions that start for the first time within 60 seconds."""
    max_tokens_per_day: Annotated[int, Field(ge=1, le=10**15)] | None = None
    """Input plus output tokens of a UTC day. Once they are used nothing starts; what runs goes on."""
    max_cost_micro_usd_per_day: Annotated[int, Field(ge=1, le=10**15)] | None = Field(
        default=None, alias="maxCostMicroUSDPerDay"
    )
    """Cost of a UTC day in millionths of a US dollar. Once it is reached nothing starts; what runs goes on."""
    hold: bool | None = None
    """Emergency stop: while it is true everything in the namespace is paused, and nothing starts."""
    hold_reason: Annotated[str, Field(max_length=256)] | None = None
    """Why it is held, for people: sessions show it."""


class SessionQuotaStatus(ApiModel):
    """Live use of the namespace, at most seconds old."""

    observed_generation: int | None = None
    """Generation of the spec that the conditions speak of."""
    conditions: Annotated[list[Condition], Field(max_length=8)] | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Ready: it is in force, and what it needs to know is known."""
    active: Count | None = None
    """Sessions that hold a place: starting, running, being paused or cancelled, or with a pod that still runs."""
    queued: Count | None = None
    """Sessions that wait for a place."""
    queue: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=SHOWN_WAITING)] | None = None
    """Names of the first ten that wait, in their order."""
    started_last_minute: Count | None = None
    """Sessions that started for the first time within the last 60 seconds."""
    tokens_today: Count | None = None
    """Input plus output tokens since midnight UTC, as last heard of the gateway."""
    cost_micro_usd_today: Count | None = Field(default=None, alias="costMicroUSDToday")
    """Cost since midnight UTC in millionths of a US dollar, as last heard of the gateway."""


class SessionQuota(ApiModel):
    """What the sessions of a namespace may use together."""

    spec: SessionQuotaSpec
    """The limits."""
    status: SessionQuotaStatus | None = None
    """What is used of them."""
