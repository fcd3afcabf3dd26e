from datetime import timedelta

import pytest

from agentsessions.api.reasons import ErrorCode, LimitName, Phase, Reason, StopReason
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.decision import PodWanted
from tests.builders import T0, SessionBuilder, a_session, pod_uid

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
IMAGE = {"agents": [{"name": "agent", "image": "example.com/agent:1"}]}


def condition(status: SessionStatus, kind: str) -> tuple[str, str]:
    return next((c.status, c.reason) for c in status.conditions or [] if c.type == kind)


@pytest.mark.requirement("LIFE-1")
@pytest.mark.parametrize(
    ("session", "phase", "reason"),
    [
        pytest.param(
            a_session().not_accepted(Reason.PROVIDER_NOT_FOUND, "no provider"),
            Phase.PENDING,
            "ProviderNotFound",
            id="a session whose provider is missing stays pending",
        ),
        pytest.param(a_session(), Phase.STARTING, "AwaitingPod", id="an accepted session starts"),
        pytest.param(a_session().starting(), Phase.STARTING, "AwaitingPod", id="a pod that starts is waited for"),
        pytest.param(
            a_session().in_phase(Phase.STARTING).with_row().with_pod(phase="Running"),
            Phase.RUNNING,
            "Running",
            id="a pod that runs makes the session run",
        ),
        pytest.param(
            a_session().running().with_final_answer(), Phase.COMPLETED, "GoalReached", id="a final answer completes"
        ),
        pytest.param(
            a_session().starting().with_final_answer(),
            Phase.COMPLETED,
            "GoalReached",
            id="a final answer completes a session that was never seen running",
        ),
        pytest.param(
            a_session().running().with_pod_ended(0),
            Phase.STARTING,
            "Retrying",
            id="exit code 0 without a closing record is a failure of the epoch",
        ),
        pytest.param(
            a_session().with_spec(**IMAGE).running().with_pod_ended(0).with_journal(turns=1, result="ok"),
            Phase.COMPLETED,
            "GoalReached",
            id="a foreign image that made a call and exits 0 is done",
        ),
        pytest.param(
            a_session().with_spec(**IMAGE).running().with_pod_ended(0),
            Phase.STARTING,
            "Retrying",
            id="a foreign image that made no call is not done",
        ),
        pytest.param(
            a_session().running().with_pod_lost(),
            Phase.STARTING,
            "Retrying",
            id="a lost pod without progress is retried",
        ),
        pytest.param(
            a_session().running().with_pod_lost().with_journal(epoch_turns=1),
            Phase.STARTING,
            "AwaitingPod",
            id="a lost pod with progress is replaced at once",
        ),
        pytest.param(
            a_session().running().with_pod_lost().with_retries(3),
            Phase.FAILED,
            "RetriesExhausted",
            id="the fourth lost pod in a row fails the session",
        ),
        pytest.param(
            a_session().running().with_pod_ended(1).with_closing_error(ErrorCode.CONTEXT_TOO_LONG),
            Phase.FAILED,
            "ContextTooLong",
            id="an error that another try cannot mend fails at once",
        ),
        pytest.param(
            a_session().running().with_pod_ended(1).with_closing_error(ErrorCode.RATE_LIMITED),
            Phase.STARTING,
            "Retrying",
            id="a rate limit is retried",
        ),
        pytest.param(
            a_session().running().with_limit_reached(LimitName.STEPS),
            Phase.FAILED,
            "StepLimit",
            id="maxSteps reached fails",
        ),
        pytest.param(
            a_session().running().with_limit_reached(LimitName.TOKENS),
            Phase.FAILED,
            "TokenLimit",
            id="maxTokens reached fails",
        ),
        pytest.param(
            a_session().running().with_limit_reached(LimitName.TOOL_CALLS),
            Phase.FAILED,
            "ToolCallLimit",
            id="maxToolCalls reached fails",
        ),
        pytest.param(
            a_session().running(since=120 * SECOND),
            Phase.FAILED,
            "Timeout",
            id="two minutes of active time are the default",
        ),
        pytest.param(
            a_session().running(since=120 * SECOND).without_gateway(away=30 * SECOND),
            Phase.RUNNING,
            "Running",
            id="active time stops while the gateway is away",
        ),
        pytest.param(
            a_session()
            .in_phase(Phase.RUNNING, since=1020 * SECOND)
            .with_row()
            .with_pod(phase="Running")
            .without_gateway(away=1020 * SECOND),
            Phase.FAILED,
            "Timeout",
            id="the outer bound holds whatever the gateway says",
        ),
        pytest.param(
            a_session().starting(since=10 * MINUTE), Phase.FAILED, "StartFailed", id="a session does not start for ever"
        ),
        pytest.param(a_session().asked_to_pause(), Phase.PAUSED, "UserPaused", id="a new session pauses at once"),
        pytest.param(
            a_session().running().asked_to_pause(), Phase.PAUSING, "UserPaused", id="a running session drains first"
        ),
        pytest.param(
            a_session().running().in_phase(Phase.PAUSING).with_pod_ended(10).asked_to_pause(),
            Phase.PAUSED,
            "UserPaused",
            id="a pause is complete when the pod has ended",
        ),
        pytest.param(
            a_session().running().in_phase(Phase.PAUSING).with_pod_ended(0).with_final_answer().asked_to_pause(),
            Phase.COMPLETED,
            "GoalReached",
            id="a last turn that was final wins over the pause",
        ),
        pytest.param(a_session().paused(), Phase.STARTING, "AwaitingPod", id="a resumed session starts again"),
        pytest.param(
            a_session().asked_to_cancel(), Phase.CANCELLED, "UserCancelled", id="a new session cancels at once"
        ),
        pytest.param(
            a_session().running().asked_to_cancel(),
            Phase.CANCELLING,
            "UserCancelled",
            id="cancel of a running session ends its pods first",
        ),
        pytest.param(
            a_session().running().in_phase(Phase.CANCELLING).with_pod_lost().asked_to_cancel(),
            Phase.CANCELLED,
            "UserCancelled",
            id="cancel is proven when no pod is left",
        ),
        pytest.param(
            a_session().running().in_phase(Phase.CANCELLING, since=MINUTE).asked_to_cancel(),
            Phase.CANCELLED,
            "ForceTerminated",
            id="cancel ends at its deadline even when a pod does not",
        ),
        pytest.param(
            a_session().running().with_pod_ended(0).without_gateway(),
            Phase.RUNNING,
            "AwaitingJournal",
            id="a pod that ended while the gateway is away waits for the journal",
        ),
        pytest.param(
            a_session().running().with_pod_lost().without_gateway(),
            Phase.STARTING,
            "Retrying",
            id="a lost pod is replaced even when the gateway is away",
        ),
    ],
)
def test_decide_moves_the_session(session: SessionBuilder, phase: Phase, reason: str) -> None:
    status = decide(session.facts(), now=T0).status
    assert status.phase is phase
    assert condition(status, "Ready")[1] == reason


