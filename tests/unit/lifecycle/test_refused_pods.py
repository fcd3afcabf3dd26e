"""A pod that the API server refuses, or that does not start: told in status, tried again, never for ever."""

from datetime import timedelta

import pytest

from agentsessions.api.reasons import ErrorCode, Phase, StopReason
from agentsessions.api.v1alpha1.status import Condition, SessionStatus
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.decision import PodWanted
from tests.builders import T0, SessionBuilder, a_session, pod_uid

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
WORDS = 'pods "rows-1" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0'


def ready(status: SessionStatus) -> Condition:
    return next(condition for condition in status.conditions or [] if condition.type == "Ready")


def refused_from(session: SessionBuilder) -> SessionBuilder:
    """Return the session as it stands after a pass in which its next pod was refused."""
    first = decide(session.with_pod_refused(WORDS).facts(), now=T0)
    return SessionBuilder(status=first.status, spec=session.spec, journal=session.journal)


AFTER_ACCEPTANCE = [
    pytest.param(a_session().paused(), id="a resumed session"),
    pytest.param(a_session().running().with_pod_lost().with_journal(epoch_turns=1), id="a lost pod with progress"),
    pytest.param(
        a_session().in_phase(Phase.STARTING, since=SECOND).with_row().with_retries(1, next_in=-SECOND),
        id="a retry that is due",
    ),
    pytest.param(
        a_session().in_phase(Phase.STARTING).with_row().with_pod_ended(1).with_retries(1, next_in=-SECOND),
        id="a retry of a pod that ended and is still there",
    ),
]


@pytest.mark.requirement("LIFE-12")
@pytest.mark.parametrize("session", AFTER_ACCEPTANCE)
def test_refused_pod_is_told_in_the_words_of_the_api_server(session: SessionBuilder) -> None:
    decision = decide(session.with_pod_refused(WORDS).facts(), now=T0)
    condition = ready(decision.status)
    assert (decision.status.phase, condition.status, condition.reason) == (Phase.STARTING, "False", "PodRefused")
    assert WORDS in condition.message
    assert "agent agent" in condition.message
    assert decision.create == ()
    assert decision.wake_at == T0 + 5 * SECOND
    assert [(event.type, event.reason) for event in decision.events] == [("Warning", "PodRefused")]


@pytest.mark.parametrize("session", AFTER_ACCEPTANCE)
def test_refused_pod_is_asked_for_again_as_the_same_epoch_and_nothing_is_written(session: SessionBuilder) -> None:
    waiting = refused_from(session)
    later = T0 + 5 * SECOND
    assert decide(waiting.facts(), now=later).create == (PodWanted("agent", 2),)
    again = decide(waiting.with_pod_refused(WORDS).facts(), now=later)
    assert again.status == waiting.status
    assert again.events == ()


@pytest.mark.parametrize("session", AFTER_ACCEPTANCE)
def test_refusal_counts_no_retry(session: SessionBuilder) -> None:
    before = session.status.retries or 0
    waiting = refused_from(session)
    again = decide(waiting.with_pod_refused(WORDS).facts(), now=T0 + MINUTE)
    assert (again.status.retries or 0) == before


@pytest.mark.parametrize("session", AFTER_ACCEPTANCE)
def test_pod_that_is_taken_at_last_starts_with_a_deadline_of_its_own(session: SessionBuilder) -> None:
    late = T0 + 9 * MINUTE
    taken = refused_from(session).with_pod(2, phase="Pending", created_at=late)
    status = decide(taken.facts(), now=late).status
    assert (status.phase, ready(status).reason, status.next_retry_at) == (Phase.STARTING, "AwaitingPod", None)
    assert status.agents is not None
    assert status.agents[0].pod_uid == pod_uid(2)
    going_on = SessionBuilder(status=status).with_pod(2, phase="Pending", created_at=late)
    assert decide(going_on.facts(), now=late + 2 * MINUTE).status.phase is Phase.STARTING
    assert decide(going_on.facts(), now=late + 10 * MINUTE).status.phase is Phase.FAILED


@pytest.mark.requirement("LIFE-12")
@pytest.mark.parametrize("session", AFTER_ACCEPTANCE)
def test_refusal_does_not_last_longer_than_the_deadline_of_starting(session: SessionBuilder) -> None:
    waiting = refused_from(session)
    assert decide(waiting.with_pod_refused(WORDS).facts(), now=T0 + 9 * MINUTE).status.phase is Phase.STARTING
    status = decide(waiting.with_pod_refused(WORDS).facts(), now=T0 + 10 * MINUTE).status
    assert (status.phase, status.stop_reason) == (Phase.FAILED, StopReason.START_FAILED)
    assert status.error is not None
    assert WORDS in status.error.message


