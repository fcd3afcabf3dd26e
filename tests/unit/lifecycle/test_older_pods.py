"""A pod of an epoch that is over must not live beside the one that counts."""

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.lifecycle.decide import decide
from tests.builders import T0, SessionBuilder, a_session, pod_uid


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize(
    "session",
    [
        pytest.param(a_session().in_phase(Phase.RUNNING).with_row(2).with_pod(2), id="while it runs"),
        pytest.param(a_session().in_phase(Phase.STARTING).with_row(2).with_pod(2, phase="Pending"), id="as it starts"),
    ],
)
def test_a_pod_of_an_earlier_epoch_is_ended(session: SessionBuilder) -> None:
    decision = decide(session.with_pod(1, phase="Pending").facts(), now=T0)
    assert [pod.uid for pod in decision.delete] == [pod_uid(1)]
    assert decide(session.with_pod(1, is_deleting=True).facts(), now=T0).delete == ()
