"""Who may start a pod now: the one place that gives out the places of a namespace.

Rules:

- A place is held by a session that status shows in a phase with a pod, by one whose pod may still run, and by one that
  was let in during the pass that is under way. So never more are held than there are, whatever the order in which
  passes and watches bring news; and after a restart all follows from statuses and pods.
- All of it happens between two awaits of one event loop: nobody else is let in meanwhile.
- What was given stays given until status or pods show it. A pass that failed after it asked for a pod may have made one
  that is not seen yet: its place is kept until its next pass.
- A place that gets free wakes the sessions that can have it now, and no others.
- Whose pass failed, or did not ask although there was room, is passed over until it asks, so that it keeps nobody
  waiting.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from agentsessions.api.spending import Spent
from agentsessions.controller.pods import Pods
from agentsessions.controller.store import Key, Quotas, Sessions, key_of
from agentsessions.controller.views import SessionRecord
from agentsessions.lifecycle.facts import Admission, PodView, SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.queueing import HOLDING, Line, Waiter, is_waiting, tell_place, to_waiter
from agentsessions.lifecycle.quotas import WINDOW, Load, Quota, Room, find_bound, find_hold, measure_room


@dataclass
class _Namespace:
    """What is known of one namespace."""

    holders: dict[str, str] = field(default_factory=dict)
    """Owner by uid of each session that holds a place."""
    active: Counter[str] = field(default_factory=Counter)
    """Places by owner."""
    line: Line = field(default_factory=Line)
    started_at: dict[str, datetime] = field(default_factory=dict)
    """First starts by uid, within the last minute."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be remembered of it."""
        return not (self.holders or self.started_at or len(self.line))

    def hold(self, uid: str, owner: str) -> bool:
        """Give a place to a session; tell whether it had none."""
        if uid in self.holders:
            return False
        self.holders[uid] = owner
        self.active[owner] += 1
        return True

    def free(self, uid: str) -> bool:
        """Take a session's place back; tell whether it had one."""
        owner = self.holders.pop(uid, None)
        if owner is None:
            return False
        self.active[owner] -= 1
        if not self.active[owner]:
            del self.active[owner]
        return True


@dataclass(frozen=True, slots=True)
class Usage:
    """What a namespace uses, as the status of its quotas tells it."""

    active: int
    queued: int
    queue: tuple[str, ...]
    """Names of the first that wait."""
    started: int
    spent: Spent | None
    next_at: datetime | None
    """When a start of the last minute ceases to count."""


