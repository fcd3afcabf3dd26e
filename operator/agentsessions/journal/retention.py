"""What becomes too old: sessions whose resource has been gone for longer than their namespace keeps them."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, select

from agentsessions.journal.schema import metadata
from agentsessions.journal.tables import sessions
from agentsessions.journal.writer import Work

_CHILDREN: Final = tuple(
    table
    for table in reversed(metadata.sorted_tables)
    if any(key.column is sessions.c.uid for column in table.c for key in column.foreign_keys)
)
"""All that belongs to a session."""


def read_expired(
    conn: Connection,
    before: datetime,
    limit: int,
    *,
    namespace_uid: str | None = None,
    others_than: Collection[str] = (),
) -> list[str]:
    """Return uids of sessions whose resource was gone before an instant, the oldest first.

    Args:
        conn: The journal.
        before: The instant.
        limit: Most of them.
        namespace_uid: Only of this namespace.
        others_than: Only of other namespaces than those with these uids.
    """
    query = select(sessions.c.uid).where(sessions.c.deleted_at < before)
    if namespace_uid is not None:
        query = query.where(sessions.c.namespace_uid == namespace_uid)
    if others_than:
        query = query.where(sessions.c.namespace_uid.not_in(sorted(others_than)))
    return list(conn.scalars(query.order_by(sessions.c.deleted_at).limit(limit)))


def remove(work: Work, uid: str, before: datetime) -> bool:
    """Remove a session with all that it said; return whether it was there, and gone as a resource since then."""
    gone = select(sessions.c.uid).where(sessions.c.uid == uid, sessions.c.deleted_at < before)
    if work.conn.scalar(gone) is None:
        return False
    for table in _CHILDREN:
        work.conn.execute(delete(table).where(table.c.session_uid == uid))
    work.conn.execute(delete(sessions).where(sessions.c.uid == uid))
    return True
