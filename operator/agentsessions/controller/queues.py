"""The queues of all namespaces, put together: their quotas, what they use, who waits, and who is let in."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Final

from agentsessions.api.spending import Spent
from agentsessions.controller.admissions import Admissions
from agentsessions.controller.kinds import SESSION_QUOTAS
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.passes import Passes
from agentsessions.controller.pods import Pods
from agentsessions.controller.quotas import QuotaReconciler
from agentsessions.controller.spending import Spending
from agentsessions.controller.store import Key, Quotas, Sessions
from agentsessions.controller.views import QuotaRecord
from agentsessions.controller.watched import Watched
from agentsessions.engine.client import Client
from agentsessions.engine.queue import KeyedQueue

QUOTA_WORKERS: Final = 2
LOOK_SECONDS: Final = 0.5
"""Changes of a namespace's use within this time are one look at its quotas."""


class Queues:
    """SessionQuotas and the places that they give."""

    def __init__(
        self,
        client: Client,
        sessions: Sessions,
        pods: Pods,
        fetch_spent: Callable[[Collection[str]], Awaitable[Mapping[str, Spent]]],
        metrics: Metrics,
        *,
        default_concurrent: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._store, self._queue = Quotas(), KeyedQueue()
        self.quotas = Watched(
            client, SESSION_QUOTAS, self._store, on_change=self._note_quota, on_gone=self._forget_quota
        )
        """The stream of the kind."""
        self._spending = Spending(fetch_spent, self._store.namespaces, clock=clock)
        self.admissions = Admissions(
            sessions,
            pods,
            self._store,
            spent=self._spending.get,
            default_concurrent=default_concurrent,
            clock=clock,
        )
        """Who may start."""
        self._reconciler = QuotaReconciler(client, self._store, self.admissions, metrics, clock=clock)
        self._passes = Passes(self._queue, self._reconciler.reconcile, self.quotas.refresh, metrics, clock=clock)
        self.admissions.on_change = self._mark
        self._spending.on_change = self._note_spending

    async def run(self) -> None:
        """Tell what is used, and let in whom time and spending let in, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._spending.run(), name="spending")
            group.create_task(self._queue.work(self._passes.run, QUOTA_WORKERS))

    def _note_quota(self, key: Key) -> None:
        namespace = key.partition("/")[0]
        self.admissions.note_quotas(namespace)
        if self._spending.get(namespace) is None:
            self._spending.want()
        self._queue.add(key)

    def _forget_quota(self, key: Key, record: QuotaRecord) -> None:
        self._passes.forget(key)
        self._reconciler.forget(record.uid)
        self.admissions.note_quotas(record.namespace)

    def _note_spending(self, namespace: str, is_turn: bool) -> None:
        """Look at the quotas; tell all that wait when the spending was, or became, unknown."""
        if is_turn:
            self.admissions.rouse_all(namespace)
        self._mark(namespace)

    def _mark(self, namespace: str) -> None:
        """Look at the quotas of a namespace soon."""
        for key in self._store.keys_of(namespace):
            self._queue.add_after(key, LOOK_SECONDS)
