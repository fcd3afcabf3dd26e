"""SessionQuotas: live use told in their status, and the times at which waiting sessions may go on.

A pass over a quota wakes who can start now, so the clock alone lets sessions in: when starts of the last minute cease
to count. The status follows at most once every few seconds, and never without a change.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from agentsessions.api.reasons import ConditionType, Reason
from agentsessions.api.v1alpha1.quota import SHOWN_WAITING, SessionQuotaStatus
from agentsessions.api.v1alpha1.status import Condition
from agentsessions.controller.admissions import Admissions, Usage
from agentsessions.controller.kinds import SESSION_QUOTAS
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.patches import merge_diff
from agentsessions.controller.store import Key, Quotas
from agentsessions.controller.views import QuotaRecord
from agentsessions.engine.client import Client
from agentsessions.lifecycle.conditions import build_condition
from agentsessions.lifecycle.quotas import find_hold, needs_usage

WRITE_PAUSE: Final = timedelta(seconds=3)
"""Shortest time between two writes of one status, unless its spec changed."""

log = structlog.get_logger(__name__)


def ready_condition(quota: QuotaRecord, usage: Usage, now: datetime) -> Condition:
    """Return the condition Ready that the quota should have at `now` (aware UTC)."""
    is_ready, reason, message = _judge(quota, usage)
    return build_condition(
        ConditionType.READY,
        quota.status.conditions,
        now,
        is_true=is_ready,
        reason=reason,
        message=message,
        generation=quota.generation,
    )


def build_status(quota: QuotaRecord, usage: Usage, now: datetime) -> SessionQuotaStatus:
    """Return the status that the quota should have. What is not known now stays as it was last heard."""
    spent, old = usage.spent, quota.status
    return SessionQuotaStatus(
        observed_generation=quota.generation,
        conditions=[ready_condition(quota, usage, now)],
        active=usage.active,
        queued=usage.queued,
        queue=list(usage.queue),
        started_last_minute=usage.started,
        tokens_today=spent.tokens if spent else old.tokens_today,
        cost_micro_usd_today=spent.cost_micro_usd if spent else old.cost_micro_usd_today,
    )


class QuotaReconciler:
    """Writes the status of SessionQuotas, and wakes sessions when time lets them in."""

    def __init__(
        self,
        client: Client,
        quotas: Quotas,
        admissions: Admissions,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._quotas = quotas
        self._admissions = admissions
        self._metrics = metrics
        self._clock = clock
        self._written: dict[str, tuple[datetime, int]] = {}  # uid -> when, and for which generation

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a quota that is gone."""
        self._written.pop(uid, None)

    async def reconcile(self, key: Key) -> datetime | None:
        """Wake who can start, and say in the quota's status what is used; return when to look again.

        Raises:
            ApiError: The status could not be written.
        """
        quota = self._quotas.get(key)
        if quota is None:
            return None
        self._admissions.rouse(quota.namespace)
        usage, now = self._admissions.usage_of(quota.namespace, shown=SHOWN_WAITING), self._clock()
        patch = merge_diff(quota.status.to_json(), build_status(quota, usage, now).to_json())
        if not patch:
            return usage.next_at
        may_write_at = self._may_write_at(quota, now)
        if now < may_write_at:
            return min(may_write_at, usage.next_at or may_write_at)
        await self._write(quota, patch)
        return usage.next_at

    def _may_write_at(self, quota: QuotaRecord, now: datetime) -> datetime:
        written_at, generation = self._written.get(quota.uid, (None, 0))
        if written_at is None or generation != quota.generation:
            return now
        return written_at + WRITE_PAUSE

    async def _write(self, quota: QuotaRecord, patch: dict[str, object]) -> None:
        body = {"metadata": {"resourceVersion": quota.resource_version}, "status": patch}
        self._written[quota.uid] = self._clock(), quota.generation
        answer = await self._client.merge_patch(SESSION_QUOTAS, quota.namespace, quota.name, body, subresource="status")
        self._quotas.put(answer)
        self._metrics.writes.labels("quota_status").inc()


def _judge(quota: QuotaRecord, usage: Usage) -> tuple[bool, Reason, str]:
    """Return whether the quota is in force as it should, why, and in which words."""
    spec = quota.spec
    if spec is None:
        words = f"spec is not what this version understands, so nothing starts: {quota.problem}"
        return False, Reason.INVALID_SPEC, words
    if spec.hold:
        return True, Reason.NAMESPACE_HELD, find_hold([quota.view])
    if needs_usage(spec) and usage.spent is None:
        words = "the gateway, which counts tokens and cost, cannot be reached: nothing starts until it can"
        return False, Reason.USAGE_UNKNOWN, words
    return True, Reason.ACCEPTED, "it is in force"
