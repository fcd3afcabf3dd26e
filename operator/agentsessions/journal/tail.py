"""Looks into a session's entries other than from the front: the newest ones, those of some types, how it once stood."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Select, select

from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.tables import entries

MAX_ENTRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """How a session stood at an entry: what it had spent, and the phase that it was in."""

    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    cost_micro_usd: int = 0
    state: EntryRow | None = None


def read_before(conn: Connection, session_uid: str, before: int, limit: int) -> list[EntryRow]:
    """Return the last entries in front of entry `before`, oldest first; at most `limit`."""
    query = _entries_of(session_uid).where(entries.c.seq < before).order_by(entries.c.seq.desc()).limit(limit)
    return [to_entry(row) for row in conn.execute(query).mappings()][::-1]


def read_of_types(conn: Connection, session_uid: str, types: Collection[EntryType], until: int) -> list[EntryRow]:
    """Return the entries of some types up to entry `until`, oldest first; the newest `MAX_ENTRIES` of them."""
    query = (
        _entries_of(session_uid)
        .where(entries.c.seq <= until, entries.c.type.in_([one.value for one in types]))
        .order_by(entries.c.seq.desc())
        .limit(MAX_ENTRIES)
    )
    return [to_entry(row) for row in conn.execute(query).mappings()][::-1]


def read_standing(conn: Connection, session_uid: str, until: int) -> Standing:
    """Return how a session stood right after entry `until`, from its entries alone."""
    wanted = (EntryType.STEP_COMPLETE, EntryType.TOOL_CALL, EntryType.STATE)
    found = read_of_types(conn, session_uid, wanted, until)
    complete = [one.body or {} for one in found if one.type is EntryType.STEP_COMPLETE]
    states = [one for one in found if one.type is EntryType.STATE]
    return Standing(
        steps=len(complete),
        input_tokens=sum(body.get("inputTokens") or 0 for body in complete),
        output_tokens=sum(body.get("outputTokens") or 0 for body in complete),
        tool_calls=sum(one.type is EntryType.TOOL_CALL for one in found),
        cost_micro_usd=sum(body.get("costMicroUSD") or 0 for body in complete),
        state=states[-1] if states else None,
    )


def _entries_of(session_uid: str) -> Select[tuple[object, ...]]:
    return select(entries).where(entries.c.session_uid == session_uid)
