"""The order of a namespace's queue, and the room that quotas leave."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.reasons import Reason
from agentsessions.api.spending import Spent
from agentsessions.api.v1alpha1.quota import SessionQuotaSpec
from agentsessions.lifecycle.queueing import Ahead, Line, Waiter
from agentsessions.lifecycle.quotas import PLENTY, Bound, Load, Quota, Room, find_bound, find_hold, measure_room
from tests.builders import T0

pytestmark = pytest.mark.requirement("LIM-4")


def a_waiter(name: str, *, owner: str = "", priority: int = 0, age: int = 0, is_first_start: bool = True) -> Waiter:
    return Waiter(name, name, owner, priority, T0 - timedelta(seconds=age), is_first_start)


def a_line(*waiters: Waiter) -> Line:
    line = Line()
    for waiter in waiters:
        line.put(waiter)
    return line


def order_of(line: Line, **active: int) -> list[str]:
    return [waiter.name for waiter in line.in_order(active)]


def served_one_by_one(waiters: list[Waiter], active: dict[str, int]) -> list[str]:
    """What the order means: of the highest priority there is, the owner with the fewest places gets the next one."""
    left, places, order = list(waiters), Counter(active), []
    while left:
        top = max(waiter.priority for waiter in left)
        nexts = [waiter for waiter in left if waiter.priority == top]
        chosen = min(nexts, key=lambda waiter: (places[waiter.owner], waiter.created_at, waiter.name))
        oldest = min((w for w in nexts if w.owner == chosen.owner), key=lambda w: (w.created_at, w.name))
        left.remove(oldest)
        places[oldest.owner] += 1
        order.append(oldest.name)
    return order


@pytest.mark.parametrize(
    ("waiters", "active", "want"),
    [
        pytest.param([a_waiter("b", age=1), a_waiter("a", age=2)], {}, ["a", "b"], id="the older one goes first"),
        pytest.param([a_waiter("b"), a_waiter("a")], {}, ["a", "b"], id="of two equally old ones the name decides"),
        pytest.param(
            [a_waiter("old", age=9), a_waiter("urgent", priority=5)], {}, ["urgent", "old"], id="priority beats age"
        ),
        pytest.param(
            [a_waiter("x1", owner="x", age=9), a_waiter("y1", owner="y")],
            {"x": 2, "y": 1},
            ["y1", "x1"],
            id="the owner with fewer places goes first",
        ),
        pytest.param(
            [*(a_waiter(f"x{n}", owner="x", age=9 - n) for n in range(3)), a_waiter("y0", owner="y")],
            {},
            ["x0", "y0", "x1", "x2"],
            id="a place that is given counts for the next one",
        ),
        pytest.param(
            [a_waiter("n0", age=9), a_waiter("n1", age=8), a_waiter("y0", owner="y")],
            {},
            ["n0", "y0", "n1"],
            id="sessions without owner count for one owner",
        ),
        pytest.param(
            [a_waiter("x1", owner="x", priority=1), a_waiter("y0", owner="y")],
            {"x": 50},
            ["x1", "y0"],
            id="priority beats fairness",
        ),
    ],
)
def test_line_serves_by_priority_fairness_age_and_name(
    waiters: list[Waiter], active: dict[str, int], want: list[str]
) -> None:
    assert order_of(a_line(*waiters), **active) == want


WAITERS = st.lists(
    st.builds(
        a_waiter,
        st.uuids().map(str),
        owner=st.sampled_from(["", "x", "y", "z"]),
        priority=st.integers(-1, 1),
        age=st.integers(0, 3),
        is_first_start=st.booleans(),
    ),
    max_size=12,
)


@given(WAITERS, st.dictionaries(st.sampled_from(["", "x", "y"]), st.integers(0, 3)))
def test_line_in_order_is_what_serving_one_by_one_gives(waiters: list[Waiter], active: dict[str, int]) -> None:
    line = a_line(*waiters)
    order = order_of(line, **active)
    assert order == served_one_by_one(waiters, active)
    for place, name in enumerate(order):
        first_starts = sum(waiter.is_first_start for waiter in waiters if waiter.name in order[:place])
        assert line.ahead_of(name, active) == Ahead(place, first_starts)


@given(WAITERS, st.data())
def test_line_forgets_who_leaves_and_follows_who_changes(waiters: list[Waiter], data: st.DataObject) -> None:
    line = a_line(*waiters)
    gone = {waiter.name for waiter in waiters if data.draw(st.booleans())}
    for name in gone:
        assert line.remove(name)
        assert not line.remove(name)
    kept = [a_waiter(w.name, owner=w.owner, priority=-w.priority) for w in waiters if w.name not in gone]
    for waiter in kept:
        line.put(waiter)
        assert not line.put(waiter)
    assert order_of(line) == served_one_by_one(kept, {})
    assert len(line) == len(kept)


def a_quota(name: str = "small", **spec: Any) -> Quota:
    return Quota(name, SessionQuotaSpec(**spec))


def a_load(active: int = 0, started: int = 0, spent: Spent | None = None) -> Load:
    return Load(active, started, spent)


SPENT = Spent(tokens=1000, cost_micro_usd=500)


@pytest.mark.parametrize(
    ("quotas", "load", "places", "reason", "words"),
    [
        pytest.param([], a_load(40), 60, Reason.QUOTA_EXCEEDED, "100 sessions", id="without quota the default holds"),
        pytest.param(
            [a_quota(max_tokens_per_day=2000)], a_load(40, spent=SPENT), 60, Reason.QUOTA_EXCEEDED, "100 sessions",
            id="a quota that does not say how many leaves the default",
        ),
        pytest.param(
            [a_quota(max_concurrent_sessions=500)], a_load(140), 360, Reason.QUOTA_EXCEEDED, "500 session(s)",
            id="a quota that says more is more",
        ),
        pytest.param(
            [a_quota("a", max_concurrent_sessions=9), a_quota("b", max_concurrent_sessions=3)], a_load(2), 1,
            Reason.QUOTA_EXCEEDED, "SessionQuota b lets 3", id="of several the tightest counts",
        ),
        pytest.param(
            [a_quota(max_concurrent_sessions=3)], a_load(5), 0, Reason.QUOTA_EXCEEDED, "raise its spec.",
            id="a lowered quota leaves no room and ends nobody",
        ),
        pytest.param(
            [a_quota(max_tokens_per_day=1000)], a_load(spent=SPENT), 0, Reason.QUOTA_EXCEEDED, "00:00 UTC",
            id="tokens of the day are used up",
        ),
        pytest.param(
            [a_quota(max_cost_micro_usd_per_day=500)], a_load(spent=SPENT), 0, Reason.QUOTA_EXCEEDED,
            "maxCostMicroUSDPerDay", id="cost of the day is reached",
        ),
        pytest.param(
            [a_quota(max_cost_micro_usd_per_day=501)], a_load(spent=SPENT), 100, Reason.QUOTA_EXCEEDED, "",
            id="one micro-USD is left",
        ),
        pytest.param(
            [a_quota(max_tokens_per_day=10**9)], a_load(), 0, Reason.USAGE_UNKNOWN, "cannot be reached",
            id="a limit on tokens with unknown usage lets nobody in",
        ),
        pytest.param(
            [a_quota(max_concurrent_sessions=3)], a_load(), 3, Reason.QUOTA_EXCEEDED, "",
            id="a limit on places needs no usage",
        ),
        pytest.param(
            [a_quota(hold=True, hold_reason="bad day")], a_load(), 0, Reason.NAMESPACE_HELD, "bad day",
            id="a hold lets nobody in",
        ),
        pytest.param(
            [Quota("new", None, "maxMoons: unknown")], a_load(), 0, Reason.QUOTA_EXCEEDED, "maxMoons",
            id="a quota that cannot be read lets nobody in",
        ),
    ],
)  # fmt: skip
def test_measure_room_says_how_many_and_why_no_more(
    quotas: list[Quota], load: Load, places: int, reason: Reason, words: str
) -> None:
    slots = measure_room(quotas, load, default_concurrent=100).slots
    assert (slots.places, slots.reason) == (places, reason)
    assert words in slots.message


@pytest.mark.parametrize(("started", "places"), [(0, 5), (4, 1), (9, 0)])
def test_measure_room_counts_first_starts_of_the_last_minute(started: int, places: int) -> None:
    room = measure_room([a_quota(max_starts_per_minute=5)], a_load(started=started), default_concurrent=100)
    assert (room.starts.places, room.slots.places) == (places, 100)


def a_room(slots: int, starts: int = PLENTY) -> Room:
    return Room(Bound(slots, Reason.QUOTA_EXCEEDED, "slots"), Bound(starts, Reason.QUOTA_EXCEEDED, "starts"))


@pytest.mark.parametrize(
    ("room", "ahead", "is_first_start", "want"),
    [
        pytest.param(a_room(1), Ahead(0, 0), True, None, id="the first gets the one place"),
        pytest.param(a_room(1), Ahead(1, 1), True, "slots", id="the second waits, as the place is the first one's"),
        pytest.param(a_room(0), Ahead(0, 0), True, "slots", id="no place, no start"),
        pytest.param(a_room(9, 0), Ahead(0, 0), True, "starts", id="first starts are used up"),
        pytest.param(a_room(9, 2), Ahead(2, 2), True, "starts", id="those before take the first starts that are left"),
        pytest.param(a_room(1, 0), Ahead(5, 5), False, None, id="who waits for the minute keeps no one who returns"),
        pytest.param(a_room(2, 1), Ahead(5, 4), False, "slots", id="those before that may start take the places"),
    ],
)
def test_find_bound_lets_in_who_has_a_place(room: Room, ahead: Ahead, is_first_start: bool, want: str | None) -> None:
    found = find_bound(room, ahead, is_first_start=is_first_start)
    assert (found.message if found else None) == want


def test_find_hold_names_quota_reason_and_remedy() -> None:
    assert find_hold([a_quota("b", hold=True, hold_reason="bad day"), a_quota("a", hold=False)]) == (
        "SessionQuota b holds this namespace: bad day; set its spec.hold to false to go on"
    )
    assert find_hold([a_quota(hold=True)]) == (
        "SessionQuota small holds this namespace; set its spec.hold to false to go on"
    )
    assert find_hold([a_quota(max_concurrent_sessions=1)]) == ""
