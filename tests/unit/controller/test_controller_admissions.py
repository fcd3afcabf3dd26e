"""The ledger of places: never more than there are, whatever the order of news, and nobody is forgotten."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from agentsessions.api.reasons import Reason
from agentsessions.api.spending import Spent
from agentsessions.controller.admissions import Admissions
from agentsessions.controller.store import Quotas, Sessions
from agentsessions.lifecycle.facts import Admission, PodView
from tests.builders import T0

pytestmark = pytest.mark.requirement("LIM-4")


@dataclass
class World:
    """Stores that a test fills, and the ledger over them."""

    now: datetime = T0
    spent: Spent | None = None
    version: int = 0
    sessions: Sessions = field(default_factory=Sessions)
    quotas: Quotas = field(default_factory=Quotas)
    pods: dict[str, tuple[PodView, ...]] = field(default_factory=dict)
    woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin with a new ledger, as a new process does: all it has are objects."""
        self.ledger = Admissions(
            self.sessions,
            self,
            self.quotas,
            spent=lambda _namespace: self.spent,
            default_concurrent=100,
            clock=lambda: self.now,
        )
        self.ledger.wake = self.woken.append
        for key in dict(self.sessions.items()):
            self.ledger.note_session(key)

    def of(self, session_uid: str) -> tuple[PodView, ...]:
        """Stand in for the informer's pods."""
        return self.pods.get(session_uid, ())

    def put(self, name: str, phase: str | None = None, *, age: int = 0, **more: Any) -> None:
        """Let the stream bring a session."""
        self.version += 1
        status: dict[str, Any] = {"phase": phase, "phaseStartedAt": "2026-11-21T11:00:00Z"} if phase else {}
        for name_of_field in ("stopReason", "startedAt", "agents"):
            if name_of_field in more:
                status[name_of_field] = more.pop(name_of_field)
        raw = {
            "metadata": {
                "name": name,
                "namespace": "team",
                "uid": name,
                "generation": 1,
                "resourceVersion": str(self.version),
                "creationTimestamp": (T0 - timedelta(seconds=age)).isoformat(),
            },
            "spec": {"goal": "count", **more},
            "status": status,
        }
        self.sessions.put(raw)
        self.ledger.note_session(f"team/{name}")

    def put_pod(self, name: str, phase: str = "Running") -> None:
        """Let the informer bring the pod of a session."""
        pod = PodView("team", f"{name}-1", f"{name}-pod", name, "agent", 1, "1", self.now, phase)
        self.pods[name] = (pod,)
        self.ledger.note(name)

    def drop(self, name: str) -> None:
        """Let the stream say that a session is gone."""
        self.sessions.remove(f"team/{name}")
        self.ledger.note_session(f"team/{name}")

    def put_quota(self, **spec: Any) -> None:
        self.version += 1
        meta = {"name": "small", "namespace": "team", "uid": "q", "resourceVersion": str(self.version)}
        self.quotas.put({"metadata": meta, "spec": spec})
        self.ledger.note_quotas("team")

    def ask(self, name: str) -> Admission:
        record = self.sessions.get(f"team/{name}")
        assert record is not None
        return self.ledger.ask(record.view)

    def start(self, name: str) -> bool:
        """Play a pass that asks, and writes what comes of it; tell whether the session started."""
        record = self.sessions.get(f"team/{name}")
        assert record is not None
        age = int((T0 - record.view.created_at).total_seconds())
        with self.ledger.during(name):
            is_admitted = self.ask(name).is_admitted
            if is_admitted:
                self.ledger.use(name)
            self.put(name, "Starting" if is_admitted else "Queued", age=age)
        return is_admitted

    def fail(self, name: str, *, has_asked_for_pod: bool) -> None:
        """Play a pass that is let in, and then fails."""

        def play() -> None:
            with self.ledger.during(name):
                assert self.ask(name).is_admitted
                if has_asked_for_pod:
                    self.ledger.use(name)
                raise OSError("no answer")

        with pytest.raises(OSError, match="no answer"):
            play()

    def active(self) -> int:
        return self.ledger.usage_of("team", shown=10).active


