"""Questions to people: which objects there should be, and what they came to."""

from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.v1alpha1.approval import (
    ApprovalKind,
    ApprovalOutcome,
    ApprovalRequest,
    OnExpiry,
    SessionApprovalSpec,
    SessionApprovalStatus,
)
from agentsessions.lifecycle.approvals import ApprovalView, has_strangers, judge, plan
from tests.builders import SESSION_UID, T0

pytestmark = pytest.mark.requirement("POL-2")

O = ApprovalOutcome  # noqa: E741 - one letter for a table


def a_request(call_id: str = "call_1", **changes: Any) -> ApprovalRequest:
    given: dict[str, Any] = {
        "kind": ApprovalKind.APPROVAL,
        "agent": "agent",
        "round": 1,
        "step": 1,
        "call_id": call_id,
        "tool": "shell",
        "arguments": "{}",
        "arguments_digest": "0" * 64,
        "message": "it is asked",
        "asked_at": T0,
    }
    return ApprovalRequest(**given | changes)


def a_spec(request: ApprovalRequest, **answers: str) -> SessionApprovalSpec:
    decisions = {
        who: {"answer": answer, **({"output": "done"} if answer == "Happened" else {})}
        for who, answer in answers.items()
    }
    return SessionApprovalSpec.model_validate({
        "session": "rows", "request": request.to_json(), "decisions": decisions or None
    })  # fmt: skip


def a_view(request: ApprovalRequest, outcome: ApprovalOutcome | None = None, **answers: str) -> ApprovalView:
    status = SessionApprovalStatus(outcome=outcome)
    return ApprovalView("team", "rows-1", "u1", "1", SESSION_UID, a_spec(request, **answers), status)


DOUBT = {"kind": ApprovalKind.DOUBT}
TIMED = {"expires_at": T0 + timedelta(seconds=60)}


@pytest.mark.parametrize(
    ("request_", "answers", "after", "want", "by"),
    [
        pytest.param({}, {}, 0, None, None, id="nobody said anything"),
        pytest.param({}, {"amy": "Approve"}, 0, O.APPROVED, ["amy"], id="one approves"),
        pytest.param({}, {"amy": "Deny"}, 0, O.DENIED, ["amy"], id="one denies"),
        pytest.param({"quorum": 2}, {"amy": "Approve"}, 0, None, None, id="one of two approves"),
        pytest.param(
            {"quorum": 2}, {"amy": "Approve", "bob": "Approve"}, 0, O.APPROVED, ["amy", "bob"], id="two of two approve"
        ),
        pytest.param({"quorum": 2}, {"amy": "Approve", "bob": "Deny"}, 0, O.DENIED, ["bob"], id="one denial is enough"),
        pytest.param(DOUBT, {"amy": "Happened"}, 0, O.HAPPENED, ["amy"], id="it happened"),
        pytest.param(DOUBT, {"amy": "RunAgain"}, 0, O.RUN_AGAIN, ["amy"], id="it is to run again"),
        pytest.param(
            DOUBT, {"amy": "RunAgain", "bob": "Happened"}, 0, O.HAPPENED, ["bob"], id="people differ about a doubt"
        ),
        pytest.param({**TIMED, "on_expiry": OnExpiry.DENY}, {}, 59, None, None, id="there is time"),
        pytest.param({**TIMED, "on_expiry": OnExpiry.DENY}, {}, 60, O.DENIED, None, id="expiry denies"),
        pytest.param({**TIMED, "on_expiry": OnExpiry.ALLOW}, {}, 60, O.APPROVED, None, id="expiry allows"),
        pytest.param({**TIMED, "on_expiry": OnExpiry.PAUSE}, {}, 60, None, None, id="expiry pauses: people may decide"),
        pytest.param(
            {**TIMED, "on_expiry": OnExpiry.PAUSE}, {"amy": "Approve"}, 90, O.APPROVED, ["amy"], id="decided after that"
        ),
    ],
)
def test_a_question_comes_to_what_people_or_time_say(
    request_: dict[str, Any],
    answers: dict[str, str],
    after: int,
    want: ApprovalOutcome | None,
    by: list[str] | None,
) -> None:
    status = judge(a_spec(a_request(**request_), **answers), T0 + timedelta(seconds=after))
    assert (status.outcome, status.decided_by) == (want, by)
    assert status.message


def test_each_call_that_waits_gets_one_object() -> None:
    one, two = a_request(), a_request("call_2")
    assert plan([one, two], [a_view(one)], is_over=False, now=T0).create == (two,)
    again = a_request(number=2)
    assert plan([again], [a_view(one, O.RUN_AGAIN)], is_over=False, now=T0).create == (again,)


def test_what_is_decided_stays_and_is_not_asked_anew_while_the_journal_is_late() -> None:
    one = a_request()
    wanted = plan([one], [a_view(one, O.APPROVED, amy="Approve")], is_over=False, now=T0)
    assert (wanted.create, wanted.statuses) == ((), ())


def test_a_session_that_ended_withdraws_its_questions_and_asks_none() -> None:
    one = a_request()
    wanted = plan([one, a_request("call_2")], [a_view(one, amy="Approve")], is_over=True, now=T0)
    assert wanted.create == ()
    assert [status.outcome for _, status in wanted.statuses] == [O.WITHDRAWN]


def test_a_question_with_a_time_is_looked_at_when_that_is_over() -> None:
    one = a_request(**TIMED, on_expiry=OnExpiry.DENY)
    assert plan([one], [a_view(one)], is_over=False, now=T0).wake_at == T0 + timedelta(seconds=60)


def test_a_call_that_has_its_result_is_asked_about_no_more() -> None:
    one = a_request()
    assert has_strangers([], [a_view(one)])
    assert not has_strangers([one], [a_view(one)])
    assert not has_strangers([], [a_view(one, O.APPROVED)])
    assert plan([], [a_view(one)], is_over=False, now=T0).statuses[0][1].outcome is None
    wanted = plan([], [a_view(one)], is_over=False, now=T0, is_fresh=True)
    assert [status.outcome for _, status in wanted.statuses] == [O.WITHDRAWN]
