"""Rounds of a session that runs its goal by a schedule. Jobs of the writer.

- Round r is due at anchor + (r - 1) * interval. The anchor is the pin of the first turn of round 1: nothing drifts.
- A round begins before the next one is due and before the schedule's duration is over, or it is missed and counted.
- Numbers belong to due times: a missed round's number is not used.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, insert, select, update

from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.rows import Schedule
from agentsessions.journal.tables import rounds, turns
from agentsessions.journal.writer import Work


@dataclass(frozen=True, slots=True)
class Ahead:
    """What the schedule still has for a session."""

    is_complete: bool
    """Whether the newest round has its result."""
    number: int
    """Round that is next."""
    due_at: datetime | None
    """When it is due; None when there is no next one."""


def due_at(schedule: Schedule, anchor_at: datetime, number: int) -> datetime:
    """Return when a round is due."""
    return anchor_at + (number - 1) * schedule.interval


def count_rounds(schedule: Schedule) -> int:
    """Return how many rounds a schedule has."""
    return -(-schedule.duration // schedule.interval)


def find_next(schedule: Schedule, anchor_at: datetime, number: int, now: datetime) -> int | None:
    """Return the first round from `number` on that can still begin; None when there is none."""
    possible = max(number, (now - anchor_at) // schedule.interval + 1)
    is_over = possible > count_rounds(schedule) or now >= anchor_at + schedule.duration
    return None if is_over else possible


def look_ahead(work: Work, session_uid: str, schedule: Schedule) -> Ahead:
    """Return what comes after the newest round; count what can no longer begin as missed."""
    row = _find(work, session_uid)
    total = count_rounds(schedule)
    found = find_next(schedule, row["anchor_at"], row["next_number"], work.now)
    number = total + 1 if found is None else found
    next_at = None if found is None else due_at(schedule, row["anchor_at"], number)
    missed = row["missed"] + number - row["next_number"]
    if (number, next_at) != (row["next_number"], row["next_at"]):
        _update(work, session_uid, next_number=number, next_at=next_at, missed=missed)
    return Ahead(row["is_complete"], number, next_at)


def begin(work: Work, session_uid: str, number: int, schedule: Schedule) -> None:
    """Note that a round begins; the first one sets the anchor."""
    if number == 1:
        work.conn.execute(
            insert(rounds).values(
                session_uid=session_uid, anchor_at=work.now, number=1, is_complete=False, next_number=2
            )
        )
    anchor_at = _find(work, session_uid)["anchor_at"]
    following = number + 1
    next_at = due_at(schedule, anchor_at, following) if following <= count_rounds(schedule) else None
    _update(work, session_uid, number=number, is_complete=False, next_number=following, next_at=next_at)


def complete(work: Work, ledger: Ledger, place: Place, text: str | None, schedule: Schedule) -> None:
    """Journal the result of the newest round, unless it has one."""
    uid = ledger.session_uid
    row = _find(work, uid)
    if row["is_complete"]:
        return
    body = {
        "round": row["number"],
        "text": text,
        "dueAt": due_at(schedule, row["anchor_at"], row["number"]).isoformat(),
        "startedAt": _started_at(work, uid, place).isoformat(),
    }
    ledger.append(EntryType.ROUND_COMPLETE, body, Place(place.agent, place.epoch, place.round))
    _update(work, uid, is_complete=True, completed=row["completed"] + 1)


def _started_at(work: Work, session_uid: str, place: Place) -> datetime:
    pinned_at: datetime = work.conn.execute(
        select(turns.c.pinned_at).where(
            turns.c.session_uid == session_uid,
            turns.c.agent == place.agent,
            turns.c.round == place.round,
            turns.c.k == 1,
        )
    ).scalar_one()
    return pinned_at


def _find(work: Work, session_uid: str) -> RowMapping:
    return work.conn.execute(select(rounds).where(rounds.c.session_uid == session_uid)).mappings().one()


def _update(work: Work, session_uid: str, **values: Any) -> None:
    work.conn.execute(update(rounds).where(rounds.c.session_uid == session_uid).values(**values))
    work.touched.add(session_uid)
