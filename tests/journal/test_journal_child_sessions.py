"""Sessions that a director's agents start: asked for once, paid out of its limits, and one last word on each."""

from collections.abc import Callable
from typing import Any

import pytest

from agentsessions.api.child_sessions import ChildReport, ChildSessionsLevel
from agentsessions.api.reasons import LimitName, Phase, StopReason
from agentsessions.api.v1alpha1.life import Limits
from agentsessions.api.v1alpha1.role import ChildSessions
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.api.wire import Outcome
from agentsessions.journal import child_sessions, mailbox
from agentsessions.journal.child_sessions import Started, Wish
from agentsessions.journal.refusals import LimitReached, StaleEpoch
from agentsessions.journal.rows import Course, MailKind, SessionRow
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Player, a_player, a_session, an_answer
from tests.journal.test_journal_mailbox import mail_to

DIRECTS = Course(delegates=True)
LIMITS = EffectiveLimits(max_steps=10, max_tokens=10_000, max_tool_calls=10, recursion_limit=3)
ALLOWED = ChildSessions(max=2)


async def a_director(store: Store) -> Player:
    director = await a_player(store, "boss", role="Director", limits=LIMITS)
    await store.pin_turn(director.pod, DIRECTS)
    return director


async def start(director: Player, call: str = "c1", *, goal: str = "count", **limits: int) -> Started | str:
    wish = Wish(call, Limits(**limits), goal)
    return await director.store.write(lambda work: child_sessions.start(work, director.pod, wish, ALLOWED))


async def started(director: Player, call: str = "c1", **limits: int) -> Started:
    found = await start(director, call, **limits)
    assert isinstance(found, Started), found
    return found


async def report(store: Store, request: Started, **what: str) -> bool:
    said = ChildReport(**what)
    return await store.write(lambda work: child_sessions.note(work, "boss", request.id, said))


async def children_of(director: Player) -> ChildSessionsLevel:
    found = (await director.level()).child_sessions
    assert found is not None
    return found


def a_child(request: Started, uid: str = "", **changes: Any) -> SessionRow:
    spec = {"directorRef": {"name": "boss"}}
    return a_session(uid or f"u-{request.name}", name=request.name, spec=spec, **changes)


async def a_made_child(store: Store, director: Player, call: str = "c1", **limits: int) -> Player:
    """A child that the operator made, and that answered nothing yet."""
    request = await started(director, call, **limits)
    child = a_child(request)
    assert await report(store, request, child_uid=child.uid)
    await store.put_session(child)
    return await a_player(store, child.uid)


async def finish(child: Player, phase: Phase, **changes: Any) -> None:
    row = await child.store.get_session_by_uid(child.pod.session_uid)
    assert row is not None
    await child.store.put_session(a_session(row.uid, name=row.name, spec=row.spec, phase=phase, **changes))


async def test_same_call_is_one_request(store: Store) -> None:
    director = await a_director(store)
    first = await started(director, max_tokens=5_000)
    assert await start(director, max_tokens=5_000) == first
    (asked,) = (await children_of(director)).pending
    assert (asked.id, asked.name, asked.goal, asked.child_uid) == (first.id, first.name, "count", None)
    assert first.name.startswith("boss-")
    assert await start(director, "c2") != first


async def test_request_of_a_pod_that_was_replaced_is_refused(store: Store) -> None:
    director = await a_director(store)
    await a_player(store, "boss", epoch=2)
    with pytest.raises(StaleEpoch):
        await start(director)


@pytest.mark.requirement("LIM-1")
async def test_what_children_may_use_is_no_longer_the_directors(store: Store) -> None:
    director = await a_director(store)
    await started(director, max_tokens=9_000, max_steps=3)
    kept = await children_of(director)
    assert (kept.started, kept.kept_tokens, kept.kept_steps) == (1, 9_000, 3)
    refused = await start(director, "c2", max_tokens=1_001)
    assert isinstance(refused, str)
    assert "9000 aside for child sessions; 1000 can be given" in refused
    denied = await director.reserve(request_bytes=4_000)
    assert isinstance(denied, LimitReached)
    assert denied.limit is LimitName.TOKENS


@pytest.mark.requirement("LIM-1")
async def test_number_of_children_is_bounded_and_those_never_made_do_not_count(store: Store) -> None:
    director = await a_director(store)
    first = await started(director, "c1", max_steps=1)
    await started(director, "c2", max_steps=1)
    refused = await start(director, "c3", max_steps=1)
    assert isinstance(refused, str)
    assert "all 2 child sessions" in refused
    await report(store, first, problem="the namespace is full")
    assert isinstance(await start(director, "c3", max_steps=1), Started)


@pytest.mark.requirement("LIM-3")
async def test_usage_of_children_counts_to_the_director_and_what_they_left_comes_back(store: Store) -> None:
    director = await a_director(store)
    child = await a_made_child(store, director, max_tokens=5_000, max_steps=5)
    turn = await store.pin_turn(child.pod, Course())
    await child.ask(an_answer("42"))
    before = await children_of(director)
    assert (before.steps, before.input_tokens, before.output_tokens, before.kept_tokens) == (1, 100, 10, 5_000)
    await child.commit(turn.k, Outcome.FINAL)
    await finish(child, Phase.COMPLETED)
    after = await children_of(director)
    assert (after.steps, after.kept_steps, after.kept_tokens, after.pending) == (1, 1, 110, ())
    assert (await director.level()).steps == 0, "the director's own usage is its own"


