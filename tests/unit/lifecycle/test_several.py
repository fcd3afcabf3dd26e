"""Sessions with several agents: one pod for each that is due, and one place for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.levels import AgentLevel, Closing
from agentsessions.api.reasons import ErrorCode, Phase, StopReason
from agentsessions.api.v1alpha1.status import AgentStatus
from agentsessions.api.wire import Outcome
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.decision import Decision, PodWanted
from agentsessions.lifecycle.facts import PodView
from tests.builders import SESSION_UID, T0, SessionBuilder, a_session


@dataclass(frozen=True)
class Team:
    """A session with agents a, b and c."""

    session: SessionBuilder
    levels: dict[str, dict[str, Any]] = field(default_factory=dict)

    def due(self, *names: str) -> Team:
        return replace(self, levels={n: {**self.levels.get(n, {}), "is_due": n in names} for n in "abc"})

    def closed(self, name: str, outcome: Outcome, code: ErrorCode | None = None, epoch: int = 1, **more: Any) -> Team:
        closing = Closing(agent=name, epoch=epoch, pod_uid=f"{name}-{epoch}", outcome=outcome, code=code)
        return replace(self, levels={**self.levels, name: {**self.levels.get(name, {}), "closing": closing, **more}})

    def with_pods(self, *names: str, phase: str = "Running", epoch: int = 1, **more: Any) -> Team:
        pods, rows = list(self.session.pods), {r.name: r for r in self.session.status.agents or []}
        for name in names:
            uid = f"{name}-{epoch}"
            rows[name] = AgentStatus(name=name, epoch=epoch, pod_name=uid, pod_uid=uid, state="Running")
            pods.append(
                PodView(
                    namespace="team",
                    name=uid,
                    uid=uid,
                    session_uid=SESSION_UID,
                    agent=name,
                    epoch=epoch,
                    resource_version="1",
                    created_at=T0,
                    phase=phase,
                    **more,
                )
            )
        status = self.session.status.model_copy(update={"agents": list(rows.values())})
        return replace(self, session=replace(self.session, pods=tuple(pods), status=status))

    def without_pod(self, name: str) -> Team:
        return replace(self, session=replace(self.session, pods=tuple(p for p in self.session.pods if p.agent != name)))

    def asked(self, **spec: Any) -> Team:
        return replace(self, session=self.session.with_spec(**spec))

    def decide(self, *, later: timedelta = timedelta(0)) -> Decision:
        agents = tuple(AgentLevel(name=name, **{"is_due": False, **self.levels.get(name, {})}) for name in "abc")
        known = agents if self.levels else ()
        return decide(self.session.with_journal(agents=known).facts(), T0 + later)


def a_team(strategy: str = "Parallel", phase: Phase | None = None, **spec: Any) -> Team:
    fields = {"agents": [{"name": name} for name in "abc"], "coordination": {"strategy": strategy}, **spec}
    session = a_session().with_spec(**fields)
    return Team(session.in_phase(phase, since=timedelta(seconds=10)) if phase else session)


def rows(decision: Decision) -> dict[str, tuple[int, str | None]]:
    return {row.name: (row.epoch, row.state) for row in decision.status.agents or []}


@pytest.mark.requirement("AG-3")
@pytest.mark.requirement("OBJ-7")
@pytest.mark.parametrize(("strategy", "first"), [("Sequential", "a"), ("Parallel", "abc"), ("Director", "a")])
def test_new_session_gets_a_pod_for_each_agent_that_begins(strategy: str, first: str) -> None:
    decision = a_team(strategy).decide()
    assert decision.create == tuple(PodWanted(name, 1) for name in first)
    assert decision.status.phase is Phase.STARTING


@pytest.mark.requirement("AG-3")
def test_agent_that_becomes_due_gets_a_pod_while_others_run() -> None:
    decision = a_team("Director", Phase.RUNNING).with_pods("a").due("a", "b").decide()
    assert decision.create == (PodWanted("b", 1),)
    assert decision.delete == ()
    assert decision.status.phase is Phase.RUNNING


@pytest.mark.requirement("AG-3")
def test_agent_that_is_not_due_any_more_holds_no_pod() -> None:
    decision = a_team("Director", Phase.RUNNING).with_pods("a", "b").due("a").closed("b", Outcome.HANDOFF).decide()
    assert [pod.name for pod in decision.delete] == ["b-1"]
    assert rows(decision) == {"a": (1, "Running"), "b": (1, "Ended")}


@pytest.mark.requirement("AG-3")
def test_agent_that_is_due_again_gets_its_next_epoch() -> None:
    decision = a_team("Handoff", Phase.RUNNING).with_pods("a").due("a").closed("a", Outcome.HANDOFF).decide()
    assert decision.create == (PodWanted("a", 2),)
    assert [pod.name for pod in decision.delete] == ["a-1"]


@pytest.mark.requirement("AG-3")
def test_session_is_complete_with_the_last_answer_alone() -> None:
    running = a_team("Sequential", Phase.RUNNING).with_pods("a").due("b").closed("a", Outcome.HANDOFF)
    assert running.decide().status.phase is Phase.STARTING
    done = running.with_pods("b").due().closed("b", Outcome.FINAL).decide()
    assert done.status.phase is Phase.COMPLETED
    assert rows(done) == {"a": (1, "Ended"), "b": (1, "Ended")}


def test_lost_pod_of_one_agent_is_replaced_and_the_others_run_on() -> None:
    lost = a_team("Parallel", Phase.RUNNING).with_pods("a", "b").due("a", "b").without_pod("b")
    waiting = lost.decide()
    assert waiting.status.phase is Phase.RUNNING
    assert waiting.delete == ()
    assert [(row.name, row.retries) for row in waiting.status.agents or []] == [("a", None), ("b", 1)]
    assert waiting.wake_at == T0 + timedelta(seconds=4)
    status = waiting.status
    again = replace(lost, session=replace(lost.session, status=status)).decide(later=timedelta(seconds=4))
    assert again.create == (PodWanted("b", 2),)


def test_agents_count_their_retries_each_for_itself() -> None:
    team = a_team("Parallel", Phase.RUNNING, retry={"maxRetries": 0}).with_pods("a", "b").due("a", "b")
    ended = team.without_pod("b").with_pods("b", phase="Failed", exit_code=1)
    decision = ended.closed("b", Outcome.ERROR, ErrorCode.OVERLOADED).decide()
    assert decision.status.phase is Phase.FAILED
    assert decision.status.stop_reason is StopReason.RETRIES_EXHAUSTED
    assert [pod.name for pod in decision.delete] == ["a-1"]


def test_two_pods_made_before_a_crash_are_both_adopted() -> None:
    team = a_team("Parallel").with_pods("a", "b", "c", phase="Pending").due("a", "b", "c")
    bare = replace(team, session=replace(team.session, status=a_session().status))
    decision = bare.decide()
    assert decision.create == ()
    assert decision.delete == ()
    assert rows(decision) == dict.fromkeys("abc", (1, "Starting"))


@pytest.mark.requirement("LIFE-4")
def test_pause_ends_the_pods_of_all_agents() -> None:
    team = a_team("Parallel", Phase.PAUSING, pausePolicy={"gracePeriodSeconds": 5}).with_pods("a", "b").due("a", "b")
    asked = team.asked(operatingMode="Paused")
    assert [pod.name for pod in asked.decide().delete] == ["a-1", "b-1"]
    paused = asked.without_pod("a").without_pod("b").decide()
    assert paused.status.phase is Phase.PAUSED
    assert rows(paused) == {"a": (1, "Ended"), "b": (1, "Ended")}


@pytest.mark.requirement("LIFE-7")
def test_cancel_ends_the_director_after_those_who_work_for_it() -> None:
    team = a_team("Director", Phase.RUNNING).with_pods("a", "b").due("a", "b").asked(operatingMode="Cancelled")
    assert [pod.name for pod in team.decide().delete] == ["b-1"]
    assert [pod.name for pod in team.without_pod("b").decide().delete] == ["a-1"]
    assert team.decide().status.pods_remaining == 2
    done = team.without_pod("a").without_pod("b").decide()
    assert (done.status.phase, done.status.pods_remaining) == (Phase.CANCELLED, 0)


def test_operator_that_knows_nothing_of_the_journal_leaves_pods_alone() -> None:
    team = a_team("Director", Phase.RUNNING).with_pods("a", "b")
    away = replace(
        team, session=replace(team.session, journal=replace(team.session.journal, is_reachable=False, level=None))
    )
    decision = decide(away.session.facts(), T0)
    assert (decision.create, decision.delete) == ((), ())


def test_agent_that_does_not_start_fails_the_session_in_which_others_run() -> None:
    team = a_team("Parallel", Phase.RUNNING, limits={"timeoutSeconds": 3600}).with_pods("a").due("a", "b")
    stuck = team.with_pods("b", phase="Pending", waiting_reason="ImagePullBackOff")
    decision = stuck.decide(later=timedelta(minutes=10))
    assert decision.status.phase is Phase.FAILED
    assert decision.status.stop_reason is StopReason.START_FAILED
    assert "agent b" in (decision.status.error.message if decision.status.error else "")


def test_figures_of_agents_are_written_with_transitions_alone() -> None:
    team = a_team("Director", Phase.RUNNING).with_pods("a").due("a")
    steady = replace(team, levels={**team.levels, "a": {"is_due": True, "steps": 3, "tokens": 30}})
    first = steady.decide()
    still = replace(steady, session=replace(steady.session, status=first.status)).decide()
    assert still.status == first.status
    more = replace(steady, levels={**steady.levels, "a": {"is_due": True, "steps": 9, "tokens": 90}})
    assert replace(more, session=replace(more.session, status=first.status)).decide().status == first.status


@dataclass(frozen=True)
class Sharing:
    """What status says of agents a, b and c that hand over; c has an env of its own."""

    team: Team

    def rows(self) -> dict[str, tuple[int, str | None, str | None]]:
        agents = self.team.session.status.agents or []
        return {row.name: (row.epoch, row.pod_uid, row.state) for row in agents}

    def then(self, team: Team, *, later: timedelta = timedelta(0)) -> Sharing:
        decision = team.decide(later=later)
        assert decision.create == ()
        return Sharing(replace(team, session=replace(team.session, status=decision.status)))


def sharing(phase: Phase | None = None, **spec: Any) -> Team:
    agents = [{"name": "a"}, {"name": "b"}, {"name": "c", "env": [{"name": "OWN", "value": "1"}]}]
    return a_team("Handoff", phase, agents=agents, limits={"timeoutSeconds": 3600}, **spec)


def at_work(**spec: Any) -> Sharing:
    """Return a session whose agents a and b share a pod, with a at work."""
    team = sharing(Phase.RUNNING, **spec).with_pods("a").due("a")
    return Sharing(team).then(team)


@pytest.mark.requirement("AG-1")
def test_agents_that_share_a_pod_get_one_and_each_a_row_that_names_it() -> None:
    new = sharing().due("a")
    assert new.decide().create == (PodWanted("a", 1),)
    made = new.with_pods("a", phase="Pending")
    bare = replace(made, session=replace(made.session, status=a_session().status))
    assert Sharing(bare).then(bare).rows() == {"a": (1, "a-1", "Starting"), "b": (1, "a-1", "Standby")}


@pytest.mark.requirement("AG-1")
def test_change_of_hands_within_a_pod_makes_none_and_says_who_is_at_work() -> None:
    before = at_work()
    assert before.rows() == {"a": (1, "a-1", "Running"), "b": (1, "a-1", "Standby")}
    after = before.then(before.team.due("b"))
    assert after.rows() == {"a": (1, "a-1", "Standby"), "b": (1, "a-1", "Running")}
    assert after.then(after.team.due("b")).team.session.status == after.team.session.status
    assert after.then(after.team.due("a")).rows() == before.rows()


@pytest.mark.requirement("AG-1")
def test_figures_stay_with_each_agent_when_the_conversation_changes_hands() -> None:
    before = at_work()
    spent = {"a": {"steps": 3, "tokens": 30}, "b": {"steps": 1, "tokens": 5}}
    told = replace(before.team, levels={name: {**before.team.levels[name], **spent.get(name, {})} for name in "abc"})
    after = before.then(told.due("b"))
    blind = replace(after.team, levels={name: {"is_due": name == "a"} for name in "abc"})
    again = after.then(blind)
    for shown in (after, again):
        rows = shown.team.session.status.agents or []
        assert [(row.name, row.steps, row.tokens) for row in rows] == [("a", 3, 30), ("b", 1, 5)]


@pytest.mark.requirement("AG-1")
@pytest.mark.requirement("LIFE-11")
def test_pod_that_is_lost_under_the_second_agent_is_followed_by_one_for_it() -> None:
    before = at_work()
    lost = before.then(before.team.due("b").without_pod("a"))
    assert lost.rows() == {"a": (1, "a-1", "Standby"), "b": (1, "a-1", "Lost")}
    assert [(row.name, row.retries) for row in lost.team.session.status.agents or []] == [("a", None), ("b", 1)]
    again = lost.team.decide(later=timedelta(seconds=4))
    assert again.create == (PodWanted("a", 2),)
    made = lost.team.with_pods("a", phase="Pending", epoch=2)
    status = lost.team.session.status
    adopted = replace(made, session=replace(made.session, status=status)).decide(later=timedelta(seconds=4))
    assert rows(adopted) == {"a": (2, "Standby"), "b": (2, "Starting")}


@pytest.mark.requirement("AG-1")
def test_epochs_of_a_shared_pod_are_counted_as_one_agents() -> None:
    before = at_work(retry={"maxRetries": 0})
    ended = before.team.due("b").without_pod("a").with_pods("a", phase="Failed", exit_code=1)
    failed = ended.closed("a", Outcome.ERROR, ErrorCode.OVERLOADED).decide()
    assert (failed.status.phase, failed.status.stop_reason) == (Phase.FAILED, StopReason.RETRIES_EXHAUSTED)


@pytest.mark.requirement("AG-1")
def test_conversation_that_leaves_a_shared_pod_ends_it_and_comes_back_to_a_new_one() -> None:
    before = at_work()
    left = before.team.due("c").closed("a", Outcome.HANDOFF).decide()
    assert left.create == (PodWanted("c", 1),)
    assert [pod.name for pod in left.delete] == ["a-1"]
    there = before.team.due("c").with_pods("c").closed("a", Outcome.HANDOFF)
    shown = replace(there, session=replace(there.session, pods=there.session.pods[1:]))
    assert rows(shown.decide()) == {"a": (1, "Ended"), "b": (1, "Ended"), "c": (1, "Running")}
    assert shown.due("b").closed("c", Outcome.HANDOFF).decide().create == (PodWanted("a", 2),)


@pytest.mark.requirement("AG-1")
@pytest.mark.requirement("LIFE-4")
def test_pause_and_resume_keep_the_conversation_with_who_has_it() -> None:
    before = at_work(pausePolicy={"gracePeriodSeconds": 5})
    gone = before.then(before.team.due("b")).team.asked(operatingMode="Paused").without_pod("a")
    paused = gone.decide()
    assert (paused.status.phase, rows(paused)) == (Phase.PAUSED, {"a": (1, "Ended"), "b": (1, "Ended")})
    stands = replace(gone, session=replace(gone.session, status=paused.status))
    assert stands.asked(operatingMode="Running").decide().create == (PodWanted("a", 2),)


@pytest.mark.requirement("AG-1")
def test_operator_that_knows_nothing_of_the_journal_takes_who_is_at_work_for_due() -> None:
    before = at_work()
    team = before.then(before.team.due("b")).team
    journal = replace(team.session.journal, is_reachable=False, level=None)
    decision = decide(replace(team.session, journal=journal).facts(), T0)
    assert (decision.create, decision.delete, decision.status) == ((), (), team.session.status)


def a_failed(strategy: str, on_failure: str = "Continue", name: str = "b") -> Team:
    """Return a session in which an agent beside another has failed for the last time."""
    how = {"strategy": strategy, "onFailure": on_failure}
    team = a_team(strategy, Phase.RUNNING, retry={"maxRetries": 0}, coordination=how).with_pods("a", "b").due("a", "b")
    ended = team.without_pod(name).with_pods(name, phase="Failed", exit_code=1)
    return ended.closed(name, Outcome.ERROR, ErrorCode.OVERLOADED)


@pytest.mark.requirement("AG-3")
@pytest.mark.parametrize("strategy", ["Parallel", "Director"])
def test_session_goes_on_without_an_agent_when_it_is_to(strategy: str) -> None:
    failed = a_failed(strategy)
    decision = failed.decide()
    assert decision.status.phase is Phase.RUNNING
    assert rows(decision) == {"a": (1, "Running"), "b": (1, "Failed")}
    still = replace(failed, session=replace(failed.session, status=decision.status))
    assert still.decide().create == ()
    again = still.closed("b", Outcome.HANDOFF)
    assert again.decide().create == (PodWanted("b", 2),)
    assert rows(again.due("a").decide())["b"] == (1, "Failed")


@pytest.mark.requirement("AG-3")
def test_session_does_not_go_on_without_its_director_nor_without_anybody() -> None:
    assert a_failed("Director", name="a").decide().status.phase is Phase.FAILED
    assert a_failed("Parallel", on_failure="Fail").decide().status.phase is Phase.FAILED
    alone = a_failed("Parallel")
    lost = [row.model_copy(update={"state": "Failed"}) for row in alone.session.status.agents or [] if row.name == "a"]
    lost += [AgentStatus(name="c", epoch=1, pod_uid="c-1", state="Failed")]
    lost += [row for row in alone.session.status.agents or [] if row.name == "b"]
    status = alone.session.status.model_copy(update={"agents": lost})
    rest = replace(alone, session=replace(alone.session, status=status)).due("b")
    assert rest.decide().status.phase is Phase.FAILED
