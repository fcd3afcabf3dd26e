"""One pass over one session: observe → decide → apply → one status write → Events and metrics.

Children come before the status that names them; what a pass cut off in between leaves behind is found by the next one.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.children.snapshot import wanted_content
from agentsessions.controller.accept import Acceptor
from agentsessions.controller.admissions import Admissions
from agentsessions.controller.apply import Children
from agentsessions.controller.child_sessions import ChildSessions
from agentsessions.controller.events import Events
from agentsessions.controller.governance import Governance
from agentsessions.controller.kinds import AGENT_SESSIONS
from agentsessions.controller.levels import GatewayAwayError, LevelFeed
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.patches import merge_diff
from agentsessions.controller.pods import Pods
from agentsessions.controller.refusals import RefusedError
from agentsessions.controller.revisions import RevisionLostError, Revisions
from agentsessions.controller.skew import mark_unreadable, skew_message
from agentsessions.controller.store import Key, Sessions, key_of
from agentsessions.controller.ties import KnownTies
from agentsessions.controller.views import SessionRecord
from agentsessions.engine.client import Client
from agentsessions.engine.errors import ApiError
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.decision import Decision, PodUnwanted, PodWanted
from agentsessions.lifecycle.facts import (
    Acceptance,
    Deadlines,
    Facts,
    JournalView,
    PodView,
    SessionView,
    TemplateView,
)
from agentsessions.lifecycle.outcome import earliest
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.situation import EpochState
from agentsessions.lifecycle.waits import explain_refusal

MOST_ROUNDS: Final = 8
"""Decisions in one pass: first look, level read, room asked for, pod made, level read again, and some to spare."""
PENDING: Final = (None, Phase.PENDING)
OVER: Final = (EpochState.ENDED, EpochState.LOST, EpochState.STANDBY)
REFUSALS: Final = frozenset({400, 403, 422, 500})
"""Answers by which quotas and admission refuse an object; 500 is that of a webhook that cannot be called."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a pass works with."""

    client: Client
    sessions: Sessions
    confirm: Callable[[Key], Awaitable[bool]]
    """See `Watched.confirm`."""
    pods: Pods
    feed: LevelFeed
    acceptor: Acceptor
    revisions: Revisions
    admissions: Admissions
    governance: Governance
    ties: KnownTies
    children: Children
    child_sessions: ChildSessions
    events: Events
    metrics: Metrics
    deadlines: Deadlines
    clock: Callable[[], datetime]


