"""Lives of a session in any order: people, pods, faults, time. Promises are checked after each event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.approval import ApprovalKind, OnExpiry
from agentsessions.api.v1alpha1.life import OnLimit
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.ties import DirectorState
from tests.scenario.promises import Witness, check_settled, settle
from tests.scenario.world import Crash, World

SPECS: dict[str, dict[str, Any]] = {
    "a goal": {"goal": "count"},
    "a goal beyond its steps": {"goal": "count", "limits": {"maxSteps": 2}},
    "a goal whose steps may be raised": {"goal": "count", "limits": {"maxSteps": 2, "onLimit": {"default": "Pause"}}},
    "a goal that has to do": {"goal": "count", "limits": {"maxSteps": 2, "onLimit": {"steps": "Complete"}}},
    "a goal without retries": {"goal": "count", "retry": {"maxRetries": 0}},
    "a goal with a workspace": {"goal": "count", "workspace": {"size": "1Gi"}},
    "a conversation with a workspace": {"conversation": {"open": True}, "workspace": {"size": "1Gi"}},
    "a goal at a place": {"goal": "count", "placement": {"nodeSelector": {"pool": "a"}}},
    "a goal with clocks": {"goal": "count", "expireAfterSeconds": 300, "ttlSecondsAfterFinished": 600},
    "a child session": {"goal": "count", "directorRef": {"name": "boss"}},
    "a hard stop": {
        "goal": "count",
        "shutdown": {"gracePeriodSeconds": 0},
        "pausePolicy": {"boundary": "Immediate"},
    },
    "a conversation": {"conversation": {"open": True}},
    "another conversation": {"conversation": {"open": True, "idleSeconds": 5}},
    "a conversation with a goal": {"goal": "count", "conversation": {"open": True, "idleSeconds": 10}},
    "a conversation that expires": {"conversation": {"open": True, "idleSeconds": 0}, "expireAfterSeconds": 300},
    "rounds without a pause": {
        "goal": "count",
        "type": "Metrics",
        "schedule": {"intervalSeconds": 20, "durationSeconds": 90},
    },
    "rounds far apart": {
        "goal": "count",
        "type": "Metrics",
        "schedule": {"intervalSeconds": 150, "durationSeconds": 400},
    },
}
AGENTS = [{"name": name} for name in "abc"]
AFTER = [{"name": "a"}, {"name": "b"}, {"name": "c", "dependsOn": ["a", "b"]}]
MIXED = [{"name": "a"}, {"name": "b", "env": [{"name": "OWN", "value": "1"}]}, {"name": "c"}]
TEAMS: dict[str, dict[str, Any]] = {
    "agents in a row": {"goal": "count", "agents": AGENTS, "coordination": {"strategy": "Sequential"}},
    "agents beside each other": {"goal": "count", "agents": AFTER, "coordination": {"strategy": "Parallel"}},
    "agents that hand over": {"goal": "count", "agents": AGENTS, "coordination": {"strategy": "Handoff"}},
    "agents that hand over, one of them in a pod of its own": {
        "goal": "count",
        "agents": MIXED,
        "coordination": {"strategy": "Handoff"},
    },
    "agents that hand over a conversation": {
        "conversation": {"open": True, "idleSeconds": 5},
        "agents": AGENTS,
        "coordination": {"strategy": "Handoff"},
        "expireAfterSeconds": 300,
    },
    "a director that people talk to": {
        "goal": "count",
        "conversation": {"open": True, "idleSeconds": 10},
        "agents": AGENTS,
        "coordination": {"strategy": "Director"},
    },
    "a director": {"goal": "count", "agents": AGENTS, "coordination": {"strategy": "Director"}},
}
SPECS |= TEAMS
TURNS = 12
MUCH = {"maxSteps": 100, "timeoutSeconds": 900}
"""So that lives are long enough to meet something."""
MOVES_OF_THE_YOUNG = 2
"""Starting and Running."""
FAULTS: dict[str, Callable[[World], object]] = {
    "the gateway goes": lambda world: world.set_gateway(up=False),
    "the node is cut off": lambda world: world.set_node(up=False),
    "pods hang": lambda world: world.set_hanging(hang=True),
    "the operator goes": lambda world: world.set_operator(up=False),
    "news of the journal is late": lambda world: world.set_news(late=True),
    "news of pods is late": lambda world: world.set_pod_watch(late=True),
    "pods are refused": lambda world: world.refuse_pods("exceeded quota: pods") if world.status.phase else None,
    "the namespace is held": lambda world: world.set_hold("quota team holds this namespace"),
    "the quota is full": lambda world: world.set_room(has_room=False),
}
DEATHS = st.sampled_from([*ErrorCode, None])


class Life(RuleBasedStateMachine):
    """One session, and all that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.witness = Witness()

    @initialize(kind=st.sampled_from(sorted(SPECS)), stages=st.integers(0, 8))
    def create(self, kind: str, stages: int) -> None:
        self.create_one(kind, stages)

    def create_one(self, kind: str, stages: int) -> None:
        """Begin with a new session."""
        self.world, self.witness = World(spec={"limits": MUCH, **SPECS[kind]}, turns=TURNS), Witness()
        self.pods_go_on(stages)

    @precondition(lambda self: self.world.is_deleted or self.world.phase in TERMINAL)
    @rule(kind=st.sampled_from(sorted(SPECS)), stages=st.integers(1, 6))
    def another_session_begins(self, kind: str, stages: int) -> None:
        self.teardown()
        self.create_one(kind, stages)

    @property
    def is_grown(self) -> bool:
        """Whether the session has seen something, so that its end may come."""
        return len(self.world.moves) > MOVES_OF_THE_YOUNG

    # --- the operator
    @precondition(lambda self: self.world.is_operator_up)
    @rule()
    def operator_looks(self) -> None:
        self.world.operate()

    @precondition(lambda self: self.world.is_operator_up)
    @rule(crash=st.sampled_from([crash for crash in Crash if crash is not Crash.NOWHERE]))
    def operator_dies_in_a_pass(self, crash: Crash) -> None:
        self.world.reconcile(crash)

    # --- people
    @rule(mode=st.sampled_from([OperatingMode.PAUSED, OperatingMode.PAUSED, OperatingMode.RUNNING]))
    def person_pauses_or_resumes(self, mode: OperatingMode) -> None:
        self.world.ask(mode)

    @precondition(lambda self: self.is_grown)
    @rule()
    def person_cancels(self) -> None:
        self.world.ask(OperatingMode.CANCELLED)

    @precondition(lambda self: "directorRef" in self.world.spec)
    @rule(state=st.sampled_from([DirectorState.PAUSED, DirectorState.LIVE, DirectorState.LIVE]))
    def people_pause_or_resume_its_director(self, state: DirectorState) -> None:
        self.world.set_director(state)

    @precondition(lambda self: "directorRef" in self.world.spec and self.is_grown)
    @rule()
    def its_director_ends(self) -> None:
        self.world.set_director(DirectorState.CANCELLED)

    @rule(steps=st.sampled_from([1, 3, 20]), action=st.sampled_from([*OnLimit]))
    def person_changes_the_limit(self, steps: int, action: OnLimit) -> None:
        self.world.change(limits={"maxSteps": steps, "onLimit": {"default": action.value}})

    @rule(count=st.integers(1, 3))
    def person_sends_messages(self, count: int) -> None:
        for _ in range(count):
            self.world.send()

    @rule(
        kind=st.sampled_from(ApprovalKind),
        seconds=st.sampled_from([None, 20, 300]),
        then=st.sampled_from(OnExpiry),
    )
    def agent_asks_for_a_call_that_people_decide(self, kind: ApprovalKind, seconds: int | None, then: OnExpiry) -> None:
        self.world.ask_people(kind, seconds, then if seconds is not None else None)

    @rule(most=st.sampled_from([1, 100]))
    def people_decide(self, most: int) -> None:
        self.world.decide(most)

    @rule(pool=st.sampled_from(["a", "b", "c", None]), seconds=st.sampled_from([None, 5, 90]))
    def person_wants_another_place(self, pool: str | None, seconds: int | None) -> None:
        place = {"nodeSelector": {"pool": pool}, "timeoutSeconds": seconds}
        placement = {key: value for key, value in place.items() if value is not None}
        if self.world.phase not in TERMINAL:
            self.world.change(placement=placement if pool else None)

    @precondition(lambda self: "workspace" in self.world.spec)
    @rule(name=st.sampled_from(["slow", "fast", "full", None]), size=st.sampled_from(["1Gi", "2Gi"]))
    def person_wants_another_class(self, name: str | None, size: str) -> None:
        workspace = {"size": size} if name is None else {"size": size, "storageClassName": name}
        if self.world.phase not in TERMINAL:
            self.world.disks.full_class = "full"
            self.world.change(workspace=workspace)

    @rule(pool=st.sampled_from(["b", "c"]))
    def pool_is_full(self, pool: str) -> None:
        self.world.fill_pool(pool)

    @rule()
    def pools_have_room(self) -> None:
        self.world.full_pools.clear()

    @precondition(lambda self: "conversation" in self.world.spec)
    @rule()
    def person_closes_the_conversation(self) -> None:
        self.world.change(conversation={**self.world.spec["conversation"], "open": False})

    @precondition(lambda self: self.is_grown)
    @rule(seconds=st.sampled_from([None, 60, 600]))
    def person_changes_the_clocks(self, seconds: int | None) -> None:
        self.world.change(expireAfterSeconds=seconds, ttlSecondsAfterFinished=seconds)

    @precondition(lambda self: self.is_grown)
    @rule()
    def person_deletes(self) -> None:
        self.world.delete()

    # --- pods
    @rule(stages=st.integers(1, 6))
    def pods_are_lost_and_go_on(self, stages: int) -> None:
        self.world.lose_pods()
        self.pods_go_on(stages)

    @rule(stages=st.integers(1, 8))
    def pods_go_on(self, stages: int) -> None:
        for _ in range(stages):
            self.world.operate()
            self.world.run_pods()

    @rule()
    def pods_go_on_unseen(self) -> None:
        self.world.run_pods()

    @rule()
    def pods_use_their_grace_period(self) -> None:
        self.world.run_ending_pods()

    @rule(code=DEATHS)
    def pod_fails(self, code: ErrorCode | None) -> None:
        self.world.fail_pods(code)

    @rule()
    def pods_are_lost(self) -> None:
        self.world.lose_pods()

    # --- what goes wrong
    @rule(fault=st.sampled_from(sorted(FAULTS)))
    def something_breaks(self, fault: str) -> None:
        FAULTS[fault](self.world)

    @rule()
    def everything_works_again(self) -> None:
        self.world.end_faults()

    @rule()
    def everything_but_the_node_works_again(self) -> None:
        is_node_up = self.world.is_node_up
        self.world.end_faults()
        self.world.set_node(up=is_node_up)

    # --- time
    @rule(seconds=st.sampled_from([1, 5, 31, 61, 95]))
    def time_passes(self, seconds: int) -> None:
        self.world.live(seconds)

    @precondition(lambda self: self.is_grown)
    @rule(seconds=st.sampled_from([601, 1100]))
    def much_time_passes(self, seconds: int) -> None:
        self.world.live(seconds)

    @invariant()
    def promises_hold(self) -> None:
        self.witness.check(self.world)

    def teardown(self) -> None:
        settle(self.world)
        self.witness.check(self.world)
        check_settled(self.world)