@pytest.fixture
def world() -> World:
    world = World()
    world.put_quota(maxConcurrentSessions=2)
    return world


def test_ask_gives_no_more_places_than_there_are(world: World) -> None:
    for name in "abcd":
        world.put(name)
    assert [world.ask(name).is_admitted for name in "abcd"] == [True, True, False, False]
    refused = world.ask("d")
    assert refused.reason is Reason.QUOTA_EXCEEDED
    assert refused.message.startswith("place 2 in the queue: SessionQuota small lets 2 session(s) run")


def test_a_place_that_gets_free_wakes_the_next_and_nobody_else(world: World) -> None:
    for number, name in enumerate("abcde"):
        world.put(name, age=10 - number)
        world.start(name)
    world.woken.clear()
    world.put("a", "Completed")
    assert world.woken == ["team/c"]
    assert not world.start("d")
    assert world.start("c")
    world.woken.clear()
    world.drop("b")
    assert world.woken == ["team/d"]


def test_a_finished_session_keeps_its_place_as_long_as_its_pod_runs(world: World) -> None:
    for name in "abc":
        world.put(name)
        world.start(name)
    world.put_pod("a")
    world.woken.clear()
    world.put("a", "Completed")
    assert world.woken == []
    world.put_pod("a", "Succeeded")
    assert world.woken == ["team/c"]


def test_a_pod_of_a_session_that_is_gone_counts(world: World) -> None:
    world.put("a")
    world.start("a")
    world.put_pod("a")
    world.drop("a")
    assert world.active() == 1
    del world.pods["a"]
    world.ledger.note("a")
    assert world.active() == 0


def test_a_pod_without_a_row_counts_after_a_restart(world: World) -> None:
    world.put("a", "Queued")
    world.put_pod("a", "Pending")  # the operator died between the pod and the status
    world.put("b", "Running")
    world.put("c", "Queued")
    world.restart()
    assert world.active() == 2
    assert not world.ask("c").is_admitted
    assert world.ask("a").is_admitted


def test_the_order_of_a_restart_does_not_matter(world: World) -> None:
    world.put("late", "Queued", age=1)
    world.put("early", "Queued", age=9)
    world.put("runs", "Running")
    world.restart()
    assert not world.ask("late").is_admitted
    assert world.ask("early").is_admitted


def test_a_pass_that_failed_before_it_asked_for_a_pod_gives_its_place_back(world: World) -> None:
    for name in "abc":
        world.put(name)
    world.start("a")
    world.fail("b", has_asked_for_pod=False)
    assert world.active() == 1
    assert world.start("c")


def test_a_pass_that_failed_after_it_asked_for_a_pod_keeps_its_place(world: World) -> None:
    for name in "abc":
        world.put(name)
    world.start("a")
    world.fail("b", has_asked_for_pod=True)
    assert not world.start("c")
    assert world.start("b")
    assert world.active() == 2


def test_a_failed_pass_keeps_its_place_no_longer_than_its_session(world: World) -> None:
    world.put("a")
    world.fail("a", has_asked_for_pod=True)
    assert world.active() == 1
    world.drop("a")
    assert world.active() == 0


def test_who_does_not_take_the_place_keeps_nobody_waiting(world: World) -> None:
    for number, name in enumerate("abcd"):
        world.put(name, age=10 - number)
        world.start(name)
    world.put("a", "Completed")
    world.woken.clear()
    with world.ledger.during("c"):
        pass  # c could have a place, and does not ask
    assert world.woken == ["team/d"]
    assert world.start("d")
    world.put("b", "Completed")
    assert world.start("c")


def test_a_session_that_people_paused_leaves_the_line(world: World) -> None:
    for number, name in enumerate("abcd"):
        world.put(name, age=10 - number)
        world.start(name)
    world.put("c", "Queued", age=8, operatingMode="Paused")
    world.woken.clear()
    world.put("a", "Completed")
    assert world.woken == ["team/d"]


def test_a_raised_quota_wakes_all_that_wait_in_order(world: World) -> None:
    for number, name in enumerate("abcd"):
        world.put(name, age=number)
        world.start(name)
    world.woken.clear()
    world.put_quota(maxConcurrentSessions=3)
    assert world.woken == ["team/d", "team/c"]
    assert world.start("d")
    assert not world.start("c")


