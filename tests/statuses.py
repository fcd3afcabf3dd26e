"""A session in each phase, with the status that the operator writes there: what other tools judge it by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from agentsessions.api.reasons import LimitName, Phase, Reason
from agentsessions.lifecycle.decide import decide
from tests.builders import T0, SessionBuilder, a_session

Json = dict[str, Any]

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
PAUSED_BY_LIMIT: Final = {"limits": {"onLimit": {"default": "Pause"}}}

DECIDED: Final[Mapping[str, SessionBuilder]] = {
    "Pending": a_session().not_accepted(Reason.PROVIDER_NOT_FOUND, "there is no provider"),
    "Queued": a_session().without_room(),
    "Starting": a_session(),
    "Running": a_session().running(),
    "Idle": a_session().with_spec(conversation={"open": True}).running().with_idle_closing(),
    "Waiting": a_session().running().waiting_for_a_person(),
    "Pausing": a_session().running().asked_to_pause(),
    "Paused": a_session().asked_to_pause(),
    "Cancelling": a_session().running().asked_to_cancel(),
    "Cancelled": a_session().asked_to_cancel(),
    "Completed": a_session().running().with_final_answer(),
    "Failed": a_session().running(since=DAY),
    "Expired": a_session().with_spec(expireAfterSeconds=60).in_phase(Phase.QUEUED, since=MINUTE).without_room(),
    "Paused by a limit": (
        a_session().with_spec(**PAUSED_BY_LIMIT).paused().with_limit_reached(LimitName.TOKENS).with_row()
    ),
    "Pending past its deadline": (
        a_session().not_accepted(Reason.PROVIDER_NOT_FOUND, "there is no provider").in_phase(Phase.PENDING, since=DAY)
    ),
    "Queued past its deadline": a_session().in_phase(Phase.QUEUED, since=DAY).without_room(),
    "Pausing past its deadline": a_session().asked_to_pause().running().in_phase(Phase.PAUSING, since=DAY),
}
"""What the operator decides about; the first word is the phase that it writes."""
CASES: Final = tuple(DECIDED)


def session_of(case: str) -> Json:
    """Return the parts of a session that tools for GitOps read, as the API server would show them."""
    status = decide(DECIDED[case].facts(), T0).status
    assert status.phase == case.split(maxsplit=1)[0]
    return {"metadata": {"name": "rows", "generation": status.observed_generation}, "status": status.to_json()}
