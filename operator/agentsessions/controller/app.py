"""The operator's parts, put together, and what runs beside kopf."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog

from agentsessions.controller.accept import Acceptor
from agentsessions.controller.apply import Children
from agentsessions.controller.authority import Authority
from agentsessions.controller.child_sessions import ChildSessions
from agentsessions.controller.clock import SteadyClock
from agentsessions.controller.events import Events
from agentsessions.controller.gateway_service import GatewayService
from agentsessions.controller.governance import Governance
from agentsessions.controller.kinds import AGENT_SESSIONS, MODEL_PROVIDERS, SESSION_TEMPLATES, TOOL_SERVERS
from agentsessions.controller.leadership import Leadership, Role
from agentsessions.controller.levels import LevelFeed
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.namespaces import Namespaces
from agentsessions.controller.ownids import OwnIds
from agentsessions.controller.passes import Passes
from agentsessions.controller.pods import Pods
from agentsessions.controller.probes import Probes
from agentsessions.controller.providers import ProviderReconciler
from agentsessions.controller.queues import Queues
from agentsessions.controller.reconcile import Parts, Reconciler
from agentsessions.controller.revisions import Revisions
from agentsessions.controller.settings import Settings
from agentsessions.controller.sources import Sources
from agentsessions.controller.store import Key, Providers, Sessions, Templates, key_of
from agentsessions.controller.stranded import Stranded
from agentsessions.controller.sweep import Sweep
from agentsessions.controller.ties import KnownTies
from agentsessions.controller.tool_servers import ToolServerRecord, ToolServers
from agentsessions.controller.views import ProviderRecord, SessionRecord, TemplateRecord
from agentsessions.controller.watched import Watched
from agentsessions.controller.workspaces import Workspaces
from agentsessions.engine.client import Client
from agentsessions.engine.errors import ApiError
from agentsessions.engine.queue import KeyedQueue
from agentsessions.engine.resources import collection_path

FIRST_FEED_SECONDS: Final = 5.0
"""How long the first pass waits for the gateway, so that a restart of ours does not look like an outage of its."""
LOAD_PAUSE_SECONDS: Final = 2.0
STREAM_SECONDS: Final = 20.0
"""How long kopf may take to open its streams, all tries included."""
PROVIDER_WORKERS: Final = 2
STUCK_SECONDS: Final = 300.0
"""A key that waits so long, or a watch that is silent so long, means that the process is stuck."""

log = structlog.get_logger(__name__)


class StreamMissingError(Exception):
    """Changes of a kind would not be seen."""


class Operator:
    """Everything of the operator but kopf, which brings changes of our own kinds to what is `Watched` here."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        *,
        leadership: Leadership | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Put the parts together. `leadership` says when to act; without it, this process acts alone."""
        clock = clock or SteadyClock()
        self._settings, self._client, self._leadership = settings, client, leadership
        self.metrics = Metrics()
        self._session_store, self._provider_store, self._tool_server_store = Sessions(), Providers(), ToolServers()
        self.queue, self._provider_queue = KeyedQueue(), KeyedQueue()
        self._authority = Authority(client, settings.namespace)
        self._gateway = GatewayService(client, settings.gateway_url)
        self._feed = LevelFeed(settings.gateway_url, Path(settings.token_file), self._authority, clock=clock)
        self._pods = Pods(client, self._note_pod)
        self._own_ids, self._ties = OwnIds(self._session_store), KnownTies(self._session_store)
        self._queues = self._build_queues(clock)
        self.quotas = self._queues.quotas
        self._namespaces = Namespaces(client, self._authority, settings.namespace, self.metrics, self._used_namespaces)
        self.role = Role.STARTING
        """What this process does now."""
        self.is_broken = False
        """Whether a part broke that should not."""
        self.sessions, self.providers = self._watch_sessions(), self._watch_providers()
        self.templates = self._watch_templates()
        self._revisions = Revisions(client, self.templates, self._session_store, clock=clock)
        self.tool_servers = self._watch_tool_servers()
        self.governance = self._build_governance(clock)
        self._passes = Passes(
            self.queue, Reconciler(self._parts(clock)).reconcile, self.sessions.refresh, self.metrics, clock=clock
        )
        self._provider_passes = self._build_provider_passes(clock)
        self._stranded = Stranded(client, self._gateway, self._pods, self.metrics)
        self._sweep = self._build_sweep()
        self.probes = Probes(
            self.metrics.registry, health=self.find_stuck, readiness=self.find_missing, role=lambda: self.role
        )
        self._connect()

    @property
    def _kinds(self) -> tuple[Watched[Any], ...]:
        """What kopf streams, in the order in which it is listed: sessions last, as they depend on the others."""
        rules = (self.governance.policies, self.governance.approvals)
        return (self.providers, self.templates, self.tool_servers, self.quotas, *rules, self.sessions)

    async def run(self) -> None:
        """Work until cancelled; raises when a part breaks that cannot."""
        await self.probes.start(self._settings.health_host, self._settings.health_port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pods.informer.run(), name="pods")
                group.create_task(self._feed.run(), name="levels")
                group.create_task(self._act(), name="passes")
        finally:
            if self._leadership is not None:
                await self._leadership.hand_over()  # first of all: nothing acts any more
            await self.probes.close()
            await self._feed.close()

    def find_stuck(self) -> Mapping[str, str]:
        """Return what says that this process should be restarted."""
        problems = {}
        silent = time.monotonic() - self._pods.informer.last_heard_at
        if self._pods.informer.is_synced.is_set() and silent > STUCK_SECONDS:
            problems["pods"] = f"the watch of pods is silent for {silent:.0f} s"
        waiting = self.queue.oldest_age
        if self.role is Role.LEADING and waiting > STUCK_SECONDS:
            problems["queue"] = f"a session waits for {waiting:.0f} s to be looked at"
        return problems

    def find_missing(self) -> Mapping[str, str]:
        """Return why the operator does not act yet, or could not take over."""
        if self.role is Role.STARTING:
            return {"start": "pods, providers, quotas and sessions are not listed yet"}
        problem = self._leadership.problem if self._leadership is not None else ""
        return {"lease": problem} if problem else {}

    async def _act(self) -> None:
        """Work on sessions, once everything is known that a decision needs."""
        await self._load()
        await self.await_streams()
        await self._pods.informer.is_synced.wait()
        try:
            await asyncio.wait_for(self._feed.was_tried.wait(), FIRST_FEED_SECONDS)
        except TimeoutError:
            log.info("gateway not heard of yet; going on without it")
        if self._leadership is not None:
            await self._stand_by(self._leadership)
        self.role = Role.LEADING
        log.info("acting", sessions=len(self._session_store), providers=len(self._provider_store))
        async with asyncio.TaskGroup() as group:
            if self._leadership is not None:
                group.create_task(self._leadership.keep())
                group.create_task(self._sweep.sweep())  # nobody has looked for what the streams missed meanwhile
            group.create_task(self.queue.work(self._passes.run, self._settings.workers))
            group.create_task(self._provider_queue.work(self._provider_passes.run, PROVIDER_WORKERS))
            group.create_task(self._queues.run())
            group.create_task(self.governance.run())
            group.create_task(self._sweep.run())
            group.create_task(self._namespaces.follow_ca())
            group.create_task(self._stranded.run())

    async def _stand_by(self, leadership: Leadership) -> None:
        """Only watch until it is our turn, then look at everything."""
        self.role = Role.STANDBY
        log.info("standing by", sessions=len(self._session_store), providers=len(self._provider_store))
        await leadership.await_turn()
        self.sessions.distrust()
        self.role = Role.LEADING
        for key in self._session_store.all_keys():
            self._mark_session(key)
        for key in self._provider_store.all_keys():
            self._provider_queue.add(key)

    async def _load(self) -> None:
        """List what decisions on one object depend on of others, so that none is made on what was not seen yet.

        A session may name any provider, and whether it may start depends on the quotas and on every session of its
        namespace.

        Raises:
            ApiError: The API server refuses: no right, or the CRDs are not installed.
        """
        for kind in self._kinds:
            while True:
                try:
                    await kind.load()
                except ApiError as error:
                    if not error.is_passing:
                        raise
                    log.warning("not listed", kind=kind.resource.plural, error=str(error))
                    await asyncio.sleep(LOAD_PAUSE_SECONDS)
                else:
                    break

    async def await_streams(self, seconds: float = STREAM_SECONDS) -> None:
        """Wait until kopf streams every kind.

        It looks once at its start what kinds the API server has, and leaves those out that discovery does not show
        yet, as it may for a moment after their CRDs were installed: without an error, and for ever.

        Raises:
            StreamMissingError: A kind is left out.
        """
        for kind in self._kinds:
            try:
                await asyncio.wait_for(kind.is_streamed.wait(), seconds)
            except TimeoutError:
                raise StreamMissingError(
                    f"no stream of {kind.resource.plural} after {seconds:.3g} s: the API server's discovery did not "
                    "show them when this process began; the next one looks again"
                ) from None

    def note_stream(self, path: str) -> None:
        """Take note that the API server answers a watch on `path`."""
        for kind in self._kinds:
            if path.endswith(collection_path(kind.resource, None)):  # the server's own address may have a path, too
                kind.is_streamed.set()

    def _watch_sessions(self) -> Watched[SessionRecord]:
        return Watched(
            self._client,
            AGENT_SESSIONS,
            self._session_store,
            on_change=self._note_session,
            on_gone=self._forget_session,
        )

    def _watch_providers(self) -> Watched[ProviderRecord]:
        return Watched(
            self._client,
            MODEL_PROVIDERS,
            self._provider_store,
            on_change=self._mark_provider,
            on_gone=self._forget_provider,
        )

    def _watch_tool_servers(self) -> Watched[ToolServerRecord]:
        return Watched(
            self._client,
            TOOL_SERVERS,
            self._tool_server_store,
            on_change=lambda _: self._mark_pending(),
            on_gone=lambda _, __: self._mark_pending(),
        )

    def _build_provider_passes(self, clock: Callable[[], datetime]) -> Passes:
        reconcile = ProviderReconciler(self._client, self._provider_store, self.metrics, clock=clock).reconcile
        return Passes(self._provider_queue, reconcile, self.providers.refresh, self.metrics, clock=clock)

    def _watch_templates(self) -> Watched[TemplateRecord]:
        mark = self._mark_template
        return Watched(self._client, SESSION_TEMPLATES, Templates(), on_change=mark, on_gone=lambda key, _: mark(key))

    def _build_governance(self, clock: Callable[[], datetime]) -> Governance:
        return Governance(
            self._client,
            self.metrics,
            clock=clock,
            on_approval=self._mark_uid,
            fetch_level=self._feed.fetch_level,
        )

    def _build_queues(self, clock: Callable[[], datetime]) -> Queues:
        return Queues(
            self._client,
            self._session_store,
            self._pods,
            self._feed.fetch_spent,
            self.metrics,
            default_concurrent=self._settings.max_concurrent_sessions,
            clock=clock,
        )

    def _build_sweep(self) -> Sweep:
        return Sweep(
            self._kinds,
            self._namespaces,
            self.metrics,
            pause_seconds=self._settings.sweep_seconds,
            also=(self._revisions.sweep, self._stranded.sweep),
        )

    def _parts(self, clock: Callable[[], datetime]) -> Parts:
        return Parts(
            client=self._client,
            sessions=self._session_store,
            confirm=self.sessions.confirm,
            pods=self._pods,
            feed=self._feed,
            acceptor=Acceptor(
                self._client,
                self._provider_store,
                self._settings.namespace,
                refresh_provider=self.providers.refresh,
                own_ids=self._own_ids,
                sources=Sources(self._feed.take_over_source, Workspaces(self._client, self._session_store)),
                tool_servers=self._tool_server_store,
            ),
            revisions=self._revisions,
            admissions=self._queues.admissions,
            governance=self.governance,
            ties=self._ties,
            child_sessions=ChildSessions(self._client, self.sessions, self._feed, self.metrics),
            children=Children(self._client, self._namespaces, self._gateway, self._settings.pods, self.metrics),
            events=Events(self._client, clock=clock),
            metrics=self.metrics,
            deadlines=self._settings.deadlines,
            clock=clock,
        )

    def _connect(self) -> None:
        """Let changes mark keys, and gauges ask when they are read."""
        self._feed.on_level = self._mark_uid
        self._feed.on_reachable = self._note_gateway
        self.metrics.leading.set_function(lambda: float(self.role is Role.LEADING))
        if self._leadership is not None:
            self.metrics.lease_age_seconds.set_function(self._leadership.age)
        self._queues.admissions.wake = self._ties.wake = self._mark_session
        self.metrics.queue_oldest_seconds.set_function(lambda: self.queue.oldest_age)
        self.metrics.queued.set_function(lambda: len(self.queue))
        self.metrics.watch_age_seconds.set_function(lambda: time.monotonic() - self._pods.informer.last_heard_at)
        self.metrics.gateway_reachable.set_function(lambda: float(self._feed.is_reachable))
        self.metrics.count_sessions(lambda: (record.view.status.phase for _, record in self._session_store.items()))

    def _mark_session(self, key: Key) -> None:
        """Look at the session. Who stands by keeps no list of what to do: it would only grow, and grow old."""
        if self.role is not Role.STANDBY:
            self.queue.add(key)

    def _mark_uid(self, uid: str) -> None:
        key = self._session_store.key_of_uid(uid)
        if key is not None:
            self._mark_session(key)

    def _note_gateway(self) -> None:
        """Look at all that the gateway tells of, now that it was reached or lost, and at what may not reach it."""
        for key in self._session_store.open_keys():
            self._mark_session(key)
        if self._feed.is_reachable:
            self._stranded.look()

    def _mark_provider(self, key: Key) -> None:
        """Look at the provider, and at the sessions that may wait for it."""
        if self.role is Role.STANDBY:
            return
        self._provider_queue.add(key)
        self._mark_pending()

    def _mark_pending(self) -> None:
        """Look at the sessions that may wait for something else than a place."""
        for pending in self._session_store.pending_keys():
            self._mark_session(pending)

    def _mark_template(self, key: Key) -> None:
        """Look at the sessions that start from the template, or wait for it."""
        for named in self._session_store.keys_with_template(key):
            self._mark_session(named)

    def _note_session(self, key: Key) -> None:
        self._queues.admissions.note_session(key)
        self._mark_session(key)
        if (record := self._session_store.get(key)) is not None:
            self._ties.tell(record)

    def _note_pod(self, session_uid: str) -> None:
        self._queues.admissions.note(session_uid)
        self._mark_uid(session_uid)

    def _forget_session(self, key: Key, record: SessionRecord) -> None:
        self._feed.forget(record.view.uid)
        self._passes.forget(key)
        self._queues.admissions.note_session(key)
        self._ties.tell(record)
        for other in self._own_ids.release(record.view):
            self._mark_session(key_of(other.namespace, other.name))

    def _forget_provider(self, key: Key, _record: ProviderRecord) -> None:
        self._provider_passes.forget(key)

    def _used_namespaces(self) -> set[str]:
        return {key.partition("/")[0] for key in self._session_store.open_keys()}
