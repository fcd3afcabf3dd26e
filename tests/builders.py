"""Builders that let a test of the pure core read as a sentence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agentsessions.api.levels import Closing, Level
from agentsessions.api.reasons import ErrorCode, LimitName, Phase, Reason
from agentsessions.api.v1alpha1.approval import ApprovalKind, ApprovalRequest
from agentsessions.api.v1alpha1.session import OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.status import AgentStatus, SessionStatus, Usage
from agentsessions.api.wire import Outcome
from agentsessions.lifecycle.facts import Acceptance, Admission, Facts, JournalView, PodView, SessionView
from agentsessions.lifecycle.ties import NO_TIES, Ties

T0 = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SESSION_UID = "5e551011-0000-4000-8000-000000000001"


def pod_uid(epoch: int) -> str:
    """Return the uid of the pod of `epoch`."""
    return f"90d00000-0000-4000-8000-{epoch:012d}"


@dataclass(frozen=True)
class SessionBuilder:
    """Facts about one session, built step by step. Every method returns a new builder."""

    spec: dict[str, Any] = field(default_factory=lambda: {"goal": "count the rows"})
    status: SessionStatus = field(default_factory=SessionStatus)
    pods: tuple[PodView, ...] = ()
    acceptance: Acceptance = field(default_factory=Acceptance)
    journal: JournalView = field(default_factory=lambda: JournalView(is_reachable=True, is_fresh=True, level=a_level()))
    is_deleting: bool = False
    generation: int = 1
    refusal: str = ""
    admission: Admission | None = field(default_factory=lambda: Admission(is_admitted=True))
    hold: str = ""
    ties: Ties = NO_TIES
    age: timedelta = timedelta(minutes=1)

    # --- what people ask
    def with_spec(self, **fields: Any) -> SessionBuilder:
        return replace(self, spec={**self.spec, **fields})

    def asked_to_pause(self) -> SessionBuilder:
        return self.with_spec(operatingMode=OperatingMode.PAUSED)

    def asked_to_cancel(self) -> SessionBuilder:
        return self.with_spec(operatingMode=OperatingMode.CANCELLED)

    def just_created(self) -> SessionBuilder:
        return replace(self, age=timedelta(0))

    def being_deleted(self) -> SessionBuilder:
        return replace(self, is_deleting=True)

    # --- where it is
    def in_phase(self, phase: Phase, *, since: timedelta = timedelta(0), **more: Any) -> SessionBuilder:
        update = {"phase": phase, "phase_started_at": T0 - since, "observed_generation": 1, **more}
        return replace(self, status=self.status.model_copy(update=update))

    def starting(self, *, since: timedelta = timedelta(0)) -> SessionBuilder:
        return self.in_phase(Phase.STARTING, since=since).with_row().with_pod(phase="Pending", created_at=T0 - since)

    def running(self, *, since: timedelta = timedelta(seconds=10)) -> SessionBuilder:
        return self.in_phase(Phase.RUNNING, since=since).with_row().with_pod(phase="Running")

    def paused(self) -> SessionBuilder:
        return self.in_phase(Phase.PAUSED).with_row(state="Ended")

    def with_row(self, epoch: int = 1, state: str = "Running") -> SessionBuilder:
        row = AgentStatus(name="agent", epoch=epoch, pod_name=f"pod-{epoch}", pod_uid=pod_uid(epoch), state=state)
        return replace(self, status=self.status.model_copy(update={"agents": [row]}))

    def with_usage(self, **figures: int) -> SessionBuilder:
        return replace(self, status=self.status.model_copy(update={"usage": Usage(**figures)}))

    def with_retries(self, retries: int, *, next_in: timedelta | None = None) -> SessionBuilder:
        update = {"retries": retries, "next_retry_at": T0 + next_in if next_in is not None else None}
        return replace(self, status=self.status.model_copy(update=update))

    # --- its pods
    def with_pod(self, epoch: int = 1, *, phase: str = "Running", **more: Any) -> SessionBuilder:
        pod = PodView(
            namespace="team",
            name=f"pod-{epoch}",
            uid=pod_uid(epoch),
            session_uid=SESSION_UID,
            agent="agent",
            epoch=epoch,
            resource_version="1",
            created_at=more.pop("created_at", T0),
            phase=phase,
            **more,
        )
        return replace(self, pods=(*self.pods, pod))

    def with_pod_refused(self, words: str) -> SessionBuilder:
        return replace(self, refusal=words)

    def with_pod_ended(self, exit_code: int = 1, **more: Any) -> SessionBuilder:
        phase = "Succeeded" if exit_code == 0 else "Failed"
        return replace(self, pods=()).with_pod(phase=phase, exit_code=exit_code, finished_at=T0, **more)

    def with_pod_lost(self) -> SessionBuilder:
        return replace(self, pods=())

    # --- its references and its journal
    def not_accepted(self, reason: Reason, message: str) -> SessionBuilder:
        return replace(self, acceptance=Acceptance(reason=reason, message=message))

    def with_journal(self, **changes: Any) -> SessionBuilder:
        level = self.journal.level or a_level()
        return replace(self, journal=replace(self.journal, level=level.model_copy(update=changes)))

    def with_final_answer(self, result: str = "42") -> SessionBuilder:
        row = (self.status.agents or [])[0]
        closing = Closing(agent="agent", epoch=row.epoch, pod_uid=row.pod_uid or "", outcome=Outcome.FINAL)
        return self.with_journal(closing=closing, result=result, steps=3, epoch_turns=3, turns=3, head=9, digest="ab")

    def with_closing_error(self, code: ErrorCode, message: str = "it broke") -> SessionBuilder:
        row = (self.status.agents or [])[0]
        closing = Closing(
            agent="agent", epoch=row.epoch, pod_uid=row.pod_uid or "", outcome=Outcome.ERROR, code=code, message=message
        )
        return self.with_journal(closing=closing)

    def with_limit_reached(self, limit: LimitName) -> SessionBuilder:
        return self.with_journal(limit_reached=limit, limit_message=f"{limit}: asked for more than is left")

    def with_stale_journal(self) -> SessionBuilder:
        return replace(self, journal=replace(self.journal, is_fresh=False))

    def with_idle_closing(self, **changes: Any) -> SessionBuilder:
        row = (self.status.agents or [])[0]
        closing = Closing(agent="agent", epoch=row.epoch, pod_uid=row.pod_uid or "", outcome=Outcome.IDLE)
        return self.with_journal(closing=closing, **changes)

    def waiting_for_a_person(self, kind: ApprovalKind = ApprovalKind.APPROVAL) -> SessionBuilder:
        row = (self.status.agents or [])[0]
        closing = Closing(agent="agent", epoch=row.epoch, pod_uid=row.pod_uid or "", outcome=Outcome.WAITING)
        question = ApprovalRequest(
            kind=kind,
            agent="agent",
            round=1,
            step=1,
            call_id="call_1",
            tool="shell",
            arguments="{}",
            arguments_digest="0" * 64,
            message="it is asked",
            asked_at=T0,
        )
        return self.with_journal(closing=closing, approval_pending=[question])

    def not_asked_for_room(self) -> SessionBuilder:
        return replace(self, admission=None)

    def without_room(self, reason: Reason = Reason.QUOTA_EXCEEDED, message: str = "3 of 3 run") -> SessionBuilder:
        return replace(self, admission=Admission(is_admitted=False, reason=reason, message=message))

    def held(self, message: str = "SessionQuota stop holds this namespace") -> SessionBuilder:
        return replace(self, hold=message)

    def tied(self, **what: Any) -> SessionBuilder:
        return replace(self, ties=Ties(**what))

    def without_gateway(self, *, away: timedelta = timedelta(0)) -> SessionBuilder:
        return replace(self, journal=JournalView(is_reachable=False, level=self.journal.level, away=away))

    def facts(self) -> Facts:
        session = SessionView(
            namespace="team",
            name="rows",
            uid=SESSION_UID,
            generation=self.generation,
            resource_version="7",
            created_at=T0 - self.age,
            is_deleting=self.is_deleting,
            spec=SessionSpec.model_validate(self.spec),
            status=self.status,
        )
        return Facts(
            session=session,
            pods=self.pods,
            acceptance=self.acceptance,
            journal=self.journal,
            refusal=self.refusal,
            admission=self.admission,
            hold=self.hold,
            ties=self.ties,
            jitter=0.0,
        )


def a_session() -> SessionBuilder:
    """Start from a new session with a goal, accepted, with a reachable and empty journal."""
    return SessionBuilder()


def a_level() -> Level:
    """Return the level of a session that has done nothing yet."""
    return Level(session_uid=SESSION_UID, namespace="team", name="rows")
