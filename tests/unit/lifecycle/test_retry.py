"""What each class of error means, how long a session waits, and what a lost node is."""

from datetime import datetime, timedelta

import pytest

from agentsessions.api.reasons import ErrorCode, Phase, Reason, StopReason
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.effective import Effective, resolve
from agentsessions.lifecycle.retry import RULES, Action, compute_backoff, next_try_at, rule_of
from tests.builders import T0, SessionBuilder, a_session, pod_uid

PASSING = [code for code in ErrorCode if RULES[code].action is Action.RETRY]
FINAL = [code for code in ErrorCode if RULES[code].action is not Action.RETRY]


def with_retry(**fields: int) -> Effective:
    return resolve(SessionSpec.model_validate({"goal": "g", "retry": fields}))


@pytest.mark.requirement("LIFE-10")
def test_every_class_of_error_has_exactly_one_rule() -> None:
    assert RULES.keys() == set(ErrorCode)


@pytest.mark.requirement("LIFE-10")
def test_rules_are_those_that_the_docs_state() -> None:
    assert {code.value: (rule.action.value, rule.stop_reason.value) for code, rule in RULES.items()} == {
        "rate_limited": ("Retry", "RetriesExhausted"),
        "overloaded": ("Retry", "RetriesExhausted"),
        "network": ("Retry", "RetriesExhausted"),
        "model_error": ("Retry", "RetriesExhausted"),
        "empty_answer": ("Retry", "RetriesExhausted"),
        "pod_lost": ("Retry", "RetriesExhausted"),
        "node_lost": ("Retry", "RetriesExhausted"),
        "runner_error": ("Retry", "RetriesExhausted"),
        "context_too_long": ("Compact", "ContextTooLong"),
        "start_failed": ("Fail", "StartFailed"),
        "policy": ("Fail", "PolicyRefused"),
    }


def test_a_class_that_only_a_newer_version_knows_is_tried_again() -> None:
    assert rule_of("from the future").action is Action.RETRY


@pytest.mark.requirement("LIFE-10")
@pytest.mark.parametrize("code", PASSING)
def test_a_passing_error_is_tried_again_until_the_tries_are_used_up(code: ErrorCode) -> None:
    failed = a_session().running().with_pod_ended().with_closing_error(code)

    first = decide(failed.facts(), now=T0).status
    last = decide(failed.with_retries(3).facts(), now=T0).status

    assert (first.phase, first.retries, first.next_retry_at) == (Phase.STARTING, 1, T0 + timedelta(seconds=4))
    assert (last.phase, last.stop_reason) == (Phase.FAILED, StopReason.RETRIES_EXHAUSTED)


@pytest.mark.requirement("LIFE-10")
@pytest.mark.parametrize("code", FINAL)
def test_an_error_that_no_try_mends_ends_the_session_for_its_own_reason(code: ErrorCode) -> None:
    status = decide(a_session().running().with_pod_ended().with_closing_error(code).facts(), now=T0).status

    assert (status.phase, status.stop_reason) == (Phase.FAILED, RULES[code].stop_reason)
    assert status.error is not None
    assert status.error.code == code


@pytest.mark.requirement("LIFE-10")
@pytest.mark.parametrize(
    ("fields", "retries", "earliest", "latest"),
    [
        pytest.param({}, 0, 4, 5, id="an epoch that got somewhere waits as a first retry"),
        pytest.param({}, 1, 4, 5, id="the first retry is not sooner than the initial wait"),
        pytest.param({}, 2, 6, 8, id="the second doubles it"),
        pytest.param({}, 3, 12, 16, id="the third doubles it again"),
        pytest.param({}, 5, 45, 60, id="the longest wait is reached, and not exceeded"),
        pytest.param({}, 1000, 45, 60, id="no number of retries exceeds it"),
        pytest.param({"initialBackoffSeconds": 30, "maxBackoffSeconds": 30}, 1, 30, 30, id="no room, no spread"),
        pytest.param(
            {"initialBackoffSeconds": 50, "maxBackoffSeconds": 60}, 2, 50, 60, id="little room, little spread"
        ),
    ],
)
def test_backoff_doubles_within_its_bounds(
    fields: dict[str, int], retries: int, earliest: float, latest: float
) -> None:
    effective = with_retry(**fields)
    waits = [compute_backoff(effective, retries, jitter / 100).total_seconds() for jitter in range(100)]

    assert min(waits) >= earliest
    assert max(waits) <= latest
    assert max(waits) - min(waits) >= (latest - earliest) * 0.9
    assert effective.initial_backoff.total_seconds() <= min(waits)
    assert max(waits) <= effective.max_backoff.total_seconds()