@pytest.mark.requirement("AG-4")
async def test_answer_of_a_child_wakes_its_director_once(store: Store) -> None:
    director = await a_director(store)
    child = await a_made_child(store, director)
    assert (await director.level()).open_commands == 1
    turn = await store.pin_turn(child.pod, Course())
    await child.ask(an_answer("42"))
    await child.commit(turn.k, Outcome.FINAL)
    assert await mail_to(store, "boss") == [], "its end is told once it is over"
    for _ in range(2):
        await finish(child, Phase.COMPLETED)
    (told,) = await mail_to(store, "boss")
    assert (told.kind, told.content, told.is_held) == (MailKind.PROGRESS_REPORT, "42", None)
    assert told.sender == child.pod.name
    assert (await director.level()).open_commands == 0


@pytest.mark.requirement("AG-4")
@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        pytest.param(Phase.FAILED, StopReason.TOKEN_LIMIT, id="a child that failed"),
        pytest.param(Phase.CANCELLED, StopReason.USER_CANCELLED, id="a child that was cancelled"),
        pytest.param(Phase.EXPIRED, StopReason.INACTIVE, id="a child that expired"),
    ],
)
async def test_child_that_did_not_reach_its_goal_is_an_error_to_its_director(
    store: Store, phase: Phase, reason: StopReason
) -> None:
    director = await a_director(store)
    child = await a_made_child(store, director)
    await finish(child, phase, stop_reason=reason, message="because")
    (told,) = await mail_to(store, "boss")
    assert told.kind == MailKind.ERROR
    assert f"is {phase} ({reason}): because. It did not reach its goal." in told.content


async def test_child_that_was_deleted_is_an_error_to_its_director(store: Store) -> None:
    director = await a_director(store)
    child = await a_made_child(store, director)
    await store.mark_deleted(child.pod.session_uid, T0)
    (told,) = await mail_to(store, "boss")
    assert told.kind == MailKind.ERROR


async def test_child_that_was_over_before_the_journal_was_told_of_it_is_heard_of(store: Store) -> None:
    director = await a_director(store)
    request = await started(director)
    child = a_child(request, phase=Phase.FAILED)
    await store.put_session(child)
    assert await mail_to(store, "boss") == [], "a name proves nothing"
    for _ in range(2):  # an operator that did not hear the answer says it again
        assert await report(store, request, child_uid=child.uid)
    (told,) = await mail_to(store, "boss")
    assert told.kind == MailKind.ERROR


async def test_session_that_cannot_be_made_is_an_error_to_the_director_once(store: Store) -> None:
    director = await a_director(store)
    request = await started(director)
    for _ in range(2):
        assert await report(store, request, problem="no room")
    (told,) = await mail_to(store, "boss")
    assert (told.kind, told.correlation_id) == (MailKind.ERROR, request.id)
    assert told.content == f"Session {request.name} is not there: no room"
    kept = await children_of(director)
    assert (kept.started, kept.kept_steps, kept.pending) == (0, 0, ())


async def test_operator_is_told_of_an_unknown_request(store: Store) -> None:
    await a_director(store)
    assert not await report(store, Started("none", "none", Limits()), problem="x")


async def test_made_child_is_never_asked_for_again(store: Store) -> None:
    director = await a_director(store)
    request = await started(director)
    await report(store, request, child_uid="u1")
    (unseen,) = (await children_of(director)).pending
    assert (unseen.child_uid, unseen.goal) == ("u1", None), "the copy of what was asked is gone"
    await report(store, request, child_uid="u2")
    (still,) = (await children_of(director)).pending
    assert still.child_uid == "u1"
    await store.put_session(a_child(request, uid="u1"))
    assert (await children_of(director)).pending == ()


@pytest.mark.requirement("AG-4")
async def test_director_with_a_child_under_way_waits_and_reads_all_answers_together(store: Store) -> None:
    director = await a_director(store)
    children = [await a_made_child(store, director, call, max_steps=2) for call in ("c1", "c2")]
    await director.ask(an_answer("I wait."))
    await director.commit(1, Outcome.FINAL, DIRECTS)
    for number, child in enumerate(children):
        assert (await director.level()).inbox_pending == 0
        await child.answer(f"answer {number}", Course())
        await finish(child, Phase.COMPLETED)
    assert (await director.level()).inbox_pending == 1
    turn = await store.pin_turn(director.pod, DIRECTS)
    said = [str(item["content"]) for item in await store.history(turn) if item.get("role") == "user"]
    assert [text.partition("]\n")[2] for text in said[-2:]] == ["answer 0", "answer 1"]
    await director.ask(an_answer("All done."), "d2")
    await director.commit(turn.k, Outcome.FINAL, DIRECTS)
    assert "final" in {one.outcome for one in [(await director.level()).closing] if one is not None}


@pytest.mark.requirement("AG-4")
async def test_child_reports_progress_to_its_director(store: Store) -> None:
    director = await a_director(store)
    child = await a_made_child(store, director)
    await store.pin_turn(child.pod, Course())
    tell: Callable[[Any], list[str]] = lambda work: mailbox.send_report(work, child.pod, "c9", "half way")  # noqa: E731
    for _ in range(2):
        assert await store.write(tell) == ["boss"]
    (told,) = await mail_to(store, "boss")
    assert (told.content, told.is_held) == ("half way", True)