def test_a_lowered_quota_lets_nobody_in_until_enough_have_left(world: World) -> None:
    for name in "abc":
        world.put(name)
        world.start(name)
    world.put_quota(maxConcurrentSessions=1)
    world.woken.clear()
    world.put("a", "Completed")
    assert world.woken == []
    world.put("b", "Completed")
    assert world.woken == ["team/c"]


def test_a_status_of_a_quota_wakes_nobody(world: World) -> None:
    world.put("a", "Queued")
    world.woken.clear()
    world.put_quota(maxConcurrentSessions=2)
    assert world.woken == []


@pytest.mark.requirement("LIFE-7")
def test_a_hold_wakes_every_open_session_both_ways(world: World) -> None:
    for name in "abc":
        world.put(name)
        world.start(name)
    world.put("idle", "Idle")
    world.put("over", "Completed")
    world.woken.clear()
    world.put_quota(maxConcurrentSessions=2, hold=True, holdReason="bad day")
    assert set(world.woken) == {"team/a", "team/b", "team/c", "team/idle"}
    assert world.ledger.hold_of("team").startswith("SessionQuota small holds this namespace: bad day")
    assert world.ask("idle").reason is Reason.NAMESPACE_HELD
    for name in "ab":
        world.put(name, "Paused", stopReason="Emergency", age=5)
    assert world.ledger.usage_of("team", shown=10).queued == 4
    world.woken.clear()
    world.put_quota(maxConcurrentSessions=2)
    assert set(world.woken) == {"team/a", "team/b", "team/c", "team/idle"}
    assert world.ledger.hold_of("team") == ""
    assert not world.ask("c").is_admitted, "those that the hold stopped are older"
    assert world.ask("a").is_admitted


def test_first_starts_of_a_minute_are_counted_and_returns_are_not(world: World) -> None:
    world.put_quota(maxStartsPerMinute=2)
    for name in "abc":
        world.put(name)
    assert [world.start(name) for name in "abc"] == [True, True, False]
    world.put("back", "Idle", startedAt="2026-11-21T11:00:00Z")
    assert world.start("back")
    world.now += timedelta(seconds=59)
    assert not world.start("c")
    world.now += timedelta(seconds=1)
    world.woken.clear()
    world.ledger.rouse("team")
    assert world.woken == ["team/c"]
    assert world.start("c")


def test_first_starts_are_known_after_a_restart(world: World) -> None:
    world.put_quota(maxStartsPerMinute=2)
    for name in "abc":
        world.put(name)
        if world.start(name):
            world.put_pod(name)
    world.restart()
    assert not world.ask("c").is_admitted
    assert world.ledger.usage_of("team", shown=10).next_at == T0 + timedelta(seconds=60)


def test_unknown_usage_lets_nobody_in_where_a_quota_asks_for_it(world: World) -> None:
    world.put_quota(maxTokensPerDay=1000)
    world.put("a")
    assert world.ask("a").reason is Reason.USAGE_UNKNOWN
    world.spent = Spent(tokens=999)
    assert world.ask("a").is_admitted


def test_a_session_made_anew_under_a_name_gives_the_old_place_back(world: World) -> None:
    world.put("a", "Running")
    raw: dict[str, Any] = {
        "metadata": {
            "name": "a", "namespace": "team", "uid": "a2", "resourceVersion": "99",
            "creationTimestamp": T0.isoformat(),
        },
        "spec": {"goal": "count"},
    }  # fmt: skip
    world.sessions.put(raw)  # the stream missed that the first one was deleted
    world.ledger.note_session("team/a")
    assert world.active() == 0


def test_one_more_in_a_long_line_costs_little(world: World) -> None:
    """Ten thousand wait: asking and waking stay far from looking at all of them each time."""
    world.put("a", "Running")
    world.put("b", "Running")
    for number in range(10_000):
        world.put(f"w{number:05}", "Queued", age=number % 7, owner=f"o{number % 20}")
    world.woken.clear()
    for number in range(1000):
        assert not world.ask(f"w{number:05}").is_admitted
    world.put("a", "Completed")
    assert len(world.woken) == 1
