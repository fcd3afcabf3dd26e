"""A gateway in memory: the journal of one session, as its pods and the operator see it.

It keeps the rules that the real one keeps: fences upwards only, a turn is pinned once and the same for every epoch,
an answer is bought once, an epoch closes once, an idle closing is written only with an empty inbox.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agentsessions.api.levels import Closing, Level
from agentsessions.api.reasons import ErrorCode, ExitCode, LimitName
from agentsessions.api.v1alpha1.approval import ApprovalKind, ApprovalRequest, OnExpiry
from agentsessions.api.v1alpha1.session import OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.status import RoundStatus, SessionStatus
from agentsessions.api.wire import Outcome
from agentsessions.lifecycle.approvals import is_expired
from agentsessions.lifecycle.facts import PodView
from agentsessions.lifecycle.phases import TERMINAL
from tests.builders import SESSION_UID

TURNS = 4
"""Turns that a goal takes."""
IDLE_SECONDS = 60
LONG_GAP = timedelta(seconds=60)
"""A gap between two rounds that is longer holds no pod."""
EXIT_OF = {
    Outcome.FINAL: ExitCode.DONE,
    Outcome.IDLE: ExitCode.IDLE,
    Outcome.ERROR: ExitCode.ERROR,
    Outcome.WAITING: ExitCode.APPROVAL,
}


@dataclass
class Turn:
    """A pinned turn."""

    given_to: str = ""
    """Uid of the pod that plays it."""
    is_bought: bool = False
    question: ApprovalRequest | None = None
    """What people are asked about a call of it."""
    told: str = ""
    """Uid of the pod that was told to wait for them."""
    is_decided: bool = False

    @property
    def waits_for(self) -> ApprovalRequest | None:
        """What nobody has decided yet."""
        return None if self.is_decided else self.question

    def decide(self) -> None:
        """Take a decision in, for the call that waits for one."""
        self.is_decided = self.is_decided or self.question is not None

    def expire(self, now: datetime) -> None:
        """Let the time to decide run out; with Pause it is left to people."""
        question = self.question
        if question is not None and is_expired(question, now) and question.on_expiry is not OnExpiry.PAUSE:
            self.decide()


Ask = tuple[ApprovalKind, int | None, OnExpiry | None]
"""What people are to decide: of which kind, within how many seconds, and what comes after."""


def a_question(
    now: datetime,
    kind: ApprovalKind = ApprovalKind.APPROVAL,
    seconds: int | None = None,
    then: OnExpiry | None = None,
    agent: str = "agent",
    step: int = 1,
) -> ApprovalRequest:
    """Return a question about a call."""
    return ApprovalRequest(
        kind=kind,
        agent=agent,
        round=1,
        step=step,
        call_id=f"call_{step}",
        tool="shell",
        arguments="{}",
        arguments_digest="0" * 64,
        message="it is asked",
        asked_at=now,
        expires_at=None if seconds is None else now + timedelta(seconds=seconds),
        on_expiry=then,
    )


@dataclass
class Rounds:
    """Where a session of type Metrics is."""

    anchor: datetime
    number: int = 1
    completed: int = 0
    missed: int = 0


@dataclass
class Gateway:
    """One session's journal. `see` is its watch; pods come by `play` and `fail`."""

    spec: SessionSpec
    status: SessionStatus
    now: datetime
    turns: int = TURNS
    fence: tuple[int, str] = (0, "")
    closing: Closing | None = None
    turn: Turn | None = None
    left: int = 0
    """Turns until the goal, or the newest message, is answered."""
    has_begun: bool = False
    rounds: Rounds | None = None
    commits: list[tuple[int, int]] = field(default_factory=list)
    """Step and epoch of each committed turn."""
    steps: int = 0
    epoch_turns: int = 0
    limit_reached: LimitName | None = None
    acknowledged: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    idle_since: datetime | None = None
    idle_seconds: int = 0
    asks: list[Ask] = field(default_factory=list)
    """Questions that the next turns have for people."""

    @property
    def committed(self) -> int:
        """Turns committed so far."""
        return len(self.commits)

    def commits_by_agent(self) -> dict[str, list[tuple[int, int]]]:
        """Return step and epoch of each committed turn."""
        return {"agent": self.commits}

    @property
    def inbox(self) -> list[int]:
        """Messages that no turn has taken."""
        return self.acknowledged[len(self.taken) :]

    # --- its watch
    def see(self, spec: SessionSpec, status: SessionStatus) -> None:
        """Take over what the session says now: the fence, upwards only, and the limits in force."""
        self.spec, self.status = spec, status
        for row in status.agents or []:
            if row.epoch > self.fence[0] and row.pod_uid:
                self.fence, self.epoch_turns = (row.epoch, row.pod_uid), 0
                if self.closing and self.closing.outcome is not Outcome.FINAL:
                    self.closing = None
        if self.limit_reached and not self._is_step_limit_reached():
            self.limit_reached = None

    # --- people
    def send(self) -> bool:
        """Take a message in; say whether it was acknowledged."""
        is_final = self.closing is not None and self.closing.outcome is Outcome.FINAL
        if is_final or self.status.phase in TERMINAL or self._is_cancelled or self._is_talked_out:
            return False
        self.acknowledged.append(len(self.acknowledged) + 1)
        return True

    def decide(self, most: int = 1) -> None:
        """Take a decision in, for the call that waits for one."""
        if self.turn is not None and most:
            self.turn.decide()

    def expire(self) -> None:
        """Let the time to decide run out."""
        if self.turn is not None:
            self.turn.expire(self.now)

    # --- pods
    def play(self, pod: PodView) -> ExitCode | None:
        """Let a pod take one step of its loop; return the exit code with which it ends, if it does."""
        if (pod.epoch, pod.uid) != self.fence:
            return ExitCode.TERMINATED if pod.epoch <= self.fence[0] else None  # 412, or 425: it asks again
        if self.closing is not None:
            return EXIT_OF[self.closing.outcome]
        if self._is_cancelled or self.status.phase in TERMINAL:
            return ExitCode.TERMINATED
        if self.turn is None:
            return self._go_on(pod)
        return self._give(pod) if self.turn.given_to != pod.uid else self._play_turn(pod)

    def fail(self, pod: PodView, code: ErrorCode) -> None:
        """Record that a pod's epoch ended by an error."""
        if (pod.epoch, pod.uid) == self.fence and self.closing is None:
            self._close(pod, Outcome.ERROR, code)

    def _give(self, pod: PodView) -> ExitCode | None:
        if self.spec.operating_mode is OperatingMode.PAUSED:
            return ExitCode.PAUSED
        assert self.turn is not None
        self.turn.given_to = pod.uid
        return None

    def _buy(self) -> ExitCode | None:
        assert self.turn is not None
        if self._is_step_limit_reached():
            self.limit_reached = LimitName.STEPS
            return ExitCode.LIMIT
        self.steps += 1
        self.turn.is_bought = True
        return None

    def _play_turn(self, pod: PodView) -> ExitCode | None:
        assert self.turn is not None
        if not self.turn.is_bought:
            return self._buy()
        return self._wait(pod) if self._must_ask() else self._commit(pod)

    def _must_ask(self) -> bool:
        """Tell whether a call of the turn waits for people."""
        assert self.turn is not None
        if self.turn.question is None and self.asks:
            self.turn.question = a_question(self.now, *self.asks.pop(0), step=self.committed + 1)
        return self.turn.waits_for is not None

    def _wait(self, pod: PodView) -> ExitCode | None:
        """Tell the pod to wait; it ends its epoch with its next step, whatever was decided meanwhile."""
        assert self.turn is not None
        if self.turn.told != pod.uid:
            self.turn.told = pod.uid
            return None
        return self._close(pod, Outcome.WAITING)

    def _commit(self, pod: PodView) -> ExitCode | None:
        self.commits.append((self.committed + 1, pod.epoch))
        self.epoch_turns += 1
        self.left -= 1
        self.turn = None
        if self.left == 0 and self.rounds is not None:
            self.rounds.completed += 1
        return self._go_on(pod)

    def _go_on(self, pod: PodView) -> ExitCode | None:
        """Pin the next turn, wait for one, or close the epoch."""
        if self._begin_work():
            self._end_gap()
            self.turn = Turn()
            return self._give(pod)
        if self._is_over():
            return self._close(pod, Outcome.FINAL)
        self.idle_since = self.idle_since or self.now
        if self.spec.operating_mode is OperatingMode.PAUSED:
            self._end_gap()
            return ExitCode.PAUSED
        if self._is_gap_long():
            return self._close(pod, Outcome.IDLE)
        return None

    def _begin_work(self) -> bool:
        """Tell whether there is a turn to pin, and take what belongs to it."""
        if not self.has_begun and self.spec.goal:
            self.has_begun, self.left = True, self.turns
            self.rounds = Rounds(self.now) if self.spec.schedule else None
        elif self.left == 0 and self.rounds is not None:
            self._begin_round()
        if self.inbox:
            self.taken += self.inbox
            self.left = max(self.left, 1)
        return self.left > 0

    def _begin_round(self) -> None:
        rounds, schedule = self.rounds, self.spec.schedule
        assert rounds is not None
        assert schedule is not None
        interval = timedelta(seconds=schedule.interval_seconds)
        while (due := self._next_round_at()) is not None and due + interval <= self.now:
            rounds.number += 1
            rounds.missed += 1
        if due is not None and due <= self.now:
            rounds.number += 1
            self.left = self.turns

    def _next_round_at(self) -> datetime | None:
        """Return when the next round is due; None after the last one."""
        if self.rounds is None or self.spec.schedule is None:
            return None
        passed = timedelta(seconds=self.spec.schedule.interval_seconds) * self.rounds.number
        is_within = passed < timedelta(seconds=self.spec.schedule.duration_seconds)
        return self.rounds.anchor + passed if is_within else None

    def _is_over(self) -> bool:
        """Tell whether nothing is left to do, now or later."""
        if self.spec.schedule is not None:
            return self._next_round_at() is None
        return not self._is_open

    def _is_gap_long(self) -> bool:
        assert self.idle_since is not None
        if (due := self._next_round_at()) is not None:
            return due - self.now > LONG_GAP
        talk = self.spec.conversation
        seconds = talk.idle_seconds if talk and talk.idle_seconds is not None else IDLE_SECONDS
        return self.now - self.idle_since >= timedelta(seconds=seconds)

    def _end_gap(self) -> None:
        if self.idle_since is not None:
            self.idle_seconds += int((self.now - self.idle_since).total_seconds())
            self.idle_since = None

    def _close(self, pod: PodView, outcome: Outcome, code: ErrorCode | None = None) -> ExitCode:
        self._end_gap()
        message = f"it broke: {code}" if code else None
        self.closing = Closing(
            agent=pod.agent, epoch=pod.epoch, pod_uid=pod.uid, outcome=outcome, code=code, message=message
        )
        return EXIT_OF[outcome]

    @property
    def _is_open(self) -> bool:
        return bool(self.spec.conversation and self.spec.conversation.open)

    @property
    def _is_talked_out(self) -> bool:
        """Whether a person closed the conversation while nothing was to be done: it is about to be completed."""
        if self.spec.conversation is None or self._is_open or self.inbox:
            return False
        return self.closing.outcome is Outcome.IDLE if self.closing else not (self.spec.goal or self.fence[0])

    @property
    def _is_cancelled(self) -> bool:
        return self.spec.operating_mode is OperatingMode.CANCELLED

    def _is_step_limit_reached(self) -> bool:
        most = self.status.effective.max_steps if self.status.effective else None
        return most is not None and self.steps >= most

    # --- the operator
    def level(self) -> Level:
        """Return what the operator would read from the store now."""
        return Level(
            session_uid=SESSION_UID,
            namespace="team",
            name="rows",
            head=self.committed + 1,
            digest=f"{self.committed:064d}",
            steps=self.steps,
            turns=self.committed,
            epoch_turns=self.epoch_turns,
            limit_reached=self.limit_reached,
            limit_message=f"limit {self.limit_reached} is reached" if self.limit_reached else None,
            closing=self.closing,
            approval_pending=self._pending(),
            inbox_pending=len(self.inbox),
            idle_since=self.idle_since,
            idle_seconds=self.idle_seconds,
            round=self._round(),
            result="done" if self.committed else None,
        )

    def _pending(self) -> list[ApprovalRequest]:
        question = self.turn.waits_for if self.turn is not None else None
        return [] if question is None else [question]

    def _round(self) -> RoundStatus | None:
        if self.rounds is None:
            return None
        rounds = self.rounds
        return RoundStatus(
            number=rounds.number, completed=rounds.completed, missed=rounds.missed, next_at=self._next_round_at()
        )
