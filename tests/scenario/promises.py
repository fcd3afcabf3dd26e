"""What holds at every moment of a session's life, and where it ends once faults stop and people are still."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from agentsessions.api.reasons import ConditionType, Phase, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.api.v1alpha1.team import Strategy
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import DEFAULT_DEADLINES
from agentsessions.lifecycle.limits import LIMIT_STOPS
from agentsessions.lifecycle.phases import TERMINAL, TRANSITIONS
from agentsessions.lifecycle.situation import INACTIVE
from tests.scenario.gateway import Gateway
from tests.scenario.team_gateway import TeamGateway
from tests.scenario.world import World

GRACE = timedelta(seconds=30)
"""Between the request to a pod to end, and its end by force."""
SLACK = timedelta(seconds=2)
WITHOUT_PODS = frozenset({Phase.PAUSED, Phase.IDLE, Phase.QUEUED, Phase.WAITING, *TERMINAL})
SETTLED = frozenset({Phase.PAUSED, Phase.IDLE, Phase.WAITING, *TERMINAL})
CLOCKS_SECONDS = 1200
"""Longer than any expiry and time to live that the machine asks for."""
STILL_SECONDS = 1800
MOST_PASSES_WHILE_STILL = 4


@dataclass
class Witness:
    """Remembers what may only grow, and checks all promises against a world."""

    moves_seen: int = 0
    epochs: dict[str, int] = field(default_factory=dict)
    pod_of: dict[tuple[str, int], str] = field(default_factory=dict)
    steps: int = 0
    end: tuple[Phase, object, object] | None = None
    writes_at_deletion: tuple[int, int] | None = None

    def check(self, world: World) -> None:
        """Fail, naming the promise, when one is broken now."""
        self._check_moves(world)
        self._check_epochs(world)
        self._check_end(world)
        self._check_deletion(world)
        check_pods(world)
        check_journal(world.journal, world.status.stop_reason)
        if not world.is_disturbed and not world.is_deleted and not world.is_due:
            check_deadlines(world)
            check_clocks(world)

    def _check_moves(self, world: World) -> None:
        for move in world.moves[self.moves_seen :]:
            assert move.after in TRANSITIONS[move.before], f"{move.before} was followed by {move.after}"
        self.moves_seen = len(world.moves)

    def _check_epochs(self, world: World) -> None:
        for row in world.status.agents or []:
            before = self.epochs.get(row.name, 0)
            assert row.epoch >= before, f"epoch {row.epoch} of {row.name} came after {before}"
            assert row.pod_uid is not None
            known = self.pod_of.setdefault((row.name, row.epoch), row.pod_uid)
            assert known == row.pod_uid, f"epoch {row.epoch} of {row.name} has two pods"
            self.epochs[row.name] = row.epoch
        steps = world.status.usage.steps if world.status.usage else 0
        assert self.steps <= steps <= world.journal.steps, f"{steps} steps after {self.steps}"
        self.steps = steps

    def _check_end(self, world: World) -> None:
        if world.phase in TERMINAL:
            end = (world.phase, world.status.stop_reason, world.status.result)
            self.end = self.end or end
            assert end == self.end, f"a session that ended as {self.end} became {end}"

    def _check_deletion(self, world: World) -> None:
        if world.is_deleted:
            now = (world.writes, world.pods_made)
            self.writes_at_deletion = self.writes_at_deletion or now
            assert now == self.writes_at_deletion, "something was written or made for a session that is gone"


def check_pods(world: World) -> None:
    """I3: at most one pod without deletionTimestamp for each agent."""
    live = Counter(pod.agent for pod in world.pods.values() if not pod.is_deleting)
    assert not [agent for agent, count in live.items() if count > 1], f"pods stand beside each other: {live}"


def check_journal(journal: Gateway | TeamGateway, stop_reason: StopReason | None) -> None:
    """I1, I2, I5: turns 1..n once each, epochs only up, messages taken once each and in order."""
    by_agent = journal.commits_by_agent()
    for commits in by_agent.values():
        assert [step for step, _ in commits] == list(range(1, len(commits) + 1))
        epochs = [epoch for _, epoch in commits]
        assert epochs == sorted(epochs), f"turns of epochs {epochs}"
    open_turns = journal.steps - journal.committed
    assert 0 <= open_turns <= len(by_agent), f"{journal.steps} bought for {journal.committed} turns"
    if isinstance(journal, TeamGateway) and journal.team.strategy is Strategy.DIRECTOR:
        is_open = bool(journal.tasked)
        assert journal.answered + is_open == len(journal.given), "a task was lost, or answered twice"
    assert journal.taken == journal.acknowledged[: len(journal.taken)]
    if stop_reason is StopReason.GOAL_REACHED:
        assert journal.inbox == [], f"completed with messages {journal.inbox} that nobody answered"


def check_deadlines(world: World) -> None:
    """I8: no phase outlives its deadline unnoticed, no pod outlives a phase that needs none, a cancel is bounded."""
    deadlines = DEFAULT_DEADLINES
    since = max(world.status.phase_started_at or world.now, world.disturbed_at)
    age = world.now - since
    # What is asked to end is the kubelet's; on a node that is cut off it is fenced.
    pods = [pod.name for pod in world.pods.values() if not pod.is_ended and not pod.is_deleting]
    assert not (pods and world.phase in WITHOUT_PODS and age > GRACE + SLACK), f"{pods} run on in {world.phase}"
    effective = resolve(world.read_spec())
    cancelling = effective.shutdown_grace + deadlines.ending
    if world.mode is OperatingMode.CANCELLED:
        asked = world.now - max(world.asked_at, world.disturbed_at)
        is_late = asked > cancelling + SLACK
        assert world.phase in TERMINAL or not is_late, f"{world.phase} {asked} after the cancel"
    bound = {
        Phase.PENDING: deadlines.pending,
        Phase.QUEUED: deadlines.queued,
        Phase.STARTING: deadlines.starting + effective.max_backoff,
        Phase.RUNNING: deadlines.outer_bound + timedelta(seconds=effective.limits.timeout_seconds or 0),
        Phase.PAUSING: effective.pause_grace + deadlines.ending,
        Phase.CANCELLING: cancelling,
    }.get(world.phase)
    if world.phase is Phase.STARTING:
        tries = [world.status.next_retry_at, *(pod.created_at for pod in world.pods.values())]
        age = world.now - max([since, *(at for at in tries if at is not None)])
    is_late = bound is not None and age > bound + SLACK
    assert not is_late or is_stalled(world), f"{world.phase} for {age}, and not Stalled"


def check_clocks(world: World) -> None:
    """Check that a session in which nothing happens ends when it expires, unless a person paused it."""
    after = world.read_spec().expire_after_seconds
    is_waiting = world.phase in INACTIVE and world.mode is not OperatingMode.PAUSED and not world.journal.inbox
    if after is None or not is_waiting or world.status.phase_started_at is None:
        return
    age = world.now - max(world.status.phase_started_at, world.disturbed_at)
    assert age <= timedelta(seconds=after) + SLACK, f"{world.phase} for {age}, though it expires after {after} s"


def is_stalled(world: World) -> bool:
    """Tell whether status says that the session is stuck."""
    conditions = world.status.conditions or []
    return any(c.type == ConditionType.STALLED and c.status == "True" for c in conditions)


def settle(world: World, *, seconds: int = 900) -> None:
    """Let faults stop and people be still, and everything go on."""
    world.end_faults()
    for _ in range(seconds):
        world.operate()
        world.run_pods()
        world.live(1)
    world.live(CLOCKS_SECONDS)


def check_settled(world: World) -> None:
    """I7: after `settle` the session is where people want it, and nothing is written or looked at any more."""
    if not world.is_deleted:
        check_rest(world)
    before = (world.writes, world.pods_made)
    passes = world.passes
    world.live(STILL_SECONDS)
    assert (world.writes, world.pods_made) == before, "a session that stands still is written on"
    assert world.passes - passes <= MOST_PASSES_WHILE_STILL, f"{world.passes - passes} passes over a session at rest"


def check_rest(world: World) -> None:
    """Check that the session came to rest where people want it."""
    phase = world.phase
    assert phase in SETTLED, f"the session came to rest in {phase}"
    assert world.status.observed_generation == world.generation
    if world.mode is OperatingMode.PAUSED:
        assert phase in {Phase.PAUSED, *TERMINAL}
    elif world.mode is OperatingMode.CANCELLED:
        assert phase in TERMINAL
    else:
        may_pause = {*LIMIT_STOPS, StopReason.APPROVAL_EXPIRED}
        assert phase is not Phase.PAUSED or world.status.stop_reason in may_pause, "nobody wanted it to pause"
    assert [pod.name for pod in world.pods.values() if not pod.is_ended] == []
    left = Counter(pod.agent for pod in world.pods.values())
    assert max(left.values(), default=0) <= 1, f"pods {list(world.pods)} are left"
    if phase is Phase.IDLE:
        assert world.journal.inbox == []
        talk = world.read_spec().conversation
        assert talk is None or talk.open, "the conversation was closed, and nothing is left to do"
    if phase is Phase.WAITING:
        level = world.journal.level()
        asked = {one.agent for one in level.approval_pending}
        assert asked, "it waits for people, and nobody is asked"
        idle = [one.name for one in level.agents if one.is_due and one.name not in asked]
        assert idle == [], f"{idle} could go on, and wait for nobody"
    if phase is Phase.COMPLETED and world.journal.committed:
        assert world.status.usage is not None
        assert world.status.usage.steps == world.journal.steps
