"""What a director may give to a session that it starts, and how that session's life follows the director's."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentsessions.api.child_sessions import ChildSessionsLevel
from agentsessions.api.reasons import Phase, Reason, StopReason
from agentsessions.api.v1alpha1.life import Limits
from agentsessions.api.v1alpha1.status import ChildSessionsUsage, EffectiveLimits
from agentsessions.lifecycle.child_sessions import Amounts, Budget, grant, kept_for
from agentsessions.lifecycle.decide import decide
from agentsessions.lifecycle.facts import Facts
from agentsessions.lifecycle.ties import DirectorState, Member, judge_director
from tests.builders import T0, SessionBuilder, a_session
from tests.unit.lifecycle.test_ties import member, message_of

LIMITS = EffectiveLimits(max_steps=21, max_tokens=100_000, max_tool_calls=100, recursion_limit=5, timeout_seconds=120)
BUDGET = Budget(LIMITS, Amounts(max_steps=1, max_tokens=1_000), Amounts(), started=0, most=4, depth=2)


def granted(asked: Limits, **changes: Any) -> Limits:
    found = grant(asked, replace(BUDGET, **changes))
    assert isinstance(found, Limits), found
    return found


def test_child_gets_what_is_asked_for() -> None:
    asked = Limits(max_steps=19, max_tokens=98_000, max_tool_calls=100, timeout_seconds=60)
    assert granted(asked) == asked.model_copy(update={"recursion_limit": 4})


def test_what_is_not_asked_for_is_an_equal_share_of_what_is_left() -> None:
    first = granted(Limits())
    assert (first.max_steps, first.max_tokens, first.max_tool_calls) == (3, 19_600, 20)
    last = granted(Limits(), started=3, kept=Amounts(9, 60_000, 60))
    assert (last.max_steps, last.max_tokens, last.max_tool_calls) == (5, 19_000, 20)
    assert (last.timeout_seconds, last.max_cost_micro_usd) == (120, None)


@pytest.mark.requirement("LIM-1")
@pytest.mark.parametrize(
    ("asked", "changes", "words"),
    [
        pytest.param({"max_steps": 20}, {}, "19 can be given", id="the director keeps a step to hear of it"),
        pytest.param({"max_tokens": 98_001}, {}, "98000 can be given", id="and as many tokens as it used so far"),
        pytest.param({"max_steps": 10}, {"kept": Amounts(12)}, "set 12 aside", id="what others may use is not its"),
        pytest.param({}, {"kept": Amounts(19)}, "of maxSteps 21", id="nothing is left to share"),
        pytest.param({"timeout_seconds": 121}, {}, "more than the 120", id="no more time than the director has"),
        pytest.param({"max_steps": 1}, {"started": 4}, "all 4 child sessions", id="all that it may start were started"),
    ],
)
def test_grant_refuses_what_is_not_the_directors_to_give(
    asked: dict[str, int], changes: dict[str, Any], words: str
) -> None:
    found = grant(Limits(**asked), replace(BUDGET, **changes))
    assert isinstance(found, str)
    assert words in found


def test_where_the_director_has_no_limit_the_child_has_what_is_asked_for() -> None:
    free = replace(BUDGET, limits=EffectiveLimits())
    assert grant(Limits(max_cost_micro_usd=7), free) == Limits(max_cost_micro_usd=7)


def test_calls_of_a_child_nest_below_the_call_that_started_it() -> None:
    assert [granted(Limits(), depth=depth).recursion_limit for depth in (2, 3, 5)] == [4, 3, 1]


def test_all_children_together_never_get_more_than_the_director_has() -> None:
    kept, used, steps = Amounts(), Amounts(max_steps=1, max_tokens=500), list[int]()
    for started in range(BUDGET.most):
        one = granted(Limits(), kept=kept, used=used, started=started)
        kept += kept_for(one, Amounts(), is_over=False)
        steps.append(one.max_steps or 0)
    assert min(steps) >= 1
    assert kept.max_steps + used.max_steps < 21
    assert kept.max_tokens + 2 * used.max_tokens <= 100_000


@pytest.mark.parametrize(
    ("used", "is_over", "kept"),
    [
        pytest.param(10, False, 50, id="while it works all that it may use is kept"),
        pytest.param(60, False, 60, id="one answer beyond it counts"),
        pytest.param(10, True, 10, id="once it is over what it used stays used"),
    ],
)
def test_kept_for_a_child(used: int, is_over: bool, kept: int) -> None:  # a parameter of the table
    found = kept_for(Limits(max_tokens=50), Amounts(max_tokens=used), is_over=is_over)
    assert found.max_tokens == kept


# --- how its life follows the director's
CHILD = {"goal": "x", "directorRef": {"name": "boss"}}


def boss(phase: Phase | None = Phase.RUNNING, uid: str = "u-boss", **spec: Any) -> Member:
    return replace(member("boss", phase, role="Director", **spec), uid=uid)


@pytest.mark.requirement("LIFE-7")
@pytest.mark.parametrize(
    ("director", "state"),
    [
        pytest.param(boss(), DirectorState.LIVE, id="it works"),
        pytest.param(boss(Phase.PAUSED), DirectorState.LIVE, id="a limit of the director's stops the director alone"),
        pytest.param(boss(operatingMode="Paused"), DirectorState.PAUSED, id="people paused the director"),
        pytest.param(boss(operatingMode="Cancelled"), DirectorState.CANCELLED, id="the director is cancelled"),
        pytest.param(boss(Phase.COMPLETED), DirectorState.CANCELLED, id="the director is done"),
        pytest.param(boss(Phase.FAILED), DirectorState.CANCELLED, id="the director failed"),
        pytest.param(None, DirectorState.CANCELLED, id="the director is gone"),
        pytest.param(boss(uid="another"), DirectorState.CANCELLED, id="another one has its name now"),
    ],
)
def test_child_follows_its_director(director: Member | None, state: DirectorState) -> None:
    assert judge_director(director, Phase.RUNNING, "u-boss") is state


def a_child() -> SessionBuilder:
    return a_session().with_spec(**CHILD)


def as_child(facts: Facts) -> Facts:
    return replace(facts, session=replace(facts.session, parent_uid="u-boss"))


def test_child_pauses_with_its_director_and_goes_on_with_it() -> None:
    paused = decide(a_child().running().tied(director=DirectorState.PAUSED).facts(), T0)
    assert paused.status.phase is Phase.PAUSING
    still = decide(a_child().paused().tied(director=DirectorState.PAUSED).facts(), T0)
    assert still.status.phase is Phase.PAUSED
    assert "paused with its director boss" in message_of(still)
    again = decide(a_child().paused().tied(director=DirectorState.LIVE).facts(), T0)
    assert again.status.phase is Phase.STARTING


@pytest.mark.requirement("LIFE-7")
def test_child_is_cancelled_with_its_director() -> None:
    ends = decide(a_child().running().tied(director=DirectorState.CANCELLED).facts(), T0)
    assert ends.status.phase is Phase.CANCELLING
    assert message_of(ends).endswith("(with its director boss)")


def test_child_that_cannot_be_accepted_fails_so_that_its_director_hears_of_it() -> None:
    refused = a_child().not_accepted(Reason.TEMPLATE_NOT_FOUND, "no such template")
    failed = decide(as_child(refused.facts()), T0)
    assert (failed.status.phase, failed.status.stop_reason) == (Phase.FAILED, StopReason.START_FAILED)
    assert failed.status.error is not None
    assert failed.status.error.message == "no such template"
    assert decide(refused.facts(), T0).status.phase is Phase.PENDING, "people mend what is theirs"
    early = decide(as_child(refused.just_created().facts()), T0)
    assert early.status.phase in {None, Phase.PENDING}, "what it names may come a moment later"


def test_child_waits_for_a_journal_that_is_away() -> None:
    refused = a_child().not_accepted(Reason.AWAITING_JOURNAL, "the gateway does not answer")
    assert decide(as_child(refused.facts()), T0).status.phase is Phase.PENDING


@pytest.mark.requirement("LIM-3")
def test_status_tells_what_children_spent_and_what_is_left_beside_them() -> None:
    children = ChildSessionsLevel(
        started=2, steps=3, input_tokens=40, output_tokens=2, kept_steps=5, kept_tokens=1_000, kept_tool_calls=20
    )
    starts = a_session().with_spec(role="Director").in_phase(Phase.STARTING).with_row().with_pod(phase="Running")
    moved = decide(starts.with_journal(steps=1, input_tokens=8, child_sessions=children).facts(), T0)
    usage, remaining = moved.status.usage, moved.status.remaining
    assert usage is not None
    assert remaining is not None
    assert usage.child_sessions == ChildSessionsUsage(started=2, steps=3, total_tokens=42)
    assert (remaining.steps, remaining.tokens, remaining.tool_calls) == (10 - 1 - 5, 200_000 - 8 - 1_000, 80)


def test_what_is_left_stays_as_told_while_the_journal_is_not_known() -> None:
    children = ChildSessionsLevel(started=1, kept_tokens=500)
    director = a_session().with_spec(role="Director").in_phase(Phase.STARTING).with_row().with_pod(phase="Running")
    told = decide(director.with_journal(child_sessions=children).facts(), T0).status
    without = replace(director.facts(), journal=replace(director.journal, level=None))
    later = decide(replace(without, session=replace(without.session, status=told)), T0 + timedelta(seconds=1))
    assert later.status.remaining == told.remaining
