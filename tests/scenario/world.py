"""A world in memory around `decide`: a kubelet, a gateway, an operator that may crash between any two writes.

It applies decisions exactly in the order that the controller does: delete, create, decide again, one status write.
Time passes only when the test says so, and an operator that is up looks only when something changed or when its last
decision asked to be woken: a wake-up that is forgotten shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from agentsessions.api.levels import Level
from agentsessions.api.reasons import ErrorCode, ExitCode, Phase, Reason
from agentsessions.api.v1alpha1.approval import ApprovalKind, OnExpiry
from agentsessions.api.v1alpha1.session import OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.decision import Decision, PodUnwanted, PodWanted
from agentsessions.lifecycle.facts import Acceptance, Admission, Facts, JournalView, PodView, SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.queueing import is_waiting
from tests.builders import SESSION_UID, T0
from tests.scenario.gateway import TURNS, Gateway
from tests.scenario.team_gateway import TeamGateway

MOST_DECISIONS = 8
"""In one pass, as the controller allows."""
MOST_PASSES = 12
"""Passes that one change may cause."""


class Crash(StrEnum):
    """Where an operator dies in a pass."""

    NOWHERE = "nowhere"
    BEFORE_DELETE = "before a pod is deleted"
    BEFORE_CREATE = "before the pod is created"
    BEFORE_STATUS = "before the status is written"
    AFTER_STATUS = "after the status is written"


@dataclass(frozen=True)
class Move:
    """A status write that changed the phase."""

    at: datetime
    before: Phase
    after: Phase


@dataclass
class World:
    """One session and all that acts on it."""

    spec: dict[str, Any] = field(default_factory=lambda: {"goal": "count"})
    turns: int = TURNS
    """Turns that the goal, and each round of it, takes."""
    status: SessionStatus = field(default_factory=SessionStatus)
    acceptance: Acceptance = field(default_factory=Acceptance)
    pods: dict[str, PodView] = field(default_factory=dict)
    now: datetime = T0
    generation: int = 1
    is_deleted: bool = False
    is_gateway_up: bool = True
    is_node_up: bool = True
    is_operator_up: bool = True
    ends_at: dict[str, datetime] = field(default_factory=dict)
    """When the kubelet ends a pod by force that was asked to end, by uid."""
    do_pods_hang: bool = False
    """Whether pods do not end by themselves, and use all the time that they are given."""
    refusal: str = ""
    """Why the API server takes no pods now."""
    has_room: bool = True
    """Whether the namespace's queue lets the session have a pod."""
    hold: str = ""
    """Why nothing may run in the namespace now."""
    heard: Level | None = None
    """The level that the operator was told last."""
    is_news_late: bool = False
    pods_shown: dict[str, PodView] | None = None
    """Pods as the operator's watch shows them while it is late; None: as they are."""
    is_dirty: bool = True
    wake_at: datetime | None = None
    pods_made: int = 0
    writes: int = 0
    passes: int = 0
    moves: list[Move] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    asked_at: datetime = T0
    """When people changed operatingMode last."""
    disturbed_at: datetime = T0
    """When a fault began or ended last: from then on deadlines count."""
    away: timedelta = timedelta(0)
    """Time of the present phase in which the gateway could not be reached."""

    @cached_property
    def journal(self) -> Gateway | TeamGateway:
        """The gateway."""
        if "coordination" in self.spec:
            return TeamGateway(self.read_spec(), self.status, self.now, max(self.turns // 4, 1))
        return Gateway(self.read_spec(), self.status, self.now, self.turns)

    def read_spec(self) -> SessionSpec:
        """Return the spec as the product reads it."""
        return SessionSpec.model_validate(self.spec)

    @property
    def phase(self) -> Phase:
        """The phase; Pending before the first."""
        return self.status.phase or Phase.PENDING

    @property
    def mode(self) -> OperatingMode:
        """What people want."""
        return OperatingMode(self.spec.get("operatingMode", OperatingMode.RUNNING))

    @property
    def is_disturbed(self) -> bool:
        """Whether something is broken now, so that deadlines do not hold."""
        works = self.is_gateway_up and self.is_operator_up and not self.is_news_late and not self.refusal
        return not works or self.pods_shown is not None

    # --- the operator
    def reconcile(self, crash: Crash = Crash.NOWHERE) -> Decision | None:
        """Make one pass, or as much of it as the crash allows; None when the session is gone."""
        if self.is_deleted:
            self.is_dirty, self.wake_at = False, None
            return None
        self.passes += 1
        facts = self.facts()
        for _ in range(MOST_DECISIONS):
            decision = decide(facts, self.now)
            if decision.needs_level:
                level = self.journal.level() if self.is_gateway_up else None
                facts = replace(facts, journal=replace(facts.journal, level=level, is_fresh=self.is_gateway_up))
            elif decision.needs_admission:
                facts = replace(facts, admission=self._admit())
            elif decision.create:
                if crash is Crash.BEFORE_DELETE:
                    return self._die(decision)
                facts = self._delete(facts, decision.delete)
                if crash is Crash.BEFORE_CREATE:
                    return self._die(decision)
                facts = self._create(facts, decision.create)
            else:
                return self._finish(facts, decision, crash)
        raise AssertionError("no end of decisions")

    def _finish(self, facts: Facts, decision: Decision, crash: Crash) -> Decision:
        if crash is Crash.BEFORE_DELETE:
            return self._die(decision)
        self._delete(facts, decision.delete)
        if crash in {Crash.BEFORE_STATUS, Crash.BEFORE_CREATE}:
            return self._die(decision)
        self.is_dirty, self.wake_at = False, decision.wake_at
        if decision.status != self.status:
            self._write(decision.status)
        if decision.delete_session:
            self.delete()
        return self._die(decision) if crash is Crash.AFTER_STATUS else decision

    def _admit(self) -> Admission:
        if self.has_room:
            return Admission(is_admitted=True)
        return Admission(is_admitted=False, reason=Reason.QUOTA_EXCEEDED, message="place 1 in the queue of quota team")

    def _die(self, decision: Decision) -> Decision:
        """Forget everything; the next operator looks at everything anew."""
        self.is_dirty, self.pods_shown, self.is_news_late, self.heard = True, None, False, None
        return decision

    def _delete(self, facts: Facts, pods: tuple[PodUnwanted, ...]) -> Facts:
        for pod in pods:
            self.end_pod(pod.uid, grace_seconds=pod.grace_seconds)
        gone = {pod.uid for pod in pods}
        return replace(facts, pods=tuple(replace(p, is_deleting=True) if p.uid in gone else p for p in facts.pods))

    def _create(self, facts: Facts, wanted: tuple[PodWanted, ...]) -> Facts:
        if self.refusal:
            assert self.status.phase is not None, "a refused first pod is a matter of acceptance"
            return replace(facts, refusal=self.refusal)
        return replace(facts, pods=(*facts.pods, *(self._make_pod(pod) for pod in wanted)))

    def _make_pod(self, wanted: PodWanted) -> PodView:
        epoch, taken = wanted.epoch, {pod.epoch: pod for pod in self.pods.values() if pod.agent == wanted.agent}
        while epoch in taken:
            if not taken[epoch].is_deleting:
                return taken[epoch]  # made by an earlier pass
            epoch += 1  # its name is taken until it is gone
        self.pods_made += 1
        pod = PodView(
            namespace="team",
            name=f"{wanted.agent}-{epoch}",
            uid=f"uid-{self.pods_made}",
            session_uid=SESSION_UID,
            agent=wanted.agent,
            epoch=epoch,
            resource_version="1",
            created_at=self.now,
            phase="Pending",
        )
        self._show(pod)
        if self.pods_shown is not None:
            self.pods_shown[pod.uid] = pod
        return pod

    def _write(self, status: SessionStatus) -> None:
        self.writes += 1
        if status.phase is not None and status.phase is not self.phase:
            self.moves.append(Move(self.now, self.phase, status.phase))
            self.phases.append(status.phase.value)
            self.away = timedelta(0)
        self.status = status
        self._changed()

    def facts(self) -> Facts:
        """Return what the operator would observe now, before it asks the journal."""
        session = SessionView(
            namespace="team",
            name="rows",
            uid=SESSION_UID,
            generation=self.generation,
            resource_version="1",
            created_at=T0 - timedelta(minutes=1),
            is_deleting=self.is_deleted,
            spec=self.read_spec(),
            status=self.status,
        )
        journal = JournalView(is_reachable=self.is_gateway_up, level=self._heard(), away=self.away)
        return Facts(
            session=session,
            pods=self._seen_pods(),
            acceptance=self.acceptance,
            journal=journal,
            hold=self.hold,
            jitter=0,
        )

    def _heard(self) -> Level | None:
        if self.is_gateway_up and not self.is_news_late:
            self.heard = self.journal.level()
        return self.heard

    def _seen_pods(self) -> tuple[PodView, ...]:
        """Return the pods as the operator's watch has them; those that status names are asked for."""
        if self.pods_shown is None:
            return tuple(self.pods.values())
        named = {row.pod_uid for row in self.status.agents or [] if row.state not in {"Ended", "Lost"}}
        unseen = [pod for pod in self.pods.values() if pod.uid in named - self.pods_shown.keys()]
        return (*self.pods_shown.values(), *unseen)

    def operate(self) -> None:
        """Let the operator look until it has nothing more to do now."""
        for _ in range(MOST_PASSES):
            if not self.is_operator_up or not self.is_due:
                return
            self.reconcile()
        raise AssertionError(f"{MOST_PASSES} passes in a row, and it is not done: {self.phases}")

    @property
    def is_due(self) -> bool:
        """Whether the operator has a reason to look now."""
        return self.is_dirty or (self.wake_at is not None and self.wake_at <= self.now)

    def live(self, seconds: float) -> None:
        """Let time pass; an operator that is up looks whenever it asked to."""
        until = self.now + timedelta(seconds=seconds)
        self.operate()
        while self.now < until:
            wakes = [self.wake_at] if self.is_operator_up and self.wake_at else []
            ends = self.ends_at.values() if self.is_node_up else []
            hop = min([until, *wakes, *ends])
            self.pass_time((hop - self.now).total_seconds())
            self.end_pods_by_force()
            self.operate()

    def set_operator(self, *, up: bool) -> None:
        """Stop the operator, or start one that knows nothing."""
        self.is_operator_up, self.disturbed_at = up, self.now
        if up:
            self.is_dirty, self.pods_shown, self.is_news_late = True, None, False

    # --- people
    def ask(self, mode: OperatingMode) -> None:
        """Set operatingMode, as far as the CRD lets it."""
        if self.mode is not OperatingMode.CANCELLED and self.phase not in TERMINAL:
            self.asked_at = self.asked_at if mode is self.mode else self.now
            self.change(operatingMode=mode)

    def change(self, **fields: Any) -> None:
        """Change fields of the spec; None removes one."""
        spec = {key: value for key, value in {**self.spec, **fields}.items() if value is not None}
        if spec != self.spec and not self.is_deleted:
            self.spec, self.generation = spec, self.generation + 1
            self._changed()

    def send(self) -> bool:
        """Send a message; say whether it was acknowledged."""
        self.is_dirty = True
        return self.is_gateway_up and not self.is_deleted and self.journal.send()

    def ask_people(
        self, kind: ApprovalKind = ApprovalKind.APPROVAL, seconds: int | None = None, then: OnExpiry | None = None
    ) -> None:
        """Let the next turn have a call that people must decide."""
        self.journal.asks.append((kind, seconds, then))

    def decide(self, most: int = 100) -> None:
        """Let people decide so many of the calls that wait, if the gateway is there to take it."""
        if self.is_gateway_up:
            self.journal.decide(most)
            self.is_dirty |= not self.is_news_late

    def forget_decision(self) -> None:
        """Restore the journal as it was before people decided."""
        assert isinstance(self.journal, Gateway)
        assert self.journal.turn is not None
        self.journal.turn.is_decided = False
        self.is_dirty = True

    def delete(self) -> None:
        """Delete the session; the collector ends its pods."""
        self.is_deleted = self.is_dirty = True
        for uid in list(self.pods):
            self.end_pod(uid)

    def set_hold(self, words: str) -> None:
        """Hold everything in the namespace, or let it go on."""
        self.hold, self.disturbed_at, self.is_dirty = words, self.now, True

    def set_room(self, *, has_room: bool) -> None:
        """Fill the namespace's quota, or make room; that is told only to those who are in its queue."""
        self.has_room = has_room
        self.is_dirty |= is_waiting(self.facts().session)

    # --- the cluster
    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        self.journal.now = self.now
        self.journal.expire()
        if not self.is_gateway_up:
            self.away += timedelta(seconds=seconds)

    def run_pods(self) -> None:
        """Let every pod go on by one stage: start, take a step and obey, or be gone."""
        for pod in list(self.pods.values()):
            if pod.is_ended or not self.is_node_up:
                continue
            if pod.is_deleting:
                if not self.do_pods_hang:
                    self._forget(pod)
            elif pod.phase == "Pending":
                self._show(replace(pod, phase="Running", started_at=self.now))
            else:
                self._play(pod)

    def run_ending_pods(self) -> None:
        """Let pods that are being ended use their grace period to take one step more."""
        for pod in list(self.pods.values()):
            if pod.is_deleting and pod.phase == "Running" and self.is_node_up:
                self._play(pod)

    def _play(self, pod: PodView) -> None:
        if not self.is_gateway_up:
            return
        self.is_dirty |= not self.is_news_late
        code = self.journal.play(pod)
        if code is not None and not self.do_pods_hang:
            self._end(pod, code)

    def fail_pods(self, code: ErrorCode | None = ErrorCode.OVERLOADED) -> None:
        """Let every running pod end by an error; without a code it dies before it can say so."""
        for pod in list(self.pods.values()):
            if pod.phase != "Running" or pod.is_deleting or not self.is_node_up:
                continue
            if code is not None and self.is_gateway_up:
                self.journal.fail(pod, code)
            self._end(pod, ExitCode.ERROR if code is not None else 137)

    def end_pods_by_force(self) -> None:
        """Let the kubelet, if it is there, end pods whose grace period is over."""
        over = [uid for uid, at in self.ends_at.items() if at <= self.now]
        for pod in [self.pods[uid] for uid in over if self.is_node_up]:
            self._forget(pod)

    def lose_pods(self) -> None:
        """Take every pod away, as a dead node does once Kubernetes gives it up."""
        for pod in list(self.pods.values()):
            self._forget(pod)

    def end_pod(self, uid: str, *, grace_seconds: int = 30) -> None:
        """Delete a pod: one that ended goes at once; one that runs has a time to, which may be made shorter."""
        pod = self.pods.get(uid)
        if pod is None:
            return
        if pod.is_ended:
            self._forget(pod)
        else:
            self._show(replace(pod, is_deleting=True))
            ends_at = self.now + timedelta(seconds=grace_seconds)
            self.ends_at[uid] = min(self.ends_at.get(uid, ends_at), ends_at)

    def _end(self, pod: PodView, exit_code: int) -> None:
        phase = "Succeeded" if exit_code == 0 else "Failed"
        self._show(replace(pod, phase=phase, exit_code=int(exit_code), finished_at=self.now))
        if pod.is_deleting:
            self._forget(pod)

    def _show(self, pod: PodView) -> None:
        self.pods[pod.uid] = pod
        self.is_dirty |= self.pods_shown is None

    def _forget(self, pod: PodView) -> None:
        self.pods.pop(pod.uid, None)
        self.ends_at.pop(pod.uid, None)
        self.is_dirty |= self.pods_shown is None

    def _changed(self) -> None:
        """Tell the gateway, if it is there, and the operator of a new spec or status."""
        self.is_dirty = True
        if self.is_gateway_up:
            self.journal.see(self.read_spec(), self.status)

    # --- faults
    def set_gateway(self, *, up: bool) -> None:
        """Take the gateway away, or bring it back; it then reads the session anew."""
        self.disturbed_at = self.disturbed_at if up is self.is_gateway_up else self.now
        self.is_gateway_up = up
        self._changed()

    def set_node(self, *, up: bool) -> None:
        """Cut the node off, or bring it back."""
        self.is_node_up, self.disturbed_at = up, self.now
        self.end_pods_by_force()

    def set_hanging(self, *, hang: bool) -> None:
        """Let pods hang once they are through, or end."""
        self.do_pods_hang = hang

    def set_news(self, *, late: bool) -> None:
        """Hold back what the gateway tells the operator by itself, or let it through."""
        self._heard()
        self.is_news_late, self.is_dirty, self.disturbed_at = late, True, self.now

    def set_pod_watch(self, *, late: bool) -> None:
        """Hold back what the operator's watch of pods tells, or let it through."""
        self.pods_shown = dict(self.pods) if late else None
        self.is_dirty, self.disturbed_at = True, self.now

    def refuse_pods(self, words: str) -> None:
        """Let the API server refuse pods with these words; empty: take them."""
        self.refusal, self.disturbed_at, self.is_dirty = words, self.now, True

    def end_faults(self) -> None:
        """Let everything work again."""
        self.set_gateway(up=True)
        self.set_node(up=True)
        self.set_hanging(hang=False)
        self.set_operator(up=True)
        self.refuse_pods("")
        self.set_hold("")
        self.set_room(has_room=True)
