"""Copies what the cluster says of sessions into the journal: the read model, and which pod may speak for which agent.

The watch only marks uids; workers then write what the session is *now*, one worker to a uid, so a burst of changes
costs one write and an old state never overwrites a newer one. A write that fails is tried again; sessions deleted
while the gateway was away are found by comparing the journal with the first full list. The journal is read before that
list is made: what another gateway puts there meanwhile is not taken for deleted.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog

from agentsessions.api.names import GROUP, VERSION
from agentsessions.api.reasons import ConditionType
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import AgentStatus, SessionStatus
from agentsessions.engine.client import Client
from agentsessions.engine.errors import NotFound
from agentsessions.engine.informer import Informer
from agentsessions.engine.queue import KeyedQueue
from agentsessions.engine.resources import NAMESPACE, Resource, resource_path
from agentsessions.gateway import metrics
from agentsessions.gateway.manifests import ManifestActs
from agentsessions.gateway.retention import ANNOTATION
from agentsessions.gateway.templates import Merger
from agentsessions.journal import lists, spared
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.store import Store
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.situation import EpochState
from agentsessions.lifecycle.teams import Team, team_of

log = structlog.get_logger(__name__)

AGENT_SESSION: Final = Resource(GROUP, VERSION, "agentsessions", "AgentSession")
WORKERS: Final = 8
RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """A namespace as the API server last showed it."""

    name: str
    uid: str
    retention: str | None
    """How long it wants the journal to keep sessions, as written; None: it does not say."""


class SessionWatch:
    """AgentSessions of all namespaces as the API server last showed them, and their way into the journal."""

    def __init__(self, client: Client, store: Store, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._queue = KeyedQueue()
        self._written: dict[str, SessionRow] = {}
        self._fenced: dict[str, dict[str, tuple[int, str]]] = {}
        self._first: set[str] = set()
        self._has_started = False
        self._subscribers: list[Callable[[str], None]] = []
        self.before_end: Callable[[str], Awaitable[None]] = _wait_for_nothing
        """Waited for before a session's end is journaled: what it still spends belongs before its `done`."""
        self.is_ready = asyncio.Event()
        """Set once the sessions of the first full list stand in the journal, but for those that cannot be written."""
        self.merger = Merger(client)
        """Puts sessions over their templates."""
        self.acts = ManifestActs(store, clock, self.namespace_uid)
        """Changes of sessions that are not the gateway's own, on their way to the audit."""
        self.sessions: Informer[SessionView] = Informer(
            client, AGENT_SESSION, convert=self._convert, key_of=lambda view: view.uid, on_change=self._note
        )
        self._namespaces: Informer[NamespaceView] = Informer(
            client, NAMESPACE, convert=_to_namespace, key_of=lambda found: found.name, on_change=lambda _old, _new: None
        )

    @property
    def age_seconds(self) -> float:
        """Seconds since the API server was last heard of."""
        return time.monotonic() - self.sessions.last_heard_at

    def retentions(self) -> dict[str, str]:
        """Return what namespaces say about keeping sessions, by their uids; those that say nothing are left out."""
        return {one.uid: one.retention for one in self._namespaces.values() if one.retention is not None}

    def subscribe(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called with the uid of each session that changed or went, once `sessions` shows it.

        It must not wait, nor raise.
        """
        self._subscribers.append(tell)

    async def run(self) -> None:
        """Watch, and write, for ever."""
        metrics.WATCH_AGE_SECONDS.set_function(lambda: self.age_seconds)
        in_journal = await self._store.read(lists.read_present_uids)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._namespaces.run())
            tasks.create_task(self.sessions.run())
            await self._namespaces.is_synced.wait()
            await self.sessions.is_synced.wait()
            self._start(in_journal)
            tasks.create_task(self.acts.run())
            await self._queue.work(self._write, WORKERS)

    async def namespace_uid(self, name: str) -> str | None:
        """Return the uid of the namespace that has this name now; None when there is none."""
        known = self._namespaces.get(name)
        if known is not None:
            return known.uid
        try:  # the two watches are not ordered: a session may be seen before its new namespace
            found = await self._client.get(resource_path(NAMESPACE, None, name))
        except NotFound:
            return None
        return str(found["metadata"]["uid"])

    def _start(self, in_journal: set[str]) -> None:
        self._first = in_journal | {view.uid for view in self.sessions.values()}
        log.info("watch synced", sessions=len(self._first), in_journal=len(in_journal))
        self._has_started = True
        for uid in self._first:
            self._queue.add(uid)
        self._check_ready()

    def _convert(self, raw: dict[str, Any]) -> SessionView:
        self.acts.note(raw, self.sessions.get(raw["metadata"]["uid"]))
        return to_view(raw)

    def _note(self, old: SessionView | None, new: SessionView | None) -> None:
        changed = new or old
        if changed is None:
            return
        if self._has_started:
            self._queue.add(changed.uid)
        for tell in self._subscribers:
            tell(changed.uid)

    async def _write(self, uid: str) -> None:
        try:
            await self._copy(uid)
        except Exception:  # one session's failure must not stop the others
            log.exception("session not written to the journal", session=uid, retry_seconds=RETRY_SECONDS)
            self._queue.add_after(uid, RETRY_SECONDS)
        # Tried is enough: a session that cannot be written must not keep the gateway from serving the others.
        self._first.discard(uid)
        self._check_ready()

    async def _copy(self, uid: str) -> None:
        view = self.sessions.get(uid)
        if view is None and self.sessions.is_there(uid):
            return  # this version cannot read it: what the journal knows of it stays
        if view is None:
            await self.acts.note_end(uid)
            await self._store.mark_deleted(uid, self._clock())
            self._written.pop(uid, None)
            self._fenced.pop(uid, None)
            return
        row = to_row(await self.merger.merge(view), await self._namespace_uid_of(view))
        if self._written.get(uid) != row:
            await self._put(row)
            self._written[uid] = row
        await self._fence(view, team_of((await self.merger.merge(view)).spec))

    async def write_answer(self, view: SessionView) -> None:
        """Write a session as the API server answered it to a change: the watch, which tells of it too, may be later."""
        known = self.sessions.get(view.uid)
        if known is not None and int(known.resource_version) > int(view.resource_version):
            view = known
        await self._put(to_row(await self.merger.merge(view), await self._namespace_uid_of(view)))

    async def _put(self, row: SessionRow) -> None:
        if row.phase in TERMINAL:
            await self.before_end(row.uid)
        await self._store.put_session(row)

    async def _namespace_uid_of(self, view: SessionView) -> str:
        written = self._written.get(view.uid)
        if written is not None:
            return written.namespace_uid  # a session never moves
        return await self.namespace_uid(view.namespace) or ""

    async def _fence(self, view: SessionView, team: Team | None) -> None:
        fenced = self._fenced.setdefault(view.uid, {})
        for agent in view.status.agents or ():
            if team is not None and team.host_of(agent.name) != agent.name:
                continue  # its pod is fenced under the name of its host
            if agent.pod_uid is None or fenced.get(agent.name) == (agent.epoch, agent.pod_uid):
                continue
            if not await self._store.fence(view.uid, agent.name, agent.epoch, agent.pod_uid):
                log.warning(
                    "second pod for an epoch refused",
                    namespace=view.namespace,
                    session=view.name,
                    agent=agent.name,
                    epoch=agent.epoch,
                    pod=agent.pod_uid,
                )
            fenced[agent.name] = (agent.epoch, agent.pod_uid)
        await self._spare(view, team)

    async def _spare(self, view: SessionView, team: Team | None) -> None:
        """Let a session go on without the agents that the operator gave up."""
        failed = [agent for agent in view.status.agents or () if agent.state == EpochState.FAILED.value]
        if team is None:
            return
        words = view.status.error.message if view.status.error else "it could not go on"
        for agent in failed:
            await self._store.write(partial(_spare, uid=view.uid, agent=agent, team=team, words=words))

    def _check_ready(self) -> None:
        if not self._first:
            self.is_ready.set()


def to_view(raw: Mapping[str, Any]) -> SessionView:
    """Return the view of an AgentSession. Fields of the status that a newer operator has added are left out.

    Raises:
        ValidationError: This version cannot read it; the informer then keeps the view it had.
    """
    metadata = raw["metadata"]
    spec = SessionSpec.model_validate(raw["spec"])
    status = SessionStatus.model_validate(raw.get("status") or {}, extra="ignore")
    return SessionView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        resource_version=metadata["resourceVersion"],
        created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
        is_deleting="deletionTimestamp" in metadata,
        spec=spec,
        status=status,
        labels=metadata.get("labels") or {},
    )


def to_row(view: SessionView, namespace_uid: str) -> SessionRow:
    """Return what the journal keeps of a session. The limits are those in force now, from the spec as it now is."""
    spec, status = view.spec, view.status
    ready = next((one for one in status.conditions or () if one.type == ConditionType.READY), None)
    return SessionRow(
        uid=view.uid,
        namespace=view.namespace,
        name=view.name,
        namespace_uid=namespace_uid,
        generation=view.generation,
        resource_version=int(view.resource_version) if view.resource_version.isdecimal() else None,
        template=spec.template_ref.name if spec.template_ref else "",
        type=spec.type,
        role=spec.role,
        mode=spec.mode,
        operating_mode=spec.operating_mode,
        title=spec.title or "",
        description=spec.description or "",
        owner=spec.owner or "",
        session_id=spec.session_id or "",
        labels=dict(view.labels),
        metadata=dict(spec.metadata or {}),
        goal=spec.goal or "",
        spec=spec.to_json(),
        phase=status.phase,
        phase_started_at=status.phase_started_at,
        reason=ready.reason if ready else "",
        message=ready.message if ready else "",
        stop_reason=status.stop_reason,
        error=status.error.to_json() if status.error else None,
        limits=resolve(spec).limits,
        created_at=view.created_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        anchor_head=status.journal.head if status.journal else 0,
        anchor_digest=status.journal.digest if status.journal else "",
    )


def _spare(work: Work, *, uid: str, agent: AgentStatus, team: Team, words: str) -> None:
    spared.spare(work, uid, agent.name, agent.epoch, team, words)


async def _wait_for_nothing(uid: str) -> None:
    del uid


def _to_namespace(raw: Mapping[str, Any]) -> NamespaceView:
    metadata = raw["metadata"]
    return NamespaceView(metadata["name"], metadata["uid"], (metadata.get("annotations") or {}).get(ANNOTATION))
