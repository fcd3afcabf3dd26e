"""Figures: of one session, of all that are there, and over a period."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.gateway import paths
from agentsessions.gateway.health import HealthAnswer, PerformanceAnswer, to_health, to_performance
from agentsessions.gateway.lookup import SessionId, TheGateway, TheNamespace, TheNamespaces, TheUser, find_session
from agentsessions.gateway.pod_usage import fetch_pod_usage
from agentsessions.gateway.routes.lists import which, within
from agentsessions.journal.session_query import SessionQuery
from agentsessions.journal.stats import read_aggregates, read_performance, read_totals
from agentsessions.journal.store import utc_now

UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

router = APIRouter(tags=["figures"])


class StatsAnswer(ApiModel):
    """Sessions that are there now."""

    total: int
    """How many."""
    by_type: dict[str, int]
    """How many of each type."""
    by_role: dict[str, int]
    """How many of each role."""
    by_phase: dict[str, int]
    """How many in each phase."""
    average_uptime_seconds: float | None = None
    """From a session's first pod to its end, or until now; null when none has run."""
    processed_tasks: int
    """Turns that ended with a text."""


class MetricsAnswer(ApiModel):
    """Sessions that were created in a period, deleted ones too."""

    period: str
    """The period."""
    sessions: int
    """How many were created."""
    finished: int
    """How many of them are in a final phase."""
    average_duration_milliseconds: float | None = None
    """Of the finished ones, from first pod to end; null when there is none."""
    success_rate: float | None = None
    """Completed ones of the finished ones, 0 to 1; null when there is none."""
    input_tokens: int
    """Tokens sent to models."""
    output_tokens: int
    """Tokens that models answered."""
    total_tokens: int
    """Both."""
    cost_micro_usd: int = Field(alias="costMicroUSD")
    """Cost in millionths of a US dollar."""


@router.get(f"{paths.SESSIONS}/{{session}}/health")
async def get_health(gateway: TheGateway, user: TheUser, namespace: TheNamespace, session: SessionId) -> HealthAnswer:
    """Say how a session fares, and why (needs `get` on `agentsessions`)."""
    row = await find_session(gateway, user, session, namespace)
    view = gateway.session(row.uid)
    found = await gateway.store.read(read_performance, row.uid)
    return to_health(row, view, found, await fetch_pod_usage(gateway.client, view), utc_now())


@router.get(f"{paths.SESSIONS}/{{session}}/metrics")
async def get_performance(
    gateway: TheGateway, user: TheUser, namespace: TheNamespace, session: SessionId
) -> PerformanceAnswer:
    """Say what a session achieved, and how fast (needs `get` on `agentsessions`)."""
    row = await find_session(gateway, user, session, namespace)
    found = await gateway.store.read(read_performance, row.uid)
    pods = await fetch_pod_usage(gateway.client, gateway.session(row.uid))
    return to_performance(row, found, pods, utc_now())


@router.get(paths.STATS)
async def get_stats(
    gateway: TheGateway, user: TheUser, namespace: TheNamespaces, asked: Annotated[SessionQuery, Depends(which)]
) -> StatsAnswer:
    """Count the sessions that are there, in a namespace or with `*` in all (needs `list` on `agentsessions`)."""
    query = await within(gateway, user, namespace, asked)
    found = await gateway.store.read(read_totals, query, utc_now())
    average = found.average_uptime_seconds
    return StatsAnswer(
        total=found.total,
        by_type=found.by_type,
        by_role=found.by_role,
        by_phase=found.by_phase,
        average_uptime_seconds=None if average is None else round(average, 3),
        processed_tasks=found.processed_tasks,
    )


@router.get(paths.METRICS)
async def get_metrics(
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespaces,
    asked: Annotated[SessionQuery, Depends(which)],
    period: Annotated[str, Query(pattern="^[1-9][0-9]{0,3}[mhdw]$", description="Such as 30m, 24h, 7d, 4w.")] = "7d",
) -> MetricsAnswer:
    """Sum up the sessions of a period, in a namespace or with `*` in all (needs `list` on `agentsessions`)."""
    query = await within(gateway, user, namespace, replace(asked, include_deleted=True))
    found = await gateway.store.read(read_aggregates, query, utc_now() - to_span(period))
    average = found.average_duration_seconds
    return MetricsAnswer(
        period=period,
        sessions=found.sessions,
        finished=found.finished,
        average_duration_milliseconds=None if average is None else round(average * 1000, 1),
        success_rate=round(found.completed / found.finished, 4) if found.finished else None,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        total_tokens=found.input_tokens + found.output_tokens,
        cost_micro_usd=found.cost_micro_usd,
    )


def to_span(period: str) -> timedelta:
    """Return how long a period such as `7d` is."""
    return int(period[:-1]) * UNITS[period[-1]]
