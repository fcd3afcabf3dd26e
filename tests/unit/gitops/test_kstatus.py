"""Flux, Helm and kpt see each phase as design and docs say."""

from typing import Final

import pytest

from agentsessions.api.reasons import Phase
from tests.kstatus import KStatus, compute
from tests.statuses import CASES, session_of

EXPECTED: Final = {
    "Pending": KStatus.IN_PROGRESS,
    "Queued": KStatus.IN_PROGRESS,
    "Starting": KStatus.IN_PROGRESS,
    "Running": KStatus.CURRENT,
    "Idle": KStatus.CURRENT,
    "Waiting": KStatus.IN_PROGRESS,
    "Pausing": KStatus.IN_PROGRESS,
    "Paused": KStatus.CURRENT,
    "Cancelling": KStatus.IN_PROGRESS,
    "Cancelled": KStatus.CURRENT,
    "Completed": KStatus.CURRENT,
    "Failed": KStatus.FAILED,
    "Expired": KStatus.FAILED,
    "Paused by a limit": KStatus.CURRENT,
    "Pending past its deadline": KStatus.FAILED,
    "Queued past its deadline": KStatus.FAILED,
    "Pausing past its deadline": KStatus.FAILED,
}


def test_every_phase_has_an_expectation() -> None:
    assert set(EXPECTED) == set(CASES)
    assert set(Phase) <= set(EXPECTED)


@pytest.mark.requirement("LIFE-3")
@pytest.mark.requirement("OPS-7")
@pytest.mark.parametrize("case", CASES)
def test_kstatus_reads_a_session(case: str) -> None:
    assert compute(session_of(case)) is EXPECTED[case]


@pytest.mark.parametrize("case", CASES)
def test_a_spec_that_the_operator_has_not_seen_is_in_progress(case: str) -> None:
    session = session_of(case)
    session["metadata"]["generation"] += 1
    assert compute(session) is KStatus.IN_PROGRESS