@pytest.mark.requirement("LIFE-3")
@pytest.mark.parametrize(
    ("session", "ready", "reconciling", "stalled", "complete"),
    [
        pytest.param(a_session(), "False", "True", "False", "False", id="starting"),
        pytest.param(a_session().running(), "True", "False", "False", "False", id="running"),
        pytest.param(a_session().running().with_final_answer(), "True", "False", "False", "True", id="completed"),
        pytest.param(
            a_session().running(since=120 * SECOND), "False", "False", "True", "False", id="failed by its timeout"
        ),
        pytest.param(
            a_session().running().with_pod_ended(0).without_gateway(), "True", "True", "False", "False", id="awaiting"
        ),
    ],
)
def test_conditions_read_as_kstatus_expects(
    session: SessionBuilder, ready: str, reconciling: str, stalled: str, complete: str
) -> None:
    status = decide(session.facts(), now=T0).status
    found = [condition(status, kind)[0] for kind in ("Ready", "Reconciling", "Stalled", "Complete")]
    assert found == [ready, reconciling, stalled, complete]


def test_first_pass_asks_for_the_pod_of_epoch_one() -> None:
    assert decide(a_session().facts(), now=T0).create == (PodWanted("agent", 1),)


@pytest.mark.requirement("LIFE-11")
def test_pod_created_before_a_crash_is_adopted_not_doubled() -> None:
    decision = decide(a_session().with_pod(1, phase="Pending").facts(), now=T0)
    assert decision.create == ()
    assert decision.status.agents is not None
    assert decision.status.agents[0].pod_uid == pod_uid(1)


@pytest.mark.requirement("LIFE-11")
def test_retry_waits_for_its_time_and_then_starts_the_next_epoch() -> None:
    lost = a_session().running().with_pod_lost()
    first = decide(lost.facts(), now=T0)
    assert first.status.retries == 1
    assert first.status.next_retry_at == T0 + 4 * SECOND
    waiting = SessionBuilder(status=first.status)
    assert decide(waiting.facts(), now=T0 + SECOND).status == first.status
    due = decide(waiting.facts(), now=T0 + 4 * SECOND)
    assert due.create == (PodWanted("agent", 2),)
    assert due.status.next_retry_at is None


@pytest.mark.requirement("LIFE-11")
def test_committed_turn_resets_the_retries() -> None:
    lost = a_session().running().with_retries(3).with_pod_lost().with_journal(epoch_turns=2)
    assert decide(lost.facts(), now=T0).status.retries == 0


def test_end_of_a_pod_is_judged_by_a_level_read_after_it() -> None:
    ended = a_session().running().with_pod_ended(0).with_stale_journal()
    decision = decide(ended.facts(), now=T0)
    assert decision.needs_level
    assert decision.status == ended.status


def test_steady_session_writes_nothing() -> None:
    first = decide(a_session().running().facts(), now=T0).status
    again = SessionBuilder(status=first).with_pod(1, phase="Running")
    assert decide(again.facts(), now=T0 + 20 * SECOND).status == first


