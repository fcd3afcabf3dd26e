"""The condition of a session whose pod was seen to reach what its NetworkPolicy forbids."""

from __future__ import annotations

import pytest

from agentsessions.api.reasons import ErrorCode, Phase
from agentsessions.api.v1alpha1.status import Condition, SessionStatus
from agentsessions.lifecycle.decide import decide
from tests.builders import T0, SessionBuilder, a_session
from tests.kstatus import KStatus, compute

pytestmark = pytest.mark.requirement("ID-5")


def found_in(status: SessionStatus) -> Condition | None:
    return next((one for one in status.conditions or [] if one.type == "EgressOpen"), None)


def told(session: SessionBuilder) -> SessionBuilder:
    """Return the session with the condition in its status, as an earlier transition wrote it."""
    before = decide(a_session().running().with_final_answer().with_journal(is_egress_open=True).facts(), T0).status
    update = {"conditions": before.conditions}
    return session.in_phase(session.status.phase or Phase.PENDING, **update)


def test_open_egress_is_told_with_what_it_means_and_what_to_do() -> None:
    status = decide(a_session().running().with_final_answer().with_journal(is_egress_open=True).facts(), T0).status
    found = found_in(status)
    assert found is not None
    assert (found.status, found.reason, found.last_transition_time) == ("True", "APIServerReached", T0)
    for words in (
        "API server",
        "agentsessions-runner",
        "whatever other pods reach",
        "doctor --probe",
        "docs/egress.md",
    ):
        assert words in found.message
    assert status.phase is Phase.COMPLETED
    assert found_in(decide(a_session().running().with_final_answer().facts(), T0).status) is None


def test_health_is_what_it_was() -> None:
    session = a_session().running().with_final_answer()
    for facts in (session.facts(), session.with_journal(is_egress_open=True).facts()):
        raw = {"metadata": {"generation": 1}, "status": decide(facts, T0).status.to_json()}
        assert compute(raw) is KStatus.CURRENT


def test_no_status_is_written_for_it_alone() -> None:
    written = dict(decide(a_session().running().facts(), T0).status)
    settled = a_session().running().in_phase(written.pop("phase"), **written)
    assert decide(settled.facts(), T0).status == settled.status
    assert decide(settled.with_journal(is_egress_open=True).facts(), T0).status == settled.status


@pytest.mark.parametrize(
    ("session", "is_told"),
    [
        pytest.param(a_session().running(), True, id="the status is not written"),
        pytest.param(a_session().starting().with_pod_lost().with_pod(phase="Running"), True, id="a new pod just runs"),
        pytest.param(a_session().running().without_gateway(), True, id="the gateway is away"),
        pytest.param(a_session().running().with_final_answer(), False, id="an epoch ended that did not see it"),
        pytest.param(
            a_session().running().with_closing_error(ErrorCode.RUNNER_ERROR).with_pod_ended(1),
            False,
            id="an epoch failed that did not see it",
        ),
        pytest.param(
            a_session().running().with_final_answer().with_journal(is_egress_open=True), True, id="one saw it again"
        ),
    ],
)
def test_what_was_seen_is_told_until_an_epoch_ended_that_did_not_see_it(session: SessionBuilder, is_told: bool) -> None:
    found = found_in(decide(told(session).facts(), T0).status)
    assert (found is not None) is is_told
