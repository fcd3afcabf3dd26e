"""What namespaces are charged per UTC day, counted with each charge in its own transaction: quotas limit it."""

from collections.abc import Sequence
from datetime import UTC, date
from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from agentsessions.api.spending import Spent
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.rows import SessionUsage
from agentsessions.journal.tables import sessions, spending
from agentsessions.journal.writer import Work

_NAMESPACE: Final = select(sessions.c.namespace).where(sessions.c.uid == bindparam("uid"))
_ADD: Final = Prepared(
    update(spending)
    .where(spending.c.namespace == _NAMESPACE.scalar_subquery(), spending.c.day == bindparam("on"))
    .values(
        tokens=spending.c.tokens + bindparam("more_tokens"),
        cost_micro_usd=spending.c.cost_micro_usd + bindparam("more_cost"),
    )
)


def note_spent(work: Work, session_uid: str, before: SessionUsage, after: SessionUsage) -> None:
    """Count what a session spent between two of its usages for its namespace, today."""
    tokens = after.input_tokens + after.output_tokens - before.input_tokens - before.output_tokens
    cost = after.cost_micro_usd - before.cost_micro_usd
    if not tokens and not cost:
        return
    today = work.now.astimezone(UTC).date()
    if not _ADD.run(work, uid=session_uid, on=today, more_tokens=tokens, more_cost=cost):
        namespace: str = work.conn.execute(_NAMESPACE, {"uid": session_uid}).scalar_one()
        first = {"namespace": namespace, "day": today, "tokens": tokens, "cost_micro_usd": cost}
        work.conn.execute(insert(spending).values(first))


def read_spent(conn: Connection, namespaces: Sequence[str], day: date) -> dict[str, Spent]:
    """Return what each of the namespaces was charged on `day`; nothing where nothing is known."""
    query = select(spending).where(spending.c.namespace.in_(namespaces), spending.c.day == day)
    found = {row.namespace: Spent(tokens=row.tokens, cost_micro_usd=row.cost_micro_usd) for row in conn.execute(query)}
    return {namespace: found.get(namespace, Spent()) for namespace in namespaces}
