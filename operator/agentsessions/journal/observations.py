"""What an observer sees: which sessions, and what is new since it last looked. A query, and a job."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, or_, select

from agentsessions.api.v1alpha1.role import WILDCARD, matches
from agentsessions.journal import fences
from agentsessions.journal import sessions as read_model
from agentsessions.journal.entries import EntryRow
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.rows import PodIdentity, SessionRow
from agentsessions.journal.tables import entries, observations, sessions
from agentsessions.journal.writer import Work

MOST_ENTRIES: Final = 20
"""New entries of a session that one look shows, at most."""


@dataclass(frozen=True, slots=True)
class News:
    """What came to a session's journal."""

    entries: list[EntryRow]
    """The newest, in order."""
    left_out: int
    """How many came before those, and after what was seen."""


def look(work: Work, pod: PodIdentity, call_id: str, targets: list[SessionRow], most: int) -> dict[str, News]:
    """Return the newest entries of each session since the agent last looked, and note that it has seen them.

    The same call again shows the same, and what came since.

    Args:
        work: The transaction.
        pod: The observer's.
        call_id: Of the tool call.
        targets: Sessions to look at.
        most: Entries of each session.

    Raises:
        StaleEpoch, NothingToPlay: Another pod speaks for the observer now.
    """
    fences.require_open(work, pod)
    return {target.uid: _look(work, pod, call_id, target, most) for target in targets}


def _look(work: Work, pod: PodIdentity, call_id: str, target: SessionRow, most: int) -> News:
    of_target = (
        observations.c.session_uid == pod.session_uid,
        observations.c.agent == pod.agent,
        observations.c.target_uid == target.uid,
    )
    seen = work.conn.execute(select(observations).where(*of_target)).one_or_none()
    after = 0 if seen is None else seen.after_seq if seen.call_id == call_id else seen.seen_seq
    query = select(entries).where(entries.c.session_uid == target.uid, entries.c.seq > after)
    rows = work.conn.execute(query.order_by(entries.c.seq.desc()).limit(most)).mappings()
    found = [to_entry(row) for row in rows][::-1]
    work.conn.execute(delete(observations).where(*of_target))
    work.conn.execute(
        insert(observations).values(
            session_uid=pod.session_uid,
            agent=pod.agent,
            target_uid=target.uid,
            call_id=call_id,
            after_seq=after,
            seen_seq=found[-1].seq if found else after,
        )
    )
    return News(found, found[0].seq - after - 1 if found else 0)


def find_observed(conn: Connection, observer_uid: str, patterns: list[str], limit: int) -> list[SessionRow]:
    """Return the sessions of an observer's namespace that the patterns name, by name; those that are gone not."""
    observer = read_model.find_by_uid(conn, observer_uid)
    if observer is None:
        return []
    others = (
        sessions.c.namespace == observer.namespace,
        sessions.c.deleted_at.is_(None),
        sessions.c.uid != observer_uid,
        or_(*(sessions.c.name.like(_to_like(pattern), escape="\\") for pattern in patterns)),
    )
    found = conn.execute(select(sessions.c.uid, sessions.c.name).where(*others).order_by(sessions.c.name)).all()
    uids = [row.uid for row in found if any(matches(pattern, row.name) for pattern in patterns)]
    rows = [read_model.find_by_uid(conn, uid) for uid in uids[:limit]]
    return [row for row in rows if row is not None]


def _to_like(pattern: str) -> str:
    """Return a pattern that finds at least what `matches` does."""
    for special in ("\\", "%", "_"):
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace(WILDCARD, "%")
