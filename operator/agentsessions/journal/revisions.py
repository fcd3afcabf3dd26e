"""What a conversation says now, after people changed it. Queries, and the rule by which entries tell of it.

Entries are never changed but for their body, which goes. An entry `edited` then says what its place says now, an entry
`redacted` that it says nothing any more; both name the entries whose content they took (`seqs`) and who wanted it.
What replaced content is redacted in its turn when it is replaced or deleted: the newest names them all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.tables import entries


@dataclass(frozen=True, slots=True)
class Revision:
    """What an entry says now."""

    seq: int
    """The entry `edited` that says so."""
    at: datetime
    body: dict[str, Any]
    seqs: tuple[int, ...]
    """All entries whose content was taken for it."""


def read_revisions(conn: Connection, session_uid: str) -> dict[int, Revision]:
    """Return what was edited, by the seq of the entry that said it first."""
    query = select(entries).where(entries.c.session_uid == session_uid, entries.c.type == EntryType.EDITED.value)
    found: dict[int, Revision] = {}
    for entry in map(to_entry, conn.execute(query.order_by(entries.c.seq)).mappings()):
        if entry.body is not None:
            body = entry.body
            found[body["seq"]] = Revision(entry.seq, entry.at, body["body"], tuple(body["seqs"]))
    return found


def revise(conn: Connection, session_uid: str, said: Iterable[EntryRow]) -> Iterator[EntryRow]:
    """Yield entries with what they say now; those that were deleted are left out."""
    known: dict[int, Revision] | None = None
    for entry in said:
        if entry.body is not None:
            yield entry
            continue
        if known is None:  # most conversations were never changed
            known = read_revisions(conn, session_uid)
        if entry.seq in known:
            yield replace(entry, body=known[entry.seq].body)
