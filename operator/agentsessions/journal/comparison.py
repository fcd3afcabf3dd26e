"""The steps of a session in the order in which two sessions are laid side by side. A query."""

from sqlalchemy import Connection, select

from agentsessions.journal.entries import OF_STEPS, EntryRow
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.tables import entries


def read_compared(conn: Connection, uid: str, round_: int | None, most: int) -> list[EntryRow]:
    """Return what agents thought, did and said in their steps, by round, agent, step and place; at most so many."""
    query = select(entries).where(entries.c.session_uid == uid, entries.c.step > 0, entries.c.type.in_(OF_STEPS))
    if round_ is not None:
        query = query.where(entries.c.round == round_)
    order = (entries.c.round, entries.c.agent, entries.c.step, entries.c.index)
    return [to_entry(row) for row in conn.execute(query.order_by(*order).limit(most)).mappings()]
