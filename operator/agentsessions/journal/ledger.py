"""One session's chain and counters, held for the length of one job.

Load it, append and count, then save it: one INSERT and one UPDATE, whatever was appended.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, Integer, bindparam, exists, func, insert, select

from agentsessions.api.reasons import LimitName
from agentsessions.journal import prepared, spending
from agentsessions.journal.entries import EntryRow, EntryType, digest_of, hash_of
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.refusals import UnknownSession
from agentsessions.journal.rows import Columns, SessionUsage
from agentsessions.journal.tables import entries, parts, usage
from agentsessions.journal.writer import Work


@dataclass(frozen=True, slots=True)
class Place:
    """Where entries belong. The default is the session itself, outside of agents and steps."""

    agent: str = ""
    epoch: int = 0
    round: int = 1
    step: int = 0


SESSION: Final = Place()

Step = tuple[str, int, int]
"""Agent, round, and number in it."""

_COUNTERS: Final = ("steps", "input_tokens", "output_tokens", "tool_calls", "cost_micro_usd", "turns")

COLUMNS: Final = (*usage.c, exists().where(parts.c.session_uid == usage.c.session_uid).label("has_parts"))
"""What a ledger starts from."""
_LOAD: Final = Prepared(select(*COLUMNS).where(usage.c.session_uid == bindparam("uid")))
_APPEND: Final = Prepared(insert(entries))
_LENGTH: Final = Prepared(
    select(func.max(entries.c.index) + 1).where(
        entries.c.session_uid == bindparam("uid"),
        entries.c.round == bindparam("round"),
        entries.c.agent == bindparam("agent"),
        entries.c.step == bindparam("step"),
    )
)

_ENTRIES: Final = (
    select(entries)
    .where(entries.c.session_uid == bindparam("uid"), entries.c.seq > bindparam("after"))
    .order_by(entries.c.seq)
    .limit(bindparam("most", type_=Integer))
)


class Ledger:
    """The chain's head and the counters of one session.

    Args:
        work: The job's.
        session_uid: Whose.
        stored: Its COLUMNS, where the job has read them and not changed them since.
        lengths: How many entries steps have, likewise.

    Raises:
        UnknownSession: There is no such session.
    """

    def __init__(
        self,
        work: Work,
        session_uid: str,
        stored: Columns | None = None,
        lengths: Mapping[Step, int] = MappingProxyType({}),
    ) -> None:
        row = stored or _LOAD.row(work, uid=session_uid)
        if row is None:
            raise UnknownSession(f"session {session_uid} is not in the journal yet; put_session comes first")
        self._work = work
        self._uid = session_uid
        self._stored = dict(row)
        self._state = dict(row)
        self._lengths = dict(lengths)
        self._new: list[EntryRow] = []

    @property
    def work(self) -> Work:
        """The job's."""
        return self._work

    @property
    def session_uid(self) -> str:
        """Whose chain it is."""
        return self._uid

    @property
    def head(self) -> int:
        """Seq of the newest entry, those appended just now included."""
        return int(self._state["head"])

    @property
    def has_goal(self) -> bool:
        """Whether the goal message is in the chain."""
        return bool(self._state["has_goal"])

    @property
    def has_parts(self) -> bool:
        """Whether the session has several agents."""
        return bool(self._state["has_parts"])

    @property
    def usage(self) -> SessionUsage:
        """What was spent, with what was counted just now."""
        return to_usage(self._state)

    def append(self, type_: EntryType, body: dict[str, Any], place: Place = SESSION) -> int:
        """Add an entry at the end of the chain; return its seq."""
        last_at: datetime | None = self._state["last_at"]
        at = self._work.now if last_at is None else max(last_at, self._work.now)
        seq = self.head + 1
        entry = EntryRow(
            session_uid=self._uid,
            seq=seq,
            agent=place.agent,
            epoch=place.epoch,
            round=place.round,
            step=place.step,
            index=self._next_index(place) if place.step else seq,
            type=type_,
            at=at,
            body=body,
            body_digest=digest_of(body),
            previous_hash=self._state["digest"],
            hash="",
        )
        self._new.append(replace(entry, hash=hash_of(entry)))
        self._state |= {"head": seq, "digest": self._new[-1].hash, "last_at": at}
        if type_ is EntryType.OUTPUT:
            self._state["result_seq"] = seq
        return seq

    def mark_goal(self) -> None:
        """Note that the goal message is in the chain."""
        self._state["has_goal"] = True

    def mark_result(self, seq: int) -> None:
        """Note which entry is the last text that was answered: not the newest one when an older one was served."""
        self._state["result_seq"] = seq

    def begin_idle(self) -> None:
        """Note that from now on an epoch waits with nothing to do."""
        if self._state["idle_since"] is None:
            self._state["idle_since"] = self._work.now

    def end_idle(self, at: datetime | None = None) -> None:
        """Count the gap in which an epoch had nothing to do, if there is one.

        Args:
            at: When it ended; now by default.
        """
        since: datetime | None = self._state["idle_since"]
        if since is not None:
            gap = max(timedelta(), (at or self._work.now) - since)
            self._state["idle_since"] = None
            self._state["idle_milliseconds"] += gap // timedelta(milliseconds=1)

    def count(self, **amounts: int) -> None:
        """Add to the counters: steps, input_tokens, output_tokens, tool_calls, cost_micro_usd, turns."""
        for name, amount in amounts.items():
            if name not in _COUNTERS:
                raise ValueError(f"{name} is no counter; there are {', '.join(_COUNTERS)}")
            self._state[name] += amount

    def mark_limit(self, limit: LimitName, message: str, needed: int) -> None:
        """Record that a limit stopped something; it does so as long as it is under `needed`."""
        self._state |= {"limit_reached": limit.value, "limit_message": message, "limit_needed": needed}

    def clear_limit(self) -> None:
        """Forget the limit: it no longer stops anything."""
        self._state |= {"limit_reached": None, "limit_message": None, "limit_needed": None}

    @property
    def limit_needed(self) -> int | None:
        """What the reached limit would have to be."""
        needed: int | None = self._state["limit_needed"]
        return needed

    def save(self) -> None:
        """Write what changed, and have it announced."""
        if self._new:
            _APPEND.run_each(self._work, [_to_columns(entry) for entry in self._new])
        if self._state != self._stored:
            changed = {name: value for name, value in self._state.items() if value != self._stored[name]}
            prepared.change(self._work, usage, {"session_uid": self._uid}, **changed)
            self._work.touched.add(self._uid)
            spending.note_spent(self._work, self._uid, to_usage(self._stored), self.usage)
        self._new = []
        self._stored = dict(self._state)

    def _next_index(self, place: Place) -> int:
        step = place.agent, place.round, place.step
        if step not in self._lengths:
            of_step = {"agent": place.agent, "round": place.round, "step": place.step}
            self._lengths[step] = _LENGTH.value(self._work, uid=self._uid, **of_step) or 0
        self._lengths[step] += 1
        return self._lengths[step] - 1


def _to_columns(entry: EntryRow) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in EntryRow.__slots__}


def read_entries(conn: Connection, session_uid: str, after: int, limit: int) -> list[EntryRow]:
    """Return entries in order of seq, from the one behind `after`."""
    asked = {"uid": session_uid, "after": after, "most": limit}
    return [to_entry(row) for row in conn.execute(_ENTRIES, asked).mappings()]


def to_entry(row: Any) -> EntryRow:
    """Return the entry of a row of the table."""
    return EntryRow(**{**row, "type": EntryType(row["type"])})


def to_usage(row: Any) -> SessionUsage:
    """Return the counters of a row of the table."""
    limit = row["limit_reached"]
    return SessionUsage(
        head=row["head"],
        limit_reached=LimitName(limit) if limit else None,
        **{name: row[name] for name in _COUNTERS},
    )
