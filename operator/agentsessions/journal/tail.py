"""A session as a person looks at it: its newest entries, or those in front of one, and how it stood there. Queries.

All of it follows from the entries up to a number, so the past can be looked at as it was. What people changed later is
shown as they left it: what they took away is gone from the past too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select

from agentsessions.journal import inbox as sent
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.revisions import read_revisions
from agentsessions.journal.tables import entries, inbox

MOST_STEPS: Final = 10_000
"""Steps that the figures of a session are made from; the oldest of more are left out."""
MOST_QUEUED: Final = 20


@dataclass(frozen=True, slots=True)
class Spent:
    """What one step cost."""

    tokens: int
    cost_micro_usd: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a session stood at an entry."""

    steps: tuple[Spent, ...] = ()
    """Complete ones, oldest first."""
    tool_calls: int = 0
    state: EntryRow | None = None
    """Its phase at that time."""

    @property
    def tokens(self) -> int:
        """Input plus output tokens."""
        return sum(step.tokens for step in self.steps)

    @property
    def cost_micro_usd(self) -> int:
        """What it cost."""
        return sum(step.cost_micro_usd for step in self.steps)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that no turn has taken yet."""

    id: str
    actor: str
    content: str


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a session at one place."""

    entries: list[EntryRow]
    """Oldest first, with what they say now."""
    standing: Standing
    queued: tuple[Waiting, ...] = ()


def look(conn: Connection, session_uid: str, until: int, before: int, limit: int) -> Look:
    """Return what is seen at entry `until`: the last entries in front of `before`, at most `limit`."""
    query = _of(session_uid, entries.c.seq < before, entries.c.seq <= until)
    found = [to_entry(row) for row in conn.execute(query.order_by(entries.c.seq.desc()).limit(limit)).mappings()]
    return Look(
        list(_as_now(conn, session_uid, reversed(found))),
        read_standing(conn, session_uid, until),
        read_queued(conn, session_uid),
    )


def read_standing(conn: Connection, session_uid: str, until: int) -> Standing:
    """Return how a session stood right after entry `until`, from its entries alone."""
    past = (entries.c.session_uid == session_uid, entries.c.seq <= until)
    bodies = (
        select(entries.c.body)
        .where(*past, entries.c.type == EntryType.STEP_COMPLETE.value)
        .order_by(entries.c.seq.desc())
        .limit(MOST_STEPS)
    )
    steps = [
        Spent(number(body, "inputTokens") + number(body, "outputTokens"), number(body, "costMicroUSD"))
        for body in (one or {} for one in conn.scalars(bodies))
    ]
    calls = conn.scalar(select(func.count()).where(*past, entries.c.type == EntryType.TOOL_CALL.value))
    states = _of(session_uid, entries.c.seq <= until, entries.c.type == EntryType.STATE.value)
    state = conn.execute(states.order_by(entries.c.seq.desc()).limit(1)).mappings().one_or_none()
    return Standing(tuple(reversed(steps)), calls or 0, None if state is None else to_entry(state))


def read_queued(conn: Connection, session_uid: str) -> tuple[Waiting, ...]:
    """Return the first messages that no turn has taken, in order."""
    query = (
        select(inbox.c.id, inbox.c.actor, inbox.c.content)
        .where(inbox.c.session_uid == session_uid, *sent.QUEUED)
        .order_by(inbox.c.ordinal)
        .limit(MOST_QUEUED)
    )
    return tuple(Waiting(row.id, row.actor, row.content) for row in conn.execute(query))


def number(body: Mapping[str, Any], name: str) -> int:
    """Return a count from an entry's body; 0 where there is none, as in journals that came from elsewhere."""
    found = body.get(name)
    return found if isinstance(found, int) else 0


def _as_now(conn: Connection, session_uid: str, found: Iterable[EntryRow]) -> Iterable[EntryRow]:
    kept = list(found)
    if all(entry.body is not None for entry in kept):  # most conversations were never changed
        return kept
    known = read_revisions(conn, session_uid)
    return [
        replace(entry, body=known[entry.seq].body) if entry.body is None and entry.seq in known else entry
        for entry in kept
    ]


def _of(session_uid: str, *where: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    return select(entries).where(entries.c.session_uid == session_uid, *where)
