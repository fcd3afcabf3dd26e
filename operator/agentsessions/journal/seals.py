"""Seals: what was verified of a session with its last answer. A query, and a job.

A seal is about entries up to its head. Those that follow tell what became of the session, and belong to the same chain.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select

from agentsessions.api.kinds import MODES, TYPES
from agentsessions.api.wire import Outcome
from agentsessions.journal.tables import epochs, seals, sessions, usage
from agentsessions.journal.writer import Work

SEALED_TYPES: Final = tuple(kind.value for kind, rules in TYPES.items() if rules.is_sealed)
SEALED_MODES: Final = tuple(mode.value for mode, rules in MODES.items() if rules.is_sealed)
MAX_PROBLEM: Final = 1000


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends."""

    seq: int
    digest: str


def find_seal(conn: Connection, uid: str) -> int | None:
    """Return the last entry under a session's seal; None when it has none."""
    head: int | None = conn.scalar(select(seals.c.head).where(seals.c.session_uid == uid))
    return head


def read_unsealed(conn: Connection, uid: str) -> Head | None:
    """Return where the chain of a session ends that has its last answer and is to be sealed; None when it is not."""
    last = select(epochs.c.session_uid).where(epochs.c.session_uid == uid, epochs.c.outcome == Outcome.FINAL.value)
    query = (
        select(usage.c.head, usage.c.digest)
        .join(sessions, sessions.c.uid == usage.c.session_uid)
        .outerjoin(seals, seals.c.session_uid == usage.c.session_uid)
        .where(
            usage.c.session_uid == uid,
            seals.c.session_uid.is_(None),
            sessions.c.type.in_(SEALED_TYPES) | sessions.c.mode.in_(SEALED_MODES),
            last.exists(),
        )
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else Head(row.head, row.digest)


def seal(work: Work, uid: str, verified: Head, problems: list[str]) -> bool:
    """Write down what was found of the chain up to `verified`; tell whether that was still its end. Once is enough."""
    now = work.conn.execute(select(usage.c.head, usage.c.digest).where(usage.c.session_uid == uid)).one()
    if find_seal(work.conn, uid) is not None:
        return True
    if Head(now.head, now.digest) != verified:
        return False
    problem = "; ".join(problems)[:MAX_PROBLEM]
    work.conn.execute(
        insert(seals).values(
            session_uid=uid, head=verified.seq, digest=verified.digest, problem=problem, sealed_at=work.now
        )
    )
    work.touched.add(uid)
    return True
