"""Who takes the commands of a director. A query."""

from typing import Final

from sqlalchemy import Connection, and_, or_, select

from agentsessions.api.v1alpha1.role import SessionRole
from agentsessions.journal import sessions as read_model
from agentsessions.journal.mailbox import takes_commands
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.tables import sessions
from agentsessions.lifecycle.phases import TERMINAL

MOST_DEPARTMENTS: Final = 200
_FINAL: Final = tuple(sorted(phase.value for phase in TERMINAL))


def find_departments(conn: Connection, director_uid: str) -> list[SessionRow]:
    """Return the sessions that take a director's commands now, by name."""
    director = read_model.find_by_uid(conn, director_uid)
    if director is None:
        return []
    named = sessions.c.spec["directorRef"]["name"].as_string()
    is_candidate = or_(
        sessions.c.role == SessionRole.DEPARTMENT.value,
        and_(sessions.c.role == SessionRole.WORKER.value, named == director.name),
    )
    is_live = or_(sessions.c.phase.is_(None), sessions.c.phase.not_in(_FINAL))
    query = select(sessions.c.uid).where(
        sessions.c.namespace == director.namespace, sessions.c.deleted_at.is_(None), is_candidate, is_live
    )
    rows = [read_model.find_by_uid(conn, uid) for uid in conn.scalars(query.order_by(sessions.c.name))]
    return [row for row in rows if row is not None and takes_commands(row, director)][:MOST_DEPARTMENTS]