def test_deadline_holds_while_the_ended_pod_is_still_there() -> None:
    ended = a_session().in_phase(Phase.STARTING).with_row().with_pod_ended(1).with_retries(1, next_in=-SECOND)
    waiting = refused_from(ended).with_pod_ended(1).with_pod_refused(WORDS)
    assert decide(waiting.facts(), now=T0 + 9 * MINUTE).status.phase is Phase.STARTING
    assert decide(waiting.facts(), now=T0 + 10 * MINUTE).status.stop_reason is StopReason.START_FAILED


def test_cancel_of_a_refused_session_needs_no_pod() -> None:
    waiting = refused_from(a_session().paused()).asked_to_cancel()
    assert decide(waiting.facts(), now=T0 + SECOND).status.phase is Phase.CANCELLED


def test_long_wait_for_a_retry_is_no_stuck_start() -> None:
    patient = a_session().with_spec(retry={"initialBackoffSeconds": 3600, "maxBackoffSeconds": 3600})
    lost = decide(patient.running().with_pod_lost().facts(), now=T0).status
    assert lost.next_retry_at == T0 + 60 * MINUTE
    waiting = SessionBuilder(status=lost, spec=patient.spec)
    assert decide(waiting.facts(), now=T0 + 59 * MINUTE).status == lost
    assert decide(waiting.facts(), now=T0 + 60 * MINUTE).create == (PodWanted("agent", 2),)


@pytest.mark.parametrize(
    ("spec", "reason", "words", "remedy"),
    [
        pytest.param(
            {"agents": [{"name": "agent", "image": "example.com/agent:1"}]},
            "ImagePullBackOff",
            "Back-off pulling image",
            "'example.com/agent:1', which agent agent names in spec.agents[].image",
            id="an agent's image that is nowhere",
        ),
        pytest.param({}, "ErrImagePull", "not found", "the runner is set by the installation", id="the runner's image"),
        pytest.param(
            {},
            "Unschedulable",
            "0/1 nodes are available: 1 Insufficient cpu.",
            "lower spec.agents[].resources.requests",
            id="more than any node has",
        ),
        pytest.param(
            {"workspace": {"size": "1Gi", "storageClassName": "fast"}},
            "Unschedulable",
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
            "spec.workspace asks for 1Gi of the storage class 'fast'",
            id="a storage class that gives no volume",
        ),
        pytest.param(
            {"workspace": {"size": "1Gi"}},
            "Unschedulable",
            '0/1 nodes are available: persistentvolumeclaim "c" not found.',
            "default storage class",
            id="no default storage class",
        ),
        pytest.param(
            {"workspace": {"size": "1Gi"}},
            "Unschedulable",
            "0/1 nodes are available: 1 Insufficient memory.",
            "no node has room",
            id="a workspace that is not the problem",
        ),
    ],
)
def test_pod_that_waits_is_told_with_the_field_to_change(
    spec: dict[str, object], reason: str, words: str, remedy: str
) -> None:
    session = a_session().with_spec(**spec).in_phase(Phase.STARTING).with_row()
    stuck = session.with_pod(phase="Pending", waiting_reason=reason, message=words)
    condition = ready(decide(stuck.facts(), now=T0).status)
    assert condition.reason == reason
    assert words in condition.message
    assert remedy in condition.message


def test_remedy_is_not_cut_off_by_long_words() -> None:
    session = a_session().in_phase(Phase.STARTING).with_row()
    stuck = session.with_pod(phase="Pending", waiting_reason="Unschedulable", message="x" * 5000)
    message = ready(decide(stuck.facts(), now=T0).status).message
    assert message.endswith("spec.agents[].resources.requests")
    assert len(message) <= 1024


def test_pull_that_is_tried_again_writes_nothing() -> None:
    session = a_session().in_phase(Phase.STARTING).with_row()
    pausing = session.with_pod(phase="Pending", waiting_reason="ImagePullBackOff", message="Back-off pulling")
    first = decide(pausing.facts(), now=T0).status
    trying = SessionBuilder(status=first).with_pod(phase="Pending", waiting_reason="ErrImagePull", message="refused")
    assert decide(trying.facts(), now=T0 + MINUTE).status == first


def test_pod_that_ended_is_not_a_stuck_start() -> None:
    ended = a_session().in_phase(Phase.STARTING, since=11 * MINUTE).with_row().with_pod_ended(1)
    status = decide(ended.with_closing_error(ErrorCode.RATE_LIMITED).facts(), now=T0).status
    assert (status.phase, ready(status).reason) == (Phase.STARTING, "Retrying")