@pytest.mark.requirement("LIFE-10")
@pytest.mark.parametrize(
    ("not_before", "seconds"),
    [
        pytest.param(None, 4, id="the provider asked for nothing"),
        pytest.param(T0 - timedelta(seconds=1), 4, id="what it asked for has passed"),
        pytest.param(T0 + timedelta(seconds=2), 4, id="less than the backoff"),
        pytest.param(T0 + timedelta(seconds=30), 30, id="more than the backoff"),
        pytest.param(T0 + timedelta(hours=1), 60, id="more than the longest wait"),
    ],
)
def test_next_try_is_not_before_the_provider_wants_it(not_before: datetime | None, seconds: int) -> None:
    due = next_try_at(with_retry(), 1, 0.0, now=T0, not_before=not_before)

    assert due == T0 + timedelta(seconds=seconds)


@pytest.mark.requirement("LIFE-10")
def test_decide_waits_as_long_as_the_provider_asked() -> None:
    failed = a_session().running().with_pod_ended().with_closing_error(ErrorCode.RATE_LIMITED)
    level = failed.journal.level
    assert level is not None
    assert level.closing is not None
    asked = level.closing.model_copy(update={"retry_at": T0 + timedelta(seconds=45)})

    assert decide(failed.with_journal(closing=asked).facts(), now=T0).status.next_retry_at == T0 + timedelta(seconds=45)


# A node that is gone.


def evicted(**more: object) -> SessionBuilder:
    """A session whose pod was given up with its node."""
    return a_session().in_phase(Phase.RUNNING).with_row().with_pod(is_node_lost=True, message="its node", **more)


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(evicted(is_deleting=True), id="marked for deletion, and never gone"),
        pytest.param(evicted(phase="Failed"), id="failed by the collector of pods, without an exit code"),
    ],
)
def test_a_session_goes_on_in_a_new_epoch_when_its_node_is_lost(case: SessionBuilder) -> None:
    decision = decide(case.with_journal(epoch_turns=2).facts(), now=T0)

    assert [pod.epoch for pod in decision.create] == [2]
    assert (decision.status.phase, decision.status.retries) == (Phase.STARTING, 0)
    assert decision.status.error is not None
    assert decision.status.error.code == ErrorCode.NODE_LOST


@pytest.mark.requirement("LIFE-11")
def test_a_node_lost_before_any_turn_counts_as_a_retry() -> None:
    status = decide(evicted(is_deleting=True).facts(), now=T0).status

    assert (status.retries, status.next_retry_at) == (1, T0 + timedelta(seconds=4))


@pytest.mark.requirement("LIFE-11")
def test_the_next_epoch_runs_beside_a_pod_that_its_node_does_not_give_back() -> None:
    stuck = evicted(is_deleting=True).with_pod(2).with_row(2)

    decision = decide(stuck.facts(), now=T0)

    assert decision.status.phase is Phase.RUNNING
    assert [row.pod_uid for row in decision.status.agents or []] == [pod_uid(2)]
    assert (decision.create, decision.delete) == ((), ())


@pytest.mark.requirement("LIFE-11")
def test_what_the_journal_says_of_a_pod_beats_what_became_of_its_node() -> None:
    closed = evicted(phase="Failed").with_closing_error(ErrorCode.OVERLOADED)

    error = decide(closed.facts(), now=T0).status.error

    assert error is not None
    assert error.code == ErrorCode.OVERLOADED


@pytest.mark.parametrize("phase", ["Running", "Unknown"])
def test_a_pod_on_an_unreachable_node_counts_until_it_is_given_up(phase: str) -> None:
    running = a_session().in_phase(Phase.RUNNING).with_row().with_pod(phase=phase)

    status = decide(running.facts(), now=T0).status

    assert status.phase is Phase.RUNNING
    assert all(condition.reason != Reason.RETRYING for condition in status.conditions or [])
