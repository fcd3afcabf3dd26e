"""Whether the journal is what a session's status said it was. A query.

The chain alone does not show that its end was cut off together with the counters, nor that all of it was written anew.
The status, which is in another database, has the head and its hash from each change of phase.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from agentsessions.journal.tables import entries, sessions, usage


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the chain was when a status was written."""

    head: int
    digest: str


def read_anchor(conn: Connection, uid: str) -> Anchor | None:
    """Return what the read model copied of the session's status; None when that had no anchor yet."""
    row = conn.execute(select(sessions.c.anchor_head, sessions.c.anchor_digest).where(sessions.c.uid == uid)).first()
    return Anchor(row.anchor_head, row.anchor_digest) if row is not None and row.anchor_digest else None


def read_anchor_problems(conn: Connection, uid: str, anchors: Sequence[Anchor]) -> list[str]:
    """Compare the chain with anchors; return one sentence for each that does not hold."""
    problems = []
    for anchor in dict.fromkeys(anchors):
        query = select(entries.c.hash).where(entries.c.session_uid == uid, entries.c.seq == anchor.head)
        found = conn.scalar(query)
        if found is None:
            problems.append(
                f"entry {anchor.head} is missing: the status said that it was the newest, with hash {anchor.digest}"
            )
        elif found != anchor.digest:
            problems.append(
                f"entry {anchor.head} has hash {found}, but the status said {anchor.digest}: the chain was written anew"
            )
    return problems


def read_uids(conn: Connection, after: str, limit: int) -> list[str]:
    """Return uids of sessions in order, behind one."""
    query = select(usage.c.session_uid).where(usage.c.session_uid > after).order_by(usage.c.session_uid)
    return list(conn.scalars(query.limit(limit)))