class Admissions:
    """The places of all namespaces."""

    def __init__(
        self,
        sessions: Sessions,
        pods: Pods,
        quotas: Quotas,
        *,
        spent: Callable[[str], Spent | None],
        default_concurrent: int,
        clock: Callable[[], datetime],
    ) -> None:
        """Read from the stores.

        Args:
            sessions: Newest views.
            pods: Newest views.
            quotas: Newest views.
            spent: What a namespace spent today; None while that is unknown.
            default_concurrent: Places of a namespace whose quotas do not say how many.
            clock: The present time.
        """
        self._sessions = sessions
        self._pods = pods
        self._quotas = quotas
        self._spent = spent
        self._default_concurrent = default_concurrent
        self._clock = clock
        self._namespaces: dict[str, _Namespace] = {}
        self._place_of: dict[str, str] = {}  # uid -> namespace, of all that hold or wait
        self._granted: dict[str, bool] = {}  # uid -> whether a pod was asked for since
        self._passes: dict[str, bool] = {}  # uid -> whether it asked, of sessions whose pass is under way
        self._passed_over: set[str] = set()
        self._uids: dict[Key, str] = {}
        self._seen_quotas: dict[str, tuple[Quota, ...]] = {}
        self.wake: Callable[[Key], None] = lambda _key: None
        """Called with the key of a session that should ask now."""
        self.on_change: Callable[[str], None] = lambda _namespace: None
        """Called with a namespace whose use changed."""

    def ask(self, session: SessionView) -> Admission:
        """Say whether the session may start a pod now; if so, its place is kept."""
        here, uid = self._at(session.namespace), session.uid
        self._passes[uid] = True
        self._passed_over.discard(uid)
        if uid in here.holders:
            return Admission(is_admitted=True)
        waiter = to_waiter(session)
        here.line.put(waiter)
        self._place_of[uid] = session.namespace
        ahead = here.line.ahead_of(uid, here.active)
        bound = find_bound(self._room(session.namespace), ahead, is_first_start=waiter.is_first_start)
        self.on_change(session.namespace)
        if bound is not None:
            message = tell_place(ahead.total + 1, bound.message)
            return Admission(is_admitted=False, reason=bound.reason, message=message)
        here.line.remove(uid)
        here.hold(uid, waiter.owner)
        self._granted[uid] = False
        if waiter.is_first_start:
            here.started_at[uid] = self._clock()
        return Admission(is_admitted=True)

    def use(self, uid: str) -> None:
        """Note that a pod is being asked for on the place that the session was given."""
        if uid in self._granted:
            self._granted[uid] = True

    @contextmanager
    def during(self, uid: str) -> Iterator[None]:
        """Surround a pass over a session: at its end the place that it was given shows, or is free again."""
        self._passes[uid] = False
        try:
            yield
        except BaseException:
            self._end_pass(uid, has_failed=True)
            raise
        self._end_pass(uid, has_failed=False)

    def note_session(self, key: Key) -> None:
        """Take notice that a session came, changed or went."""
        record, before = self._sessions.get(key), self._uids.pop(key, None)
        if record is not None:
            self._uids[key] = record.view.uid
            self.note(record.view.uid)
        if before is not None and (record is None or record.view.uid != before):
            self.note(before)

    def note(self, uid: str) -> None:
        """Take notice that the session with `uid`, or one of its pods, came, changed or went."""
        record, pods = self._record_of(uid), self._pods.of(uid)
        if record is None and uid not in self._passes:
            self._granted.pop(uid, None)
            self._passed_over.discard(uid)
        namespace = _namespace_of(record, pods) or self._place_of.get(uid)
        if namespace is None:
            return
        here = self._at(namespace)
        changes = [self._note_holding(here, uid, record, pods), self._note_waiting(here, uid, record)]
        if uid in here.holders or here.line.get(uid) is not None:
            self._place_of[uid] = namespace
        else:
            self._place_of.pop(uid, None)
        if any(changes):
            self.rouse(namespace)
            self.on_change(namespace)
        elif here.is_empty:
            del self._namespaces[namespace]

    def rouse(self, namespace: str) -> None:
        """Wake those that can start now, in order: as many as there is room for."""
        here = self._at(namespace)
        if not len(here.line):
            return
        room = self._room(namespace)
        slots, starts = room.slots.places, room.starts.places
        for waiter in here.line.in_order(here.active):
            if slots <= 0:
                return
            if waiter.is_first_start and starts <= 0:
                if not here.line.has_returning:
                    return
                continue
            slots -= 1
            starts -= waiter.is_first_start
            self.wake(key_of(namespace, waiter.name))

    def rouse_all(self, namespace: str) -> None:
        """Wake all that wait, in order: what keeps them is another thing now."""
        here = self._at(namespace)
        for waiter in list(here.line.in_order(here.active)):
            self.wake(key_of(namespace, waiter.name))

    def note_quotas(self, namespace: str) -> None:
        """Take notice that quotas of a namespace came, changed or went; a status alone changes nothing."""
        quotas, before = self._quotas.of(namespace), self._seen_quotas.get(namespace, ())
        if quotas == before:
            return
        self._seen_quotas[namespace] = quotas
        self.rouse_all(namespace)
        if find_hold(quotas) != find_hold(before):
            for key in self._open_keys(namespace):
                self.wake(key)
        self.on_change(namespace)

    def hold_of(self, namespace: str) -> str:
        """Return why nothing may run in a namespace; empty when it may."""
        return find_hold(self._quotas.of(namespace))

    def usage_of(self, namespace: str, *, shown: int) -> Usage:
        """Return what a namespace uses, with the names of the first `shown` that wait."""
        here = self._at(namespace)
        started = self._started(here)
        return Usage(
            active=len(here.holders),
            queued=len(here.line),
            queue=tuple(waiter.name for waiter in islice(here.line.in_order(here.active), shown)),
            started=started,
            spent=self._spent(namespace),
            next_at=min(here.started_at.values()) + WINDOW if started else None,
        )

    def _at(self, namespace: str) -> _Namespace:
        return self._namespaces.setdefault(namespace, _Namespace())

    def _room(self, namespace: str) -> Room:
        here = self._at(namespace)
        load = Load(len(here.holders), self._started(here), self._spent(namespace))
        return measure_room(self._quotas.of(namespace), load, default_concurrent=self._default_concurrent)

    def _started(self, here: _Namespace) -> int:
        """Count the first starts of the last minute; forget older ones."""
        since = self._clock() - WINDOW
        for uid in [uid for uid, at in here.started_at.items() if at <= since]:
            del here.started_at[uid]
        return len(here.started_at)

    def _record_of(self, uid: str) -> SessionRecord | None:
        key = self._sessions.key_of_uid(uid)
        return self._sessions.get(key) if key is not None else None

    def _end_pass(self, uid: str, *, has_failed: bool) -> None:
        has_asked = self._passes.pop(uid, False)
        is_used = self._granted.get(uid)
        if not (has_failed and is_used and self._record_of(uid) is not None):
            self._granted.pop(uid, None)
        namespace = self._place_of.get(uid)
        if namespace is not None:
            here = self._at(namespace)
            if is_used is False:
                here.started_at.pop(uid, None)  # it was let in, and did not start after all
            if has_failed or (not has_asked and self._could_start(namespace, here, uid)):
                self._passed_over.add(uid)
        self.note(uid)

    def _could_start(self, namespace: str, here: _Namespace, uid: str) -> bool:
        waiter = here.line.get(uid)
        if waiter is None:
            return False
        ahead = here.line.ahead_of(uid, here.active)
        return find_bound(self._room(namespace), ahead, is_first_start=waiter.is_first_start) is None

    def _note_holding(
        self, here: _Namespace, uid: str, record: SessionRecord | None, pods: tuple[PodView, ...]
    ) -> bool:
        """Bring up to date whether a session holds a place; tell whether that changed."""
        session = record.view if record is not None else None
        is_at_it = session is not None and session.status.phase in HOLDING and not session.is_deleting
        if not (is_at_it or uid in self._granted or any(not pod.is_ended for pod in pods)):
            return here.free(uid)
        if session is not None:
            self._note_start(here, session, pods)
        return here.hold(uid, session.spec.owner or "" if session is not None else "")

    def _note_start(self, here: _Namespace, session: SessionView, pods: tuple[PodView, ...]) -> None:
        """Count a first start that this process did not grant: one before it was restarted."""
        started_at = _first_start(session, pods)
        if session.uid not in here.started_at and started_at is not None and started_at > self._clock() - WINDOW:
            here.started_at[session.uid] = started_at

    def _note_waiting(self, here: _Namespace, uid: str, record: SessionRecord | None) -> bool:
        """Bring up to date whether a session waits; tell whether that changed."""
        is_out = uid in here.holders or uid in self._passed_over
        if record is None or is_out or not self._waits(record):
            return here.line.remove(uid)
        return here.line.put(to_waiter(record.view))

    def _waits(self, record: SessionRecord) -> bool:
        if record.problem or record.status_problem:
            return False
        return is_waiting(record.view) or (self._passes.get(record.view.uid, False) and not record.view.is_deleting)

    def _open_keys(self, namespace: str) -> list[Key]:
        """Return the sessions of a namespace that are not final, in the order in which they would wait."""
        found: list[Waiter] = [
            to_waiter(record.view)
            for key, record in self._sessions.items()
            if record.view.namespace == namespace and record.view.status.phase not in TERMINAL
        ]
        return [key_of(namespace, waiter.name) for waiter in sorted(found, key=lambda waiter: waiter.key)]


def _namespace_of(record: SessionRecord | None, pods: tuple[PodView, ...]) -> str | None:
    if record is not None:
        return record.view.namespace
    return pods[0].namespace if pods else None


def _first_start(session: SessionView, pods: tuple[PodView, ...]) -> datetime | None:
    """Return when a session first left the queue, as well as pods and status still tell."""
    status = session.status
    told = status.started_at or status.phase_started_at
    if any(row.epoch > 1 for row in status.agents or ()):
        return status.started_at
    return min((pod.created_at for pod in pods if pod.epoch == 1), default=told)
