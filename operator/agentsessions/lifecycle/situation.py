"""Facts read the way checks ask for them: which pod counts, what the journal says of it, what was spent.

The row of an agent in status names the pod that counts, by uid. A pod with a higher epoch and no row is one that was
created just before a crash: it is adopted, never doubled.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from agentsessions.api.levels import AgentLevel, Closing, Level
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.agent import Agent
from agentsessions.api.v1alpha1.session import OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.source import SourceHistory
from agentsessions.api.v1alpha1.status import AgentStatus, SessionStatus, Usage
from agentsessions.api.wire import Outcome as TurnOutcome
from agentsessions.lifecycle.effective import Effective, resolve
from agentsessions.lifecycle.facts import Facts, PodView
from agentsessions.lifecycle.teams import Progress, Team, find_due, team_of
from agentsessions.lifecycle.ties import DirectorState

INACTIVE: Final = frozenset({Phase.PENDING, Phase.QUEUED, Phase.IDLE, Phase.WAITING, Phase.PAUSED})
"""Phases without a pod, in which nothing happens until somebody does something, or there is room."""


class EpochState(StrEnum):
    """What became of the pod that counts; these words stand in `status.agents[].state`."""

    NONE = "None"
    STARTING = "Starting"
    RUNNING = "Running"
    ENDED = "Ended"
    LOST = "Lost"
    STANDBY = "Standby"
    """Of one that shares a pod: another one that shares it is at work."""
    FAILED = "Failed"
    """Of one among several: the session goes on without the agent."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Facts at one instant, with what they imply."""

    facts: Facts
    now: datetime
    effective: Effective
    team: Team | None = None
    """With several agents: how they work together."""
    focus: str = ""
    """The agent that is looked at, among several; `of` gives one. Facts of the session are the same for all."""

    def of(self, agent: str) -> "Situation":
        """Return the same facts with a look at one agent of several."""
        return replace(self, focus=agent)

    @property
    def status(self) -> SessionStatus:
        """The status as it stands."""
        return self.facts.session.status

    @property
    def phase(self) -> Phase:
        """The phase as it stands; Pending before the first."""
        return self.status.phase or Phase.PENDING

    @property
    def mode(self) -> OperatingMode:
        """What people want: of the session, or of the director that it names."""
        own = self.facts.session.spec.operating_mode
        match self.facts.ties.director:
            case DirectorState.CANCELLED:
                return OperatingMode.CANCELLED
            case DirectorState.PAUSED if own is OperatingMode.RUNNING:
                return OperatingMode.PAUSED
        return own

    @property
    def agent(self) -> Agent:
        """The agent that is looked at: the session's one agent, where there is but one."""
        return next((agent for agent in self.effective.agents if agent.name == self.focus), self.effective.agents[0])

    @property
    def host(self) -> str:
        """The agent whose pod it plays in: itself, unless it shares that of another one."""
        return self.team.host_of(self.agent.name) if self.team else self.agent.name

    @property
    def row(self) -> AgentStatus | None:
        """The agent's row in status. Of those that share a pod the one at work tells of it, and of its epochs."""
        rows = {row.name: row for row in self.status.agents or []}
        own = rows.get(self.agent.name)
        if self.team is None:
            return own
        sharing = [rows[name] for name in self.team.group_of(self.agent.name) if name in rows]
        at_work = max(sharing, key=_tells_of_epochs, default=own)
        if at_work is None or at_work is own:
            return own
        spent = {"steps": own.steps, "tokens": own.tokens} if own else {"steps": None, "tokens": None}
        return at_work.model_copy(update={"name": self.agent.name, **spent})

    @property
    def ended_row(self) -> AgentStatus | None:
        """The agent's row, with its epoch ended."""
        return self.row and self.row.model_copy(update={"state": EpochState.ENDED.value})

    @property
    def ended_rows(self) -> tuple[AgentStatus, ...]:
        """All rows, with their epochs ended."""
        rows, kept = self.status.agents or (), EpochState.FAILED.value
        return tuple(r if r.state == kept else r.model_copy(update={"state": EpochState.ENDED.value}) for r in rows)

    @property
    def has_begun(self) -> bool:
        """Whether any agent had a pod."""
        return bool(self.status.agents)

    @property
    def own_pods(self) -> tuple[PodView, ...]:
        """The agent's pods."""
        if self.team is None:
            return self.facts.pods
        return tuple(pod for pod in self.facts.pods if pod.agent == self.host)

    @property
    def agent_level(self) -> AgentLevel | None:
        """How the epochs of the agent's pod stand in the journal, among several."""
        return next((one for one in self.level.agents if one.name == self.host), None) if self.level else None

    @property
    def epoch_turns(self) -> int:
        """Turns that the agent's newest fenced epoch committed."""
        if self.team is not None:
            return self.agent_level.epoch_turns if self.agent_level else 0
        return self.level.epoch_turns if self.level else 0

    @property
    def retries(self) -> int:
        """The agent's epochs in a row that committed no turn."""
        of_agent = self.row.retries if self.row else None
        return (self.status.retries if self.team is None else of_agent) or 0

    @property
    def next_retry_at(self) -> datetime | None:
        """When the agent's next epoch starts after a failure."""
        if self.team is None or self.row is None:
            return self.status.next_retry_at
        return self.row.next_retry_at

    @property
    def is_done(self) -> bool:
        """Whether the journal holds the session's final answer."""
        if self.team is None:
            return self.closing is not None and self.closing.outcome is TurnOutcome.FINAL
        closings = [agent.closing for agent in self.level.agents] if self.level else []
        return any(closing is not None and closing.outcome is TurnOutcome.FINAL for closing in closings)

    @property
    def due(self) -> tuple[str, ...]:
        """The agents of several that have something to do.

        The journal says so. Before it knows the session that follows from the spec; of one that has begun, and of which
        nothing is known while the gateway is away, who was at work counts.
        """
        if self.team is None:
            return (self.agent.name,)
        if self.level is not None and self.level.agents:
            return tuple(agent.name for agent in self.level.agents if agent.is_due)
        over = {EpochState.ENDED.value, EpochState.FAILED.value, EpochState.STANDBY.value}
        at_work = [row.name for row in self.status.agents or () if row.state not in over]
        return tuple(at_work) or find_due(self.team, Progress())

    @property
    def level(self) -> Level | None:
        """The journal's level, when one is known."""
        return self.facts.journal.level

    @property
    def pod(self) -> PodView | None:
        """The pod that the agent's row names."""
        row = self.row
        return next((pod for pod in self.facts.pods if row and pod.uid == row.pod_uid), None)

    @property
    def newer_pod(self) -> PodView | None:
        """A pod created for a later epoch than the row's, whose row was not written."""
        epoch = self.row.epoch if self.row else 0
        newer = [pod for pod in self.own_pods if pod.epoch > epoch and not pod.is_deleting]
        return max(newer, key=lambda pod: pod.epoch, default=None)

    @property
    def remaining_pods(self) -> tuple[PodView, ...]:
        """Pods whose containers may still run."""
        return tuple(pod for pod in self.facts.pods if not pod.is_ended)

    @property
    def epoch_state(self) -> EpochState:
        """What became of the pod that counts."""
        pod = self.pod
        if self.row is None:
            return EpochState.NONE
        if self.row.state == EpochState.FAILED.value:
            return EpochState.FAILED
        if pod is not None and pod.is_ended:
            return EpochState.ENDED
        if pod is None or pod.is_deleting:
            return EpochState.LOST
        # Unknown: its node cannot be reached, and may be again; it counts until Kubernetes gives it up.
        return EpochState.RUNNING if pod.phase in {"Running", "Unknown"} else EpochState.STARTING

    @property
    def closing(self) -> Closing | None:
        """The journal's record of how the row's epoch ended."""
        closing = self.level.closing if self.level else None
        if self.team is not None:
            closing = self.agent_level.closing if self.agent_level else None
        if closing is None or self.row is None:
            return None
        is_ours = closing.outcome is TurnOutcome.FINAL or closing.pod_uid == self.row.pod_uid
        return closing if is_ours else None

    @property
    def is_level_wanted(self) -> bool:
        """Whether the journal could be asked, and was not since the pods were observed."""
        return self.facts.journal.is_reachable and not self.facts.journal.is_fresh

    @property
    def is_inbox_unknown(self) -> bool:
        """Whether a message may wait of which nothing is known here: the gateway, which takes them, is away."""
        return not self.facts.journal.is_reachable

    @property
    def in_phase(self) -> timedelta:
        """Time since the phase began; never negative."""
        since = self.status.phase_started_at or self.now
        return max(self.now - since, timedelta(0))

    @property
    def start_began_at(self) -> datetime:
        """When the present try to get a pod running began.

        That of the phase, of a retry that was waited for, of the pod, or of a move: whichever came last.
        """
        pod, move = self.pod, self.status.migration
        moved_at = move.since if move is not None else None
        tries = (self.status.phase_started_at, self.next_retry_at, pod.created_at if pod else None, moved_at)
        return max((at for at in tries if at is not None), default=self.now)

    @property
    def idle_seconds(self) -> int:
        """All the time that epochs waited with nothing to do, up to now."""
        level, before = self.level, (self.status.usage or Usage()).idle_seconds
        if level is None:
            return before
        now = max(self.now - level.idle_since, timedelta(0)) if level.idle_since is not None else timedelta(0)
        return max(level.idle_seconds + int(now.total_seconds()), before)

    @property
    def idle_in_phase(self) -> timedelta:
        """Time of the present phase in which epochs waited with nothing to do."""
        return timedelta(seconds=self.idle_seconds - (self.status.usage or Usage()).idle_seconds)

    @property
    def active(self) -> timedelta:
        """Time of work in phase Running while the gateway could be reached."""
        worked = timedelta(seconds=(self.status.usage or Usage()).active_seconds)
        if self.phase is not Phase.RUNNING:
            return worked
        free = self.facts.journal.away + self.idle_in_phase
        return worked + max(self.in_phase - free, timedelta(0))

    @property
    def has_work(self) -> bool:
        """Whether there is anything for an agent to do: a goal, a turn begun, a message, a round that is due."""
        if self.team is not None and not self.focus:
            return any(self.of(name).has_work for name in self.due)
        level, closing = self.level, self.closing
        if level is not None and level.inbox_pending > 0:
            return True
        if closing is not None and closing.outcome is TurnOutcome.IDLE:
            return self.next_round_at is not None and self.now >= self.next_round_at
        return self.has_begun or _begins_by_itself(self.facts.session.spec)

    @property
    def next_round_at(self) -> datetime | None:
        """When the next round of a session of type Metrics is due."""
        return self.level.round.next_at if self.level is not None and self.level.round is not None else None

    @property
    def expires_at(self) -> datetime | None:
        """When the session ends for want of anything happening; None while something does or a person paused it."""
        after, since = self.facts.session.spec.expire_after_seconds, self.status.phase_started_at
        is_wanted_so = self.mode is OperatingMode.PAUSED
        if after is None or since is None or is_wanted_so or self.phase not in INACTIVE:
            return None
        return since + timedelta(seconds=after)


def _tells_of_epochs(row: AgentStatus) -> tuple[bool, bool, int, int]:
    """Return what tells the row of the one at work among those that share a pod: it alone has what failed."""
    is_at_work = row.state != EpochState.STANDBY.value
    return is_at_work, row.next_retry_at is not None, row.retries or 0, row.epoch


def _begins_by_itself(spec: SessionSpec) -> bool:
    """Return whether agents have something to do before anybody says a word; a fork may be in the midst of a turn."""
    is_continued = spec.source is not None and spec.source.history is not SourceHistory.RESET
    return spec.goal is not None or spec.replay is not None or is_continued


def read(facts: Facts, now: datetime) -> Situation:
    """Return the facts as seen at `now` (aware UTC)."""
    spec = facts.session.spec
    return Situation(facts=facts, now=now, effective=resolve(spec), team=team_of(spec))