def test_ordinary_container_creation_writes_nothing() -> None:
    first = decide(a_session().with_pod(1, phase="Pending").facts(), now=T0).status
    creating = SessionBuilder(status=first).with_pod(1, phase="Pending", waiting_reason="ContainerCreating")
    assert decide(creating.facts(), now=T0 + SECOND).status == first


def test_image_that_cannot_be_pulled_is_named() -> None:
    stuck = a_session().in_phase(Phase.STARTING).with_row()
    stuck = stuck.with_pod(phase="Pending", waiting_reason="ImagePullBackOff", message="no such image")
    status = decide(stuck.facts(), now=T0).status
    assert condition(status, "Ready") == ("False", "ImagePullBackOff")


@pytest.mark.requirement("LIM-3")
def test_completed_status_tells_usage_remaining_and_result() -> None:
    done = a_session().running(since=12 * SECOND).with_final_answer("three products")
    done = done.with_journal(input_tokens=900, output_tokens=100, tool_calls=2)
    status = decide(done.facts(), now=T0).status
    assert status.result == "three products"
    assert status.stop_reason is StopReason.GOAL_REACHED
    assert status.usage is not None
    assert (status.usage.steps, status.usage.total_tokens, status.usage.active_seconds) == (3, 1000, 12)
    assert status.remaining is not None
    assert (status.remaining.steps, status.remaining.tokens, status.remaining.tool_calls) == (7, 199_000, 98)
    assert status.journal is not None
    assert (status.journal.head, status.journal.digest) == (9, "ab")


@pytest.mark.requirement("LIM-3")
def test_active_time_adds_up_over_epochs() -> None:
    lost = a_session().running(since=30 * SECOND).with_usage(active_seconds=50).with_pod_lost()
    status = decide(lost.facts(), now=T0).status
    assert status.usage is not None
    assert status.usage.active_seconds == 80


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED, Phase.EXPIRED])
@pytest.mark.requirement("LIFE-1")
def test_final_session_stays_final_whatever_is_asked(phase: Phase) -> None:
    session = (
        a_session().running().in_phase(phase, finished_at=T0).asked_to_cancel().with_limit_reached(LimitName.STEPS)
    )
    assert decide(session.facts(), now=T0 + MINUTE).status.phase is phase


def test_pod_that_outlives_its_final_session_is_ended() -> None:
    done = a_session().running().in_phase(Phase.COMPLETED, finished_at=T0)
    assert decide(done.facts(), now=T0 + SECOND).delete == ()
    assert [pod.uid for pod in decide(done.facts(), now=T0 + 30 * SECOND).delete] == [pod_uid(1)]


def test_failed_session_ends_its_pod() -> None:
    assert [pod.uid for pod in decide(a_session().running(since=2 * MINUTE).facts(), now=T0).delete] == [pod_uid(1)]


def test_deleted_session_is_left_to_the_collector() -> None:
    session = a_session().running().being_deleted()
    decision = decide(session.facts(), now=T0)
    assert decision.status == session.status
    assert (decision.create, decision.delete, decision.events) == ((), (), ())


@pytest.mark.parametrize(
    ("session", "want"),
    [
        pytest.param(a_session(), ("Normal", "Starting"), id="a start"),
        pytest.param(a_session().running().with_final_answer(), ("Normal", "Completed"), id="a completion"),
        pytest.param(a_session().running(since=2 * MINUTE), ("Warning", "Timeout"), id="a failure by its stop reason"),
        pytest.param(a_session().running().with_pod_lost(), ("Warning", "Retrying"), id="a retry"),
        pytest.param(
            a_session().not_accepted(Reason.PROVIDER_NOT_FOUND, "none"), ("Warning", "ProviderNotFound"), id="a problem"
        ),
    ],
)
@pytest.mark.requirement("OPS-4")
def test_transition_makes_one_event(session: SessionBuilder, want: tuple[str, str]) -> None:
    events = decide(session.facts(), now=T0).events
    assert [(event.type, event.reason) for event in events] == [want]


def test_repeated_problem_makes_no_second_event() -> None:
    first = decide(a_session().not_accepted(Reason.PROVIDER_NOT_FOUND, "none").facts(), now=T0)
    again = SessionBuilder(status=first.status).not_accepted(Reason.PROVIDER_NOT_FOUND, "none")
    decision = decide(again.facts(), now=T0 + 5 * SECOND)
    assert decision.events == ()
    assert decision.status == first.status
    assert decision.wake_at == T0 + 10 * SECOND


def test_next_epoch_replaces_the_ended_pod_of_the_last() -> None:
    ended = a_session().paused().with_pod_ended(10)
    decision = decide(ended.facts(), now=T0)
    assert [pod.uid for pod in decision.delete] == [pod_uid(1)]
    assert decision.create == (PodWanted("agent", 2),)


def test_missing_reference_of_a_new_session_is_given_a_moment_to_arrive() -> None:
    new = a_session().just_created().not_accepted(Reason.PROVIDER_NOT_FOUND, "none")
    decision = decide(new.facts(), now=T0)
    assert (decision.status, decision.events, decision.wake_at) == (new.status, (), T0 + SECOND)
    assert decide(new.facts(), now=T0 + 3 * SECOND).status.phase is Phase.PENDING
