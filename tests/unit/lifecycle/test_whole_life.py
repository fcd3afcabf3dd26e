"""Pauses, cancels, limits, conversations, rounds, clocks and queues, each as facts and what is decided."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.reasons import LimitName, Phase, Reason, StopReason
from agentsessions.api.v1alpha1.life import OnLimit
from agentsessions.api.v1alpha1.status import RoundStatus, SessionStatus
from agentsessions.lifecycle.decide import decide
from tests.builders import T0, SessionBuilder, a_session

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
OPEN: dict[str, Any] = {"conversation": {"open": True}}


def condition(status: SessionStatus, kind: str) -> tuple[str, str]:
    return next((c.status, c.reason) for c in status.conditions or [] if c.type == kind)


def on_limit(action: OnLimit, **limits: Any) -> dict[str, Any]:
    return {"limits": {**limits, "onLimit": {"default": action}}}


def without_goal(session: SessionBuilder) -> SessionBuilder:
    spec = {name: value for name, value in session.spec.items() if name != "goal"}
    return SessionBuilder(
        **{**{f: getattr(session, f) for f in session.__dataclass_fields__}, "spec": {**spec, **OPEN}}
    )


# --- pause


@pytest.mark.requirement("LIFE-4")
@pytest.mark.parametrize(
    ("policy", "since", "deletes"),
    [
        pytest.param({}, 59 * SECOND, False, id="by default a step has 60 s"),
        pytest.param({}, 60 * SECOND, True, id="by default a step has 60 s, and no more"),
        pytest.param({"gracePeriodSeconds": 5}, 4 * SECOND, False, id="a chosen grace is kept"),
        pytest.param({"gracePeriodSeconds": 5}, 5 * SECOND, True, id="a chosen grace ends"),
        pytest.param({"boundary": "Immediate"}, 0 * SECOND, True, id="Immediate breaks the step off"),
    ],
)
def test_pause_ends_the_pod_once_the_step_had_its_time(policy: dict[str, Any], since: timedelta, deletes: bool) -> None:
    session = a_session().with_spec(pausePolicy=policy).asked_to_pause().running().in_phase(Phase.PAUSING, since=since)
    decision = decide(session.facts(), T0)
    assert decision.status.phase is Phase.PAUSING
    assert bool(decision.delete) is deletes


@pytest.mark.requirement("LIFE-12")
def test_pause_that_does_not_end_is_stalled() -> None:
    session = a_session().asked_to_pause().running().in_phase(Phase.PAUSING, since=90 * SECOND)
    assert condition(decide(session.facts(), T0).status, "Stalled")[0] == "True"


# --- cancel


@pytest.mark.requirement("LIFE-5")
@pytest.mark.parametrize(
    ("shutdown", "since", "grace"),
    [
        pytest.param({}, 1 * SECOND, 30, id="pods get 30 s by default"),
        pytest.param({"gracePeriodSeconds": 5}, 1 * SECOND, 5, id="pods get the grace that was chosen"),
        pytest.param({"gracePeriodSeconds": 5}, 5 * SECOND, 1, id="then they are killed"),
        pytest.param({"gracePeriodSeconds": 0}, 0 * SECOND, 1, id="a grace of 0 kills at once"),
    ],
)
def test_cancel_gives_grace_then_force(shutdown: dict[str, Any], since: timedelta, grace: int) -> None:
    session = a_session().with_spec(shutdown=shutdown).asked_to_cancel().running()
    decision = decide(session.in_phase(Phase.CANCELLING, since=since).facts(), T0)
    assert decision.status.phase is Phase.CANCELLING
    assert [pod.grace_seconds for pod in decision.delete] == [grace]


@pytest.mark.requirement("LIFE-5")
def test_cancel_waits_until_no_answer_is_being_bought() -> None:
    session = a_session().asked_to_cancel().running().with_pod_lost().in_phase(Phase.CANCELLING, since=SECOND)
    buying = decide(session.with_journal(open_calls=1).facts(), T0)
    assert buying.status.phase is Phase.CANCELLING
    assert decide(session.facts(), T0).status.phase is Phase.CANCELLED
    assert decide(session.with_journal(open_calls=1).without_gateway().facts(), T0).status.phase is Phase.CANCELLED


@pytest.mark.requirement("LIFE-7")
def test_forced_cancel_says_so_and_tells_the_reason_that_was_given() -> None:
    shutdown = {"gracePeriodSeconds": 0, "reason": "budget review"}
    session = a_session().with_spec(shutdown=shutdown).asked_to_cancel().running().with_pod_lost()
    status = decide(session.in_phase(Phase.CANCELLING).facts(), T0).status
    assert (status.phase, status.stop_reason, status.pods_remaining) == (
        Phase.CANCELLED,
        StopReason.FORCE_TERMINATED,
        0,
    )
    assert "(budget review)" in next(c.message for c in status.conditions or [] if c.type == "Ready")


# --- limits


@pytest.mark.requirement("LIM-2")
@pytest.mark.parametrize("limit", list(LimitName))
@pytest.mark.parametrize(
    ("action", "phase"),
    [
        pytest.param(OnLimit.FAIL, Phase.FAILED, id="Fail"),
        pytest.param(OnLimit.COMPLETE, Phase.COMPLETED, id="Complete"),
        pytest.param(OnLimit.PAUSE, Phase.PAUSING, id="Pause"),
    ],
)
def test_reached_limit_does_what_the_session_wants(limit: LimitName, action: OnLimit, phase: Phase) -> None:
    session = a_session().with_spec(**on_limit(action)).running().with_limit_reached(limit)
    decision = decide(session.facts(), T0)
    assert decision.status.phase is phase
    assert [pod.name for pod in decision.delete] == ["pod-1"]
    if phase is not Phase.PAUSING:
        assert condition(decision.status, "BudgetAvailable")[0] == "False"


@pytest.mark.requirement("LIM-2")
def test_named_limit_beats_the_default() -> None:
    spec = {"limits": {"onLimit": {"default": "Pause", "tokens": "Complete"}}}
    session = a_session().with_spec(**spec).running().with_limit_reached(LimitName.TOKENS)
    assert decide(session.facts(), T0).status.phase is Phase.COMPLETED


@pytest.mark.requirement("LIM-2")
def test_raised_limit_lifts_the_pause_by_itself() -> None:
    paused = a_session().with_spec(**on_limit(OnLimit.PAUSE)).paused()
    stands = decide(paused.with_limit_reached(LimitName.TOKENS).facts(), T0)
    assert (stands.status.phase, stands.status.stop_reason) == (Phase.PAUSED, StopReason.TOKEN_LIMIT)
    assert condition(stands.status, "BudgetAvailable") == ("False", "TokenLimit")
    goes_on = decide(paused.facts(), T0)
    assert goes_on.create
    assert goes_on.status.phase is Phase.STARTING


@pytest.mark.requirement("LIM-2")
@pytest.mark.parametrize(
    ("seconds", "phase"),
    [pytest.param(60, Phase.PAUSED, id="it stands"), pytest.param(61, Phase.STARTING, id="a second more lifts it")],
)
def test_used_up_time_pauses_until_it_is_raised(seconds: int, phase: Phase) -> None:
    session = a_session().with_spec(**on_limit(OnLimit.PAUSE, timeoutSeconds=seconds)).paused()
    assert decide(session.with_usage(active_seconds=60).facts(), T0).status.phase is phase


@pytest.mark.requirement("LIM-3")
def test_status_tells_cost_and_what_remains_of_it() -> None:
    session = a_session().with_spec(limits={"maxCostMicroUSD": 1000}).running().with_final_answer()
    status = decide(session.with_journal(cost_micro_usd=400).facts(), T0).status
    assert status.usage is not None
    assert status.remaining is not None
    assert (status.usage.cost_micro_usd, status.remaining.cost_micro_usd) == (400, 600)


# --- conversation


@pytest.mark.requirement("LIFE-8")
def test_conversation_that_nobody_began_holds_no_pod() -> None:
    decision = decide(without_goal(a_session()).facts(), T0)
    assert (decision.status.phase, decision.create) == (Phase.IDLE, ())


@pytest.mark.requirement("AG-7")
@pytest.mark.parametrize(
    ("made_from", "phase"),
    [
        pytest.param({"source": {"sessionRef": {"name": "s"}}}, Phase.STARTING, id="a fork may be in a turn's midst"),
        pytest.param(
            {"source": {"sessionRef": {"name": "s"}, "history": "Reset"}}, Phase.IDLE, id="a reset one is not"
        ),
        pytest.param({"replay": {"of": {"name": "s"}}}, Phase.STARTING, id="a replay says what was said"),
    ],
)
def test_session_without_goal_begins_with_what_it_took_over(made_from: dict[str, Any], phase: Phase) -> None:
    session = without_goal(a_session())
    assert decide(session.with_spec(**made_from).facts(), T0).status.phase is phase


@pytest.mark.requirement("LIFE-8")
def test_message_to_a_new_conversation_starts_it() -> None:
    status = decide(without_goal(a_session()).facts(), T0).status
    idle = replace(without_goal(a_session()), status=status)
    assert decide(idle.facts(), T0 + HOUR).status == status
    assert decide(idle.with_journal(inbox_pending=1).facts(), T0).create


@pytest.mark.requirement("LIFE-8")
def test_idle_epoch_releases_its_pod_and_keeps_its_row() -> None:
    decision = decide(a_session().with_spec(**OPEN).running().with_idle_closing().facts(), T0)
    assert decision.status.phase is Phase.IDLE
    assert [pod.name for pod in decision.delete] == ["pod-1"]
    assert [row.state for row in decision.status.agents or []] == ["Ended"]


@pytest.mark.requirement("LIFE-8")
def test_message_behind_an_idle_closing_starts_the_next_epoch() -> None:
    session = a_session().with_spec(**OPEN).running().with_idle_closing(inbox_pending=1)
    decision = decide(session.facts(), T0)
    assert [(pod.agent, pod.epoch) for pod in decision.create] == [("agent", 2)]
    idle = a_session().with_spec(**OPEN).in_phase(Phase.IDLE).with_row(state="Ended").with_idle_closing(inbox_pending=1)
    assert [(pod.agent, pod.epoch) for pod in decide(idle.facts(), T0).create] == [("agent", 2)]


@pytest.mark.requirement("CONV-3")
def test_closed_conversation_completes_when_every_message_is_answered() -> None:
    closed = a_session().with_spec(conversation={"open": False}).in_phase(Phase.IDLE).with_row(state="Ended")
    done = decide(closed.with_idle_closing(result="Bye.").facts(), T0).status
    assert (done.phase, done.stop_reason, done.result) == (Phase.COMPLETED, StopReason.GOAL_REACHED, "Bye.")
    assert decide(closed.with_idle_closing(inbox_pending=1).facts(), T0).create


@pytest.mark.requirement("LIFE-9")
def test_time_with_nothing_to_do_is_not_active_time() -> None:
    session = a_session().with_spec(**OPEN).running(since=300 * SECOND)
    waited = session.with_journal(idle_seconds=100, idle_since=T0 - 150 * SECOND)
    assert decide(waited.facts(), T0).status.phase is Phase.RUNNING
    worked = session.with_journal(idle_seconds=100, idle_since=T0 - 79 * SECOND)
    assert decide(worked.facts(), T0).status.stop_reason is StopReason.TIMEOUT


@pytest.mark.requirement("LIFE-4")
def test_resumed_conversation_without_a_message_goes_idle_without_a_pod() -> None:
    session = a_session().with_spec(**OPEN).paused().with_idle_closing()
    assert decide(session.facts(), T0).status.phase is Phase.IDLE


# --- rounds

METRICS: dict[str, Any] = {"type": "Metrics", "schedule": {"intervalSeconds": 300, "durationSeconds": 900}}


@pytest.mark.requirement("OBJ-2")
def test_next_round_starts_when_it_is_due() -> None:
    round_ = RoundStatus(number=1, completed=1, next_at=T0 + MINUTE)
    session = a_session().with_spec(**METRICS).running().with_idle_closing(round=round_)
    idle = decide(session.facts(), T0)
    assert (idle.status.phase, idle.status.round, idle.wake_at) == (Phase.IDLE, round_, T0 + MINUTE)
    assert decide(session.facts(), T0 + MINUTE).create


# --- clocks


@pytest.mark.requirement("LIFE-9")
@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.QUEUED, Phase.IDLE, Phase.WAITING])
def test_session_in_which_nothing_happens_expires(phase: Phase) -> None:
    session = a_session().with_spec(expireAfterSeconds=60).in_phase(phase, since=MINUTE).with_row().with_idle_closing()
    status = decide(session.facts(), T0).status
    assert (status.phase, status.stop_reason) == (Phase.EXPIRED, StopReason.INACTIVE)


@pytest.mark.requirement("LIFE-9")
def test_session_paused_by_a_person_never_expires() -> None:
    session = a_session().with_spec(expireAfterSeconds=60).asked_to_pause().paused().in_phase(Phase.PAUSED, since=HOUR)
    assert decide(session.facts(), T0).status.phase is Phase.PAUSED


@pytest.mark.requirement("LIFE-9")
def test_session_paused_by_a_limit_expires() -> None:
    spec = {**on_limit(OnLimit.PAUSE), "expireAfterSeconds": 60}
    session = a_session().with_spec(**spec).paused().in_phase(Phase.PAUSED, since=HOUR)
    assert decide(session.with_limit_reached(LimitName.STEPS).facts(), T0).status.phase is Phase.EXPIRED


@pytest.mark.requirement("LIFE-9")
def test_finished_session_is_deleted_when_its_time_is_over() -> None:
    session = a_session().with_spec(ttlSecondsAfterFinished=60).in_phase(Phase.COMPLETED, finished_at=T0)
    early, late = decide(session.facts(), T0 + 59 * SECOND), decide(session.facts(), T0 + MINUTE)
    assert (early.delete_session, early.wake_at) == (False, T0 + MINUTE)
    assert late.delete_session


def test_finished_session_without_ttl_is_kept() -> None:
    session = a_session().in_phase(Phase.COMPLETED, finished_at=T0)
    assert not decide(session.facts(), T0 + 1000 * HOUR).delete_session


@pytest.mark.requirement("LIFE-12")
@pytest.mark.parametrize(
    ("session", "phase", "deadline"),
    [
        pytest.param(
            a_session().not_accepted(Reason.PROVIDER_NOT_FOUND, "no provider"),
            Phase.PENDING,
            10 * MINUTE,
            id="Pending after 10 min",
        ),
        pytest.param(a_session().without_room(), Phase.QUEUED, HOUR, id="Queued after 1 h"),
    ],
)
def test_phase_beyond_its_deadline_is_stalled(session: SessionBuilder, phase: Phase, deadline: timedelta) -> None:
    early = decide(session.in_phase(phase, since=deadline - SECOND).facts(), T0)
    assert (early.status.phase, condition(early.status, "Stalled")[0], early.wake_at) == (phase, "False", T0 + SECOND)
    late = decide(session.in_phase(phase, since=deadline).facts(), T0)
    assert (late.status.phase, condition(late.status, "Stalled")[0]) == (phase, "True")


# --- the namespace's queue, and its hold


@pytest.mark.requirement("LIM-4")
def test_session_asks_for_room_before_it_gets_a_pod() -> None:
    decision = decide(a_session().not_asked_for_room().facts(), T0)
    assert (decision.needs_admission, decision.create) == (True, ())


@pytest.mark.requirement("LIM-4")
@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.IDLE, Phase.WAITING, Phase.PAUSED])
def test_session_without_room_is_queued(phase: Phase) -> None:
    session = a_session().in_phase(phase).with_journal(inbox_pending=1).without_room()
    decision = decide(session.facts(), T0)
    assert (decision.status.phase, decision.create) == (Phase.QUEUED, ())
    assert condition(decision.status, "Ready") == ("False", "QuotaExceeded")


@pytest.mark.requirement("LIM-4")
def test_running_session_needs_no_room_for_its_next_epoch() -> None:
    session = a_session().running().with_pod_lost().with_journal(epoch_turns=1).not_asked_for_room()
    assert decide(session.facts(), T0).create


@pytest.mark.requirement("LIM-4")
def test_place_in_the_queue_alone_is_not_worth_a_write() -> None:
    queued = decide(a_session().without_room(message="place 3 in the queue: 3 run").facts(), T0).status
    session = SessionBuilder(status=queued).without_room(message="place 2 in the queue: 3 run")
    assert decide(session.facts(), T0).status == queued
    session = session.without_room(message="place 2 in the queue: 5 run")
    assert decide(session.facts(), T0).status != queued


@pytest.mark.requirement("LIFE-7")
def test_held_namespace_stops_everything_and_says_so() -> None:
    running = decide(a_session().running().held().facts(), T0)
    assert (running.status.phase, len(running.delete)) == (Phase.PAUSING, 1)
    gone = a_session().running().with_pod_lost().in_phase(Phase.PAUSING).held()
    paused = decide(gone.facts(), T0).status
    assert (paused.phase, paused.stop_reason) == (Phase.PAUSED, StopReason.EMERGENCY)
    for session in (a_session(), a_session().in_phase(Phase.QUEUED)):
        queued = decide(session.held().facts(), T0).status
        assert queued.phase is Phase.QUEUED
        assert condition(queued, "Ready") == ("False", "NamespaceHeld")
    idle = decide(a_session().with_spec(**OPEN).in_phase(Phase.IDLE).held().with_journal(inbox_pending=1).facts(), T0)
    assert (idle.status.phase, idle.create) == (Phase.IDLE, ())


@pytest.mark.requirement("LIFE-7")
def test_released_namespace_goes_on_by_itself() -> None:
    paused = a_session().paused().in_phase(Phase.PAUSED, stop_reason=StopReason.EMERGENCY)
    assert decide(paused.facts(), T0).create
    assert decide(paused.asked_to_pause().facts(), T0).status.phase is Phase.PAUSED
