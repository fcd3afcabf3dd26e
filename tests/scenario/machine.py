"""Lives of a session in any order: people, pods, faults, time. Promises are checked after each event."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.session import OperatingMode
from tests.scenario.promises import Witness, check_settled, settle
from tests.scenario.world import Crash, World

SPECS: dict[str, dict[str, Any]] = {
    "a goal": {"goal": "count"},
    "a goal beyond its steps": {"goal": "count", "limits": {"maxSteps": 2}},
    "a goal without retries": {"goal": "count", "retry": {"maxRetries": 0}},
}
MOVES_OF_THE_YOUNG = 2
"""Starting and Running."""
DEATHS = st.sampled_from([*ErrorCode, None])


class Life(RuleBasedStateMachine):
    """One session, and all that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.witness = Witness()

    @initialize(kind=st.sampled_from(sorted(SPECS)), stages=st.integers(0, 8))
    def create(self, kind: str, stages: int) -> None:
        self.world = World(spec=SPECS[kind])
        self.pods_go_on(stages)

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

    @rule()
    def operator_goes_or_comes(self) -> None:
        self.world.set_operator(up=not self.world.is_operator_up)

    @rule(late=st.booleans())
    def news_of_the_journal_is_late(self, late: bool) -> None:
        self.world.set_news(late=late)

    @rule(late=st.booleans())
    def news_of_pods_is_late(self, late: bool) -> None:
        self.world.set_pod_watch(late=late)

    # --- people
    @rule(mode=st.sampled_from([OperatingMode.PAUSED, OperatingMode.PAUSED, OperatingMode.RUNNING]))
    def person_pauses_or_resumes(self, mode: OperatingMode) -> None:
        self.world.ask(mode)

    @precondition(lambda self: self.is_grown)
    @rule()
    def person_cancels(self) -> None:
        self.world.ask(OperatingMode.CANCELLED)

    @rule(steps=st.sampled_from([1, 3, 20]))
    def person_changes_the_limit(self, steps: int) -> None:
        self.world.change(limits={"maxSteps": steps})

    @precondition(lambda self: self.is_grown)
    @rule()
    def person_deletes(self) -> None:
        self.world.delete()

    # --- pods
    @rule(stages=st.integers(1, 6))
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

    # --- the cluster
    @rule()
    def gateway_goes_or_comes(self) -> None:
        self.world.set_gateway(up=not self.world.is_gateway_up)

    @rule()
    def node_goes_or_comes(self) -> None:
        self.world.set_node(up=not self.world.is_node_up)

    @precondition(lambda self: self.world.status.phase is not None)
    @rule(words=st.sampled_from(["", "exceeded quota: pods"]))
    def pods_are_refused(self, words: str) -> None:
        self.world.refuse_pods(words)

    @rule(seconds=st.sampled_from([1, 5, 31, 61, 95]))
    def time_passes(self, seconds: int) -> None:
        self.world.live(seconds)

    @precondition(lambda self: self.is_grown)
    @rule(seconds=st.sampled_from([601, 1100]))
    def much_time_passes(self, seconds: int) -> None:
        self.world.live(seconds)

    @rule()
    def all_faults_but_the_node_s_end(self) -> None:
        is_node_up = self.world.is_node_up
        self.world.end_faults()
        self.world.set_node(up=is_node_up)

    @invariant()
    def promises_hold(self) -> None:
        self.witness.check(self.world)

    def teardown(self) -> None:
        settle(self.world)
        self.witness.check(self.world)
        check_settled(self.world)
