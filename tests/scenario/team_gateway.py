"""A gateway in memory for a session with several agents: who is due, what each commits, and how its epochs end.

It keeps the rules that the real one keeps: due is written anew with each commit, a part ends once, a task is given
once and answered once, and only the last answer closes the session.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agentsessions.api.levels import AgentLevel, Closing, Level
from agentsessions.api.reasons import ErrorCode, ExitCode, LimitName, Phase
from agentsessions.api.v1alpha1.session import OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.api.v1alpha1.team import Strategy
from agentsessions.api.wire import Outcome
from agentsessions.lifecycle.facts import PodView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.teams import Progress, Team, find_due, find_listener, team_of
from tests.builders import SESSION_UID
from tests.scenario.gateway import EXIT_OF, IDLE_SECONDS, Ask, Turn, a_question

PASSED_ON = 4
"""How often work changes hands: it does not end where it began."""
EXITS = {**EXIT_OF, Outcome.HANDOFF: ExitCode.DONE}


@dataclass
class Epochs:
    """The epochs of one agent, or of those that share a pod."""

    fence: tuple[int, str] = (0, "")
    closing: Closing | None = None
    turns: int = 0


@dataclass
class Hand:
    """One agent."""

    left: int
    """Turns until its part, or its task, is answered."""
    epochs: Epochs
    turn: Turn | None = None
    commits: list[tuple[int, int]] = field(default_factory=list)
    steps: int = 0


@dataclass
class TeamGateway:
    """One session's journal. `see` is its watch; pods come by `play` and `fail`."""

    spec: SessionSpec
    status: SessionStatus
    now: datetime
    turns: int
    team: Team = field(init=False)
    hands: dict[str, Hand] = field(init=False)
    done: set[str] = field(default_factory=set)
    floor: str = ""
    tasked: str = ""
    """Who works on the director's task."""
    given: list[str] = field(default_factory=list)
    """Who was given work, each time."""
    answered: int = 0
    """Tasks that were answered."""
    is_over: bool = False
    limit_reached: LimitName | None = None
    acknowledged: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    """Questions that the next turns have for people."""
    idle_since: datetime | None = None
    idle_seconds: int = 0

    def __post_init__(self) -> None:
        team = team_of(self.spec)
        assert team is not None
        self.team = team
        epochs = {team.host_of(member.name): Epochs() for member in team.members}
        left = self.turns if self.spec.goal else 0
        self.hands = {member.name: Hand(left, epochs[team.host_of(member.name)]) for member in team.members}

    @property
    def inbox(self) -> list[int]:
        """Messages that no turn has taken."""
        return self.acknowledged[len(self.taken) :]

    @property
    def steps(self) -> int:
        """Answers bought."""
        return sum(hand.steps for hand in self.hands.values())

    @property
    def committed(self) -> int:
        """Turns committed so far."""
        return sum(len(hand.commits) for hand in self.hands.values())

    def commits_by_agent(self) -> dict[str, list[tuple[int, int]]]:
        """Return step and epoch of each committed turn."""
        return {name: hand.commits for name, hand in self.hands.items()}

    def due(self) -> tuple[str, ...]:
        """Return who has something to do."""
        return find_due(self.team, self._progress())

    def _progress(self) -> Progress:
        return Progress(frozenset(self.done), self.floor, frozenset({self.tasked} - {""}), self.is_over)

    # --- its watch
    def see(self, spec: SessionSpec, status: SessionStatus) -> None:
        """Take over what the session says now: the fences, upwards only, and the limits in force."""
        self.spec, self.status = spec, status
        for row in status.agents or []:
            epochs = self.hands[row.name].epochs
            if row.epoch > epochs.fence[0] and row.pod_uid and self.team.host_of(row.name) == row.name:
                epochs.fence, epochs.turns = (row.epoch, row.pod_uid), 0
                if epochs.closing and epochs.closing.outcome is not Outcome.FINAL:
                    epochs.closing = None
        if self.limit_reached and not self._is_step_limit_reached():
            self.limit_reached = None

    # --- people
    def send(self) -> bool:
        """Take a message in; say whether it was acknowledged."""
        if self.is_over or self.status.phase in TERMINAL or self._is_cancelled or self._is_talked_out:
            return False
        self.acknowledged.append(len(self.acknowledged) + 1)
        return True

    def decide(self, most: int = 100) -> None:
        """Take decisions in, for so many of the calls that wait for one."""
        for turn in [turn for turn in self._open_turns() if turn.waits_for][:most]:
            turn.decide()

    def expire(self) -> None:
        """Let the time to decide run out."""
        for turn in self._open_turns():
            turn.expire(self.now)

    def _open_turns(self) -> list[Turn]:
        return [hand.turn for hand in self.hands.values() if hand.turn is not None]

    # --- pods
    def play(self, pod: PodView) -> ExitCode | None:
        """Let a pod take one step of its loop; return the exit code with which it ends, if it does."""
        epochs = self.hands[pod.agent].epochs
        if (pod.epoch, pod.uid) != epochs.fence:
            return ExitCode.TERMINATED if pod.epoch <= epochs.fence[0] else None
        if epochs.closing is not None:
            return EXITS[epochs.closing.outcome]
        pod = self._as_player(pod)
        hand = self.hands[pod.agent]
        if self._is_cancelled or self.status.phase in TERMINAL:
            return ExitCode.TERMINATED
        return self._go_on(pod, hand) if hand.turn is None else self._play_turn(pod, hand, hand.turn)

    def _as_player(self, pod: PodView) -> PodView:
        """Return the pod as that of whom it plays: of those that share it the one that has the conversation."""
        at_work = self.due()[:1] or (pod.agent,)
        is_here = self.team.strategy is Strategy.HANDOFF and self.team.host_of(at_work[0]) == pod.agent
        return replace(pod, agent=at_work[0]) if is_here else pod

    def _play_turn(self, pod: PodView, hand: Hand, turn: Turn) -> ExitCode | None:
        if turn.given_to != pod.uid:
            return self._give(pod, turn)
        if not turn.is_bought:
            return self._buy(pod, hand, turn)
        if turn.question is None and self.asks:
            step = len(hand.commits) + 1
            turn.question = a_question(self.now, *self.asks.pop(0), agent=pod.agent, step=step)
        if turn.waits_for is not None:
            return self._wait(pod, turn)
        if pod.agent == self.team.first and self.tasked:  # its call waits for the other's answer
            return ExitCode.TERMINATED if self._is_paused else None
        return self._commit(pod, hand)

    def _wait(self, pod: PodView, turn: Turn) -> ExitCode | None:
        """Tell the pod to wait; it ends its epoch with its next step, whatever was decided meanwhile."""
        if turn.told != pod.uid:
            turn.told = pod.uid
            return None
        return self._close(pod, Outcome.WAITING)

    def fail(self, pod: PodView, code: ErrorCode) -> None:
        """Record that a pod's epoch ended by an error."""
        epochs = self.hands[pod.agent].epochs
        if (pod.epoch, pod.uid) == epochs.fence and epochs.closing is None:
            self._close(pod, Outcome.ERROR, code)

    def _give(self, pod: PodView, turn: Turn) -> ExitCode | None:
        if self._is_paused:
            return ExitCode.PAUSED
        turn.given_to = pod.uid
        return None

    def _buy(self, pod: PodView, hand: Hand, turn: Turn) -> ExitCode | None:
        if self._is_step_limit_reached():
            self.limit_reached = LimitName.STEPS
            return ExitCode.LIMIT
        hand.steps += 1
        turn.is_bought = True
        is_director = self.team.strategy is Strategy.DIRECTOR and pod.agent == self.team.first
        if is_director and hand.left > 1 and len(self.given) < PASSED_ON:
            others = [member.name for member in self.team.members[1:]]
            self.tasked = others[len(self.given) % len(others)]
            self.given.append(self.tasked)
            self.hands[self.tasked].left = self.turns
        return None

    def _commit(self, pod: PodView, hand: Hand) -> ExitCode | None:
        hand.commits.append((len(hand.commits) + 1, pod.epoch))
        hand.epochs.turns += 1
        hand.left -= 1
        hand.turn = None
        if hand.left > 0 or (self.inbox and self._listens(pod)):
            return self._go_on(pod, hand)
        if self._is_open and not self._passes_on(pod.agent):
            return self._wait_for_message(pod)
        self._end_part(pod.agent)
        if not self.is_over and self.floor and self.team.host_of(self.floor) == self.team.host_of(pod.agent):
            return None  # who shares the pod goes on in it
        return self._close(pod, Outcome.FINAL if self.is_over else Outcome.HANDOFF)

    def _passes_on(self, agent: str) -> bool:
        """Tell whether the end of an agent's part is not that of the work."""
        if self.team.strategy is Strategy.HANDOFF:
            return len(self.given) < PASSED_ON
        return agent != self.team.first

    def _end_part(self, agent: str) -> None:
        match self.team.strategy:
            case Strategy.HANDOFF if len(self.given) < PASSED_ON:
                names = [member.name for member in self.team.members]
                self.floor = names[(names.index(agent) + 1) % len(names)]
                self.given.append(self.floor)
                self.hands[self.floor].left = self.turns
            case Strategy.DIRECTOR if agent != self.team.first:
                self.tasked = ""
                self.answered += 1
            case Strategy.SEQUENTIAL | Strategy.PARALLEL:
                self.done.add(agent)
                self.is_over = len(self.done) == len(self.hands)
            case _:
                self.is_over = True

    def _go_on(self, pod: PodView, hand: Hand) -> ExitCode | None:
        """Pin the next turn, or close the epoch."""
        if pod.agent not in self.due():
            return self._close(pod, Outcome.HANDOFF)
        if self.inbox and self._listens(pod):
            self.taken += self.inbox
            hand.left = max(hand.left, 1)
        if hand.left == 0:
            return self._wait_for_message(pod)
        self._end_gap()
        hand.turn = Turn()
        return self._give(pod, hand.turn)

    def _listens(self, pod: PodView) -> bool:
        return find_listener(self.team, self._progress()) == pod.agent

    def _wait_for_message(self, pod: PodView) -> ExitCode | None:
        if not self._is_open:
            self.is_over = True
            return self._close(pod, Outcome.FINAL)
        self.idle_since = self.idle_since or self.now
        if self._is_paused:
            self._end_gap()
            return ExitCode.PAUSED
        talk = self.spec.conversation
        seconds = talk.idle_seconds if talk and talk.idle_seconds is not None else IDLE_SECONDS
        is_long = self.now - self.idle_since >= timedelta(seconds=seconds)
        return self._close(pod, Outcome.IDLE) if is_long else None

    def _end_gap(self) -> None:
        if self.idle_since is not None:
            self.idle_seconds += int((self.now - self.idle_since).total_seconds())
            self.idle_since = None

    def _close(self, pod: PodView, outcome: Outcome, code: ErrorCode | None = None) -> ExitCode:
        self._end_gap()
        host = self.team.host_of(pod.agent)
        self.hands[host].epochs.closing = Closing(
            agent=host,
            epoch=pod.epoch,
            pod_uid=pod.uid,
            outcome=outcome,
            code=code,
            message=f"it broke: {code}" if code else None,
        )
        return EXITS[outcome]

    @property
    def _is_paused(self) -> bool:
        return self.spec.operating_mode is OperatingMode.PAUSED or self.status.phase in {Phase.PAUSING, Phase.PAUSED}

    @property
    def _is_open(self) -> bool:
        return bool(self.spec.conversation and self.spec.conversation.open)

    @property
    def _is_talked_out(self) -> bool:
        """Whether a person closed the conversation while nothing was to be done: it is about to be completed."""
        if self.spec.conversation is None or self._is_open or self.inbox:
            return False
        closing = self.hands[find_listener(self.team, self._progress())].epochs.closing
        return closing.outcome is Outcome.IDLE if closing else not (self.spec.goal or self.steps)

    @property
    def _is_cancelled(self) -> bool:
        return self.spec.operating_mode is OperatingMode.CANCELLED

    def _is_step_limit_reached(self) -> bool:
        most = self.status.effective.max_steps if self.status.effective else None
        return most is not None and self.steps >= most

    # --- the operator
    def level(self) -> Level:
        """Return what the operator would read from the store now."""
        due = self.due()
        agents = tuple(
            AgentLevel(
                name=name,
                is_due=name in due,
                epoch_turns=hand.epochs.turns if self.team.host_of(name) == name else 0,
                closing=hand.epochs.closing if self.team.host_of(name) == name else None,
                steps=hand.steps,
                tokens=hand.steps,
            )
            for name, hand in self.hands.items()
        )
        return Level(
            session_uid=SESSION_UID,
            namespace="team",
            name="rows",
            head=self.committed + len(self.given) + 1,
            digest=f"{self.committed:064d}",
            steps=self.steps,
            turns=self.committed,
            limit_reached=self.limit_reached,
            limit_message=f"limit {self.limit_reached} is reached" if self.limit_reached else None,
            agents=agents,
            approval_pending=[turn.waits_for for turn in self._open_turns() if turn.waits_for is not None],
            inbox_pending=len(self.inbox),
            idle_since=self.idle_since,
            idle_seconds=self.idle_seconds,
            result="done" if self.committed else None,
        )