class Reconciler:
    """Takes sessions one step closer to their spec."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def reconcile(self, key: Key) -> datetime | None:
        """Make one pass over a session; return when to look again, if nothing happens before.

        Raises:
            ApiError: The API server refused something, or does not answer.
        """
        record = self._parts.sessions.get(key)
        if record is None or record.status_problem:
            return None
        if record.problem and record.view.status.phase not in PENDING:
            await self._mark_unreadable(record)
            return None
        try:
            with self._parts.admissions.during(record.view.uid):
                return await self._step(record)
        except RevisionLostError as error:
            await self._mark_unreadable(replace(record, problem=str(error)))
            return None

    async def _step(self, record: SessionRecord) -> datetime | None:
        """Decide on a session, and do what was decided."""
        facts, decision = await self._settle(await self._observe(record))
        session = facts.session
        if decision.delete_session:
            await self._delete_session(session)
            return None
        await self._parts.children.delete_pods(session.namespace, decision.delete)
        await self._parts.children.drop_volumes(session, decision.drop)
        expires_at = await self._parts.governance.apply(session, facts.journal)
        await self._parts.child_sessions.apply(session, facts.journal)
        if await self._write(session, decision.status):
            await self._parts.events.send(session, decision.events)
            self._note(session, decision.status)
            return self._parts.clock()  # what was written may settle more: a pod adopted just now may run already
        return earliest(self._wake_at(facts, decision), expires_at)

    async def _observe(self, record: SessionRecord) -> Facts:
        """Gather everything that a decision may depend on."""
        parts = self._parts
        session, template, acceptance = await self._accept(record)
        return Facts(
            session=session,
            template=template,
            pods=await self._pods_of(session),
            acceptance=acceptance,
            journal=self._journal_of(session),
            deadlines=parts.deadlines,
            hold=parts.admissions.hold_of(session.namespace),
            ties=parts.ties.of(session),
            jitter=draw_jitter(session),
        )

    async def _accept(self, record: SessionRecord) -> tuple[SessionView, TemplateView, Acceptance]:
        """Return the session as it means itself, with its template, and whether what it names is there."""
        session, template = record.view, TemplateView()
        if record.problem:
            return session, template, Acceptance(Reason.INVALID_SPEC, skew_message(record.problem))
        try:
            session, template = await self._parts.revisions.resolve(session)
        except RefusedError as refused:
            return session, template, Acceptance(refused.reason, str(refused)[:1024])
        if session.status.phase in PENDING and not session.is_deleting:
            missing = self._parts.ties.refuse(session)
            return session, template, missing or await self._parts.acceptor.accept(session)
        return session, template, Acceptance(has_snapshot=bool(wanted_content(session.spec)))

    async def _pods_of(self, session: SessionView) -> tuple[PodView, ...]:
        """Return the session's pods. One that status names and the informer does not have is asked for.

        It may be newer than the informer's stream, and taking it for lost would start another one beside it.
        """
        pods = self._parts.pods.of(session.uid)
        if session.status.phase in {*PENDING, *TERMINAL, Phase.PAUSED} or session.is_deleting:
            return pods
        known = {pod.uid for pod in pods}
        unseen = [row for row in session.status.agents or () if row.pod_uid not in known and row.state not in OVER]
        for row in unseen:
            found = await self._parts.children.fetch_pod(session.namespace, row.pod_name) if row.pod_name else None
            if found is not None and found.uid == row.pod_uid:
                pods = (*pods, found)
        return pods

    def _journal_of(self, session: SessionView) -> JournalView:
        feed, status = self._parts.feed, session.status
        away = timedelta(0)
        if status.phase is Phase.RUNNING and status.phase_started_at is not None:
            away = feed.away(status.phase_started_at)
        return JournalView(is_reachable=feed.is_reachable, level=feed.get(session.uid), away=away)

    async def _settle(self, facts: Facts) -> tuple[Facts, Decision]:
        """Decide until the decision needs nothing more: no level to read, no place to ask for, no pod to make."""
        for _ in range(MOST_ROUNDS):
            decision = decide(facts, self._parts.clock())
            if decision.needs_level:
                facts = replace(facts, journal=await self._ask_journal(facts))
            elif decision.resize is not None:
                facts = replace(facts, resize=await self._parts.children.resize(facts.session, decision.resize))
            elif decision.needs_admission:
                facts = replace(facts, admission=self._parts.admissions.ask(facts.session))
            elif (decision.create or decision.delete) and await self._is_outdated(facts.session):
                return facts, Decision(status=facts.session.status)  # it is queued again
            elif decision.create:
                self._parts.admissions.use(facts.session.uid)
                facts = await self._create(await self._delete(facts, decision.delete), decision.create)
            else:
                return facts, decision
        session = facts.session
        raise AssertionError(f"session {session.namespace}/{session.name}: no end of decisions after {MOST_ROUNDS}")

    async def _is_outdated(self, session: SessionView) -> bool:
        """Tell whether the session has changed since; no resourceVersion guards what is done to pods."""
        return await self._parts.confirm(key_of(session.namespace, session.name))

    async def _ask_journal(self, facts: Facts) -> JournalView:
        """Read the level from the store; a gateway that does not answer is away."""
        try:
            level = await self._parts.feed.fetch_level(facts.session.uid)
        except GatewayAwayError as error:
            log.warning("level not read", session=name_of(facts.session), error=str(error))
            return replace(facts.journal, is_reachable=False)
        return replace(facts.journal, level=level, is_fresh=True)

    def _wake_at(self, facts: Facts, decision: Decision) -> datetime | None:
        """Return when to look again: soon, if the live gateway failed to answer just now."""
        if facts.journal.is_reachable or not self._parts.feed.is_reachable:
            return decision.wake_at
        soon = self._parts.clock() + self._parts.deadlines.recheck
        return min(decision.wake_at or soon, soon)

    async def _delete(self, facts: Facts, unwanted: tuple[PodUnwanted, ...]) -> Facts:
        """End the pods that a new one replaces, before it is made: an agent never has two."""
        await self._parts.children.delete_pods(facts.session.namespace, unwanted)
        gone = {pod.uid for pod in unwanted}
        return replace(facts, pods=tuple(replace(p, is_deleting=True) if p.uid in gone else p for p in facts.pods))

    async def _create(self, facts: Facts, wanted: tuple[PodWanted, ...]) -> Facts:
        """Make pods, and return the facts with them, or with the API server's words on refusing them."""
        try:
            pods = await self._parts.children.create_pods(facts.session, wanted)
        except ApiError as error:
            if error.status not in REFUSALS:
                raise
            log.warning("pod refused", session=name_of(facts.session), error=str(error))
            if facts.session.status.phase not in PENDING:
                return replace(facts, refusal=error.message)
            message = explain_refusal(wanted[0].agent, error.message)
            return replace(facts, acceptance=Acceptance(Reason.POD_REFUSED, message))
        return replace(facts, pods=(*facts.pods, *pods))

    async def _delete_session(self, session: SessionView) -> None:
        """Delete a resource whose time after its end is over; the journal keeps what it did."""
        await self._parts.client.delete(AGENT_SESSIONS, session.namespace, session.name, uid=session.uid)
        log.info("session deleted", session=name_of(session), reason="ttlSecondsAfterFinished")

    async def _mark_unreadable(self, record: SessionRecord) -> None:
        """Say in the status of a session on its way that its spec cannot be read any more."""
        status = record.view.status
        if status.phase not in TERMINAL:
            await self._write(record.view, mark_unreadable(status, record.problem, self._parts.clock()))

    async def _write(self, session: SessionView, status: SessionStatus) -> bool:
        """Write what changed of the status, decided from exactly this view; tell whether anything was written.

        Raises:
            Conflict: The session has changed since.
            NotFound: It is gone.
            ApiError: The write failed.
        """
        patch = merge_diff(session.status.to_json(), status.to_json())
        if not patch:
            return False
        body = {"metadata": {"resourceVersion": session.resource_version}, "status": patch}
        answer = await self._parts.client.merge_patch(
            AGENT_SESSIONS, session.namespace, session.name, body, subresource="status"
        )
        record, _ = self._parts.sessions.put(answer)
        self._parts.ties.tell(record)
        self._parts.metrics.writes.labels("status").inc()
        return True

    def _note(self, session: SessionView, status: SessionStatus) -> None:
        """Count and log a transition: only now, the write was accepted."""
        self._note_move(session, status)
        if status.phase is session.status.phase or status.phase is None:
            return
        self._parts.metrics.transitions.labels(status.phase.value).inc()
        log.info(
            "session moved",
            session=name_of(session),
            phase=status.phase.value,
            reason=status.stop_reason.value if status.stop_reason else None,
            epoch=status.agents[0].epoch if status.agents else None,
        )

    def _note_move(self, session: SessionView, status: SessionStatus) -> None:
        """Count and log how far a move is."""
        before, move = session.status.migration, status.migration
        if move is None or (before is not None and before.state is move.state):
            return
        self._parts.metrics.migrations.labels(move.state.value).inc()
        log.info("session moves", session=name_of(session), state=move.state.value, problem=move.message)


def draw_jitter(session: SessionView) -> float:
    """Return a number in [0, 1) that is the same on every pass of one retry, and differs between sessions."""
    digest = hashlib.sha256(f"{session.uid}/{session.status.retries or 0}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def name_of(session: SessionView) -> str:
    """Return the session's name for logs."""
    return f"{session.namespace}/{session.name}"
