"""A world in memory around `decide`: a kubelet, a journal, an operator that may crash between any two writes.

It applies decisions exactly in the order that the controller does: delete, create, decide again, one status write.
Time passes only when the test says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from agentsessions.api.levels import Closing, Level
from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.session import OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.api.wire import Outcome
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.decision import Decision
from agentsessions.lifecycle.facts import Acceptance, Admission, Facts, JournalView, PodView, SessionView
from tests.builders import SESSION_UID, T0

TURNS = 4
"""Turns that the session's agent needs."""


class Crash(StrEnum):
    """Where an operator dies in a pass."""

    NOWHERE = "nowhere"
    BEFORE_CREATE = "before the pod is created"
    BEFORE_STATUS = "before the status is written"


@dataclass
class Journal:
    """What the gateway knows: committed turns, fences upwards only, one closing record."""

    committed: int = 0
    fence: tuple[int, str] = (0, "")
    epoch_turns: int = 0
    closing: Closing | None = None

    def copy_fence(self, status: SessionStatus) -> None:
        """Take the agent's row over, upwards only."""
        for row in status.agents or []:
            if row.epoch > self.fence[0] and row.pod_uid:
                self.fence, self.epoch_turns = (row.epoch, row.pod_uid), 0
                if self.closing and self.closing.outcome is not Outcome.FINAL:
                    self.closing = None

    def commit(self, pod: PodView) -> bool:
        """Commit one turn of a pod; say whether that was the last. A fenced pod commits nothing."""
        if (pod.epoch, pod.uid) != self.fence or self.closing is not None:
            return False
        self.committed += 1
        self.epoch_turns += 1
        if self.committed == TURNS:
            self._close(pod, Outcome.FINAL, None)
        return self.committed == TURNS

    def fail(self, pod: PodView) -> None:
        """Record that a pod's epoch ended by a passing error."""
        if (pod.epoch, pod.uid) == self.fence and self.closing is None:
            self._close(pod, Outcome.ERROR, ErrorCode.OVERLOADED)

    def _close(self, pod: PodView, outcome: Outcome, code: ErrorCode | None) -> None:
        self.closing = Closing(agent=pod.agent, epoch=pod.epoch, pod_uid=pod.uid, outcome=outcome, code=code)

    def level(self) -> Level:
        """Return the level that the operator would read now."""
        is_final = self.closing is not None and self.closing.outcome is Outcome.FINAL
        return Level(
            session_uid=SESSION_UID,
            namespace="team",
            name="rows",
            head=self.committed + 1,
            digest=f"{self.committed:064d}",
            steps=self.committed,
            turns=self.committed,
            epoch_turns=self.epoch_turns,
            closing=self.closing,
            result="done" if is_final else None,
        )


@dataclass
class World:
    """One session and all that acts on it."""

    spec: dict[str, Any] = field(default_factory=lambda: {"goal": "count"})
    status: SessionStatus = field(default_factory=SessionStatus)
    pods: dict[str, PodView] = field(default_factory=dict)
    journal: Journal = field(default_factory=Journal)
    now: datetime = T0
    is_gateway_up: bool = True
    pods_made: int = 0
    writes: int = 0
    phases: list[str] = field(default_factory=list)

    # --- the operator
    def reconcile(self, crash: Crash = Crash.NOWHERE) -> Decision:
        """Make one pass, or as much of it as the crash allows."""
        is_fresh = False
        for _ in range(6):
            decision = decide(self.facts(is_fresh=is_fresh), self.now)
            if decision.needs_level:
                is_fresh = True
                continue
            for unwanted in decision.delete:
                self.end_pod(unwanted.uid)
            if not decision.create:
                return self._write(decision, crash)
            if crash is Crash.BEFORE_CREATE:
                return decision
            self._create(decision)
        raise AssertionError("no end of decisions")

    def _create(self, decision: Decision) -> None:
        for wanted in decision.create:
            self.pods_made += 1
            uid = f"uid-{self.pods_made}"
            self.pods[uid] = PodView(
                namespace="team",
                name=f"rows-{wanted.epoch}",
                uid=uid,
                session_uid=SESSION_UID,
                agent=wanted.agent,
                epoch=wanted.epoch,
                resource_version="1",
                created_at=self.now,
                phase="Pending",
            )

    def _write(self, decision: Decision, crash: Crash) -> Decision:
        if decision.status == self.status or crash is Crash.BEFORE_STATUS:
            return decision
        self.writes += 1
        if decision.status.phase is not self.status.phase and decision.status.phase is not None:
            self.phases.append(decision.status.phase.value)
        self.status = decision.status
        if self.is_gateway_up:
            self.journal.copy_fence(self.status)
        return decision

    def facts(self, *, is_fresh: bool) -> Facts:
        """Return what the operator would observe now."""
        session = SessionView(
            namespace="team",
            name="rows",
            uid=SESSION_UID,
            generation=1,
            resource_version="1",
            created_at=T0 - timedelta(minutes=1),
            is_deleting=False,
            spec=SessionSpec.model_validate(self.spec),
            status=self.status,
        )
        level = self.journal.level() if self.is_gateway_up else None
        journal = JournalView(is_reachable=self.is_gateway_up, level=level, is_fresh=is_fresh and self.is_gateway_up)
        return Facts(
            session=session,
            pods=tuple(self.pods.values()),
            acceptance=Acceptance(),
            journal=journal,
            admission=Admission(is_admitted=True),
            jitter=0,
        )

    # --- people
    def ask(self, mode: OperatingMode) -> None:
        """Set operatingMode, as far as the CRD lets it."""
        if self.spec.get("operatingMode") is not OperatingMode.CANCELLED:
            self.spec = {**self.spec, "operatingMode": mode}

    # --- the cluster
    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def run_pods(self) -> None:
        """Let every pod go on by one stage: start, or play one turn and obey."""
        for pod in list(self.pods.values()):
            if pod.is_ended:
                continue
            if pod.is_deleting:
                del self.pods[pod.uid]
            elif pod.phase == "Pending":
                self.pods[pod.uid] = replace(pod, phase="Running", started_at=self.now)
            elif self.is_gateway_up:
                self._play(pod)

    def _play(self, pod: PodView) -> None:
        if self.spec.get("operatingMode") is OperatingMode.PAUSED:
            self._end(pod, exit_code=10)
        elif self.journal.commit(pod):
            self._end(pod, exit_code=0)

    def fail_pods(self) -> None:
        """Let every running pod end by a passing error of its model."""
        for pod in list(self.pods.values()):
            if pod.phase == "Running" and not pod.is_deleting and self.is_gateway_up:
                self.journal.fail(pod)
                self._end(pod, exit_code=1)

    def lose_pods(self) -> None:
        """Take every pod away, as a dead node does."""
        self.pods.clear()

    def end_pod(self, uid: str) -> None:
        """Delete a pod: one that ended goes at once, one that runs gets a deletionTimestamp."""
        pod = self.pods.get(uid)
        if pod is not None and pod.is_ended:
            del self.pods[uid]
        elif pod is not None:
            self.pods[uid] = replace(pod, is_deleting=True)

    def _end(self, pod: PodView, exit_code: int) -> None:
        phase = "Succeeded" if exit_code == 0 else "Failed"
        self.pods[pod.uid] = replace(pod, phase=phase, exit_code=exit_code, finished_at=self.now)

    def set_gateway(self, *, up: bool) -> None:
        """Take the gateway away, or bring it back; it then reads the status anew."""
        self.is_gateway_up = up
        if up:
            self.journal.copy_fence(self.status)
