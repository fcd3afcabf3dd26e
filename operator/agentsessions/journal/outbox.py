"""What is to be told to receivers outside: written with the transition it tells of, removed when it was delivered.

- A transition and its deliveries are one transaction: neither a crash nor a receiver can come between.
- Of each session and webhook only the oldest delivery can be claimed, so that receivers hear of phases in order.
- A claim ends by itself. Who died in between may have sent: the same id is then sent again.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import orjson
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from agentsessions.journal.webhook_tables import deliveries, webhooks
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.webhooks import Transition, build_body, is_given_up, is_wanted

MOST_WAITING: Final = 10_000
"""Of one webhook. Whoever takes nothing for so long must not fill the journal."""
RECOVERED_AFTER: Final = 3
"""Failures in a row, after which a delivery shows that the receiver is back: what waits need not wait longer."""

_OF_NAMESPACE: Final = select(webhooks.c.uid, webhooks.c.match_labels, webhooks.c.phases).where(
    webhooks.c.namespace == bindparam("namespace")
)


class Result(StrEnum):
    """What became of a request."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """It is tried again."""
    GIVEN_UP = "given_up"
    STALE = "stale"
    """The delivery was not one's own any more."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """What a webhook wants to be told."""

    uid: str
    namespace: str
    generation: int
    match_labels: Mapping[str, str]
    phases: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One transition to be told to one webhook."""

    webhook_uid: str
    session_uid: str
    seq: int
    id: str
    body: str
    attempts: int
    """That failed."""


@dataclass(frozen=True, slots=True)
class Lane:
    """When a webhook has something to be sent next."""

    webhook_uid: str
    next_at: datetime
    failures: int


@dataclass(frozen=True, slots=True)
class Account:
    """How the deliveries to a webhook go."""

    generation: int
    delivered: int
    failures: int
    lost: int
    delivered_at: datetime | None
    failed_at: datetime | None
    failure: str | None
    waiting: int
    oldest_at: datetime | None


def put_receiver(work: Work, receiver: Receiver) -> None:
    """Store what a webhook wants; an older spec than the one that is stored changes nothing."""
    known = work.conn.scalar(select(webhooks.c.generation).where(webhooks.c.uid == receiver.uid))
    if known is None:
        values = {name: getattr(receiver, name) for name in Receiver.__slots__}
        work.conn.execute(insert(webhooks).values(values))
    elif known < receiver.generation:
        wanted = {name: getattr(receiver, name) for name in ("generation", "match_labels", "phases")}
        work.conn.execute(update(webhooks).where(webhooks.c.uid == receiver.uid).values(wanted))


def remove_receiver(work: Work, uid: str) -> None:
    """Forget a webhook, and what was to be told to it."""
    work.conn.execute(delete(deliveries).where(deliveries.c.webhook_uid == uid))
    work.conn.execute(delete(webhooks).where(webhooks.c.uid == uid))


def read_receivers(conn: Connection) -> set[str]:
    """Return the uids of all webhooks."""
    return set(conn.scalars(select(webhooks.c.uid)))


def note(work: Work, transition: Transition, labels: Mapping[str, str]) -> None:
    """Write a transition for each webhook that wants to hear of it, in the transaction that journals it."""
    body = ""
    for row in work.conn.execute(_OF_NAMESPACE, {"namespace": transition.namespace}).all():
        if not is_wanted(row.match_labels, row.phases, labels, transition.to):
            continue
        if _count_waiting(work.conn, row.uid) >= MOST_WAITING:
            _change(work, row.uid, lost=webhooks.c.lost + 1)
            continue
        body = body or orjson.dumps(build_body(transition)).decode()
        earlier = select(deliveries.c.seq).where(*_of(row.uid, transition.uid)).limit(1)
        is_first = work.conn.scalar(earlier) is None
        work.conn.execute(
            insert(deliveries).values(
                webhook_uid=row.uid,
                session_uid=transition.uid,
                seq=transition.seq,
                id=transition.id,
                body=body,
                created_at=work.now,
                attempts=0,
                next_at=work.now if is_first else None,
            )
        )


def read_lanes(conn: Connection) -> list[Lane]:
    """Return the webhooks that have something to be sent, now or later."""
    query = (
        select(deliveries.c.webhook_uid, func.min(deliveries.c.next_at).label("next_at"), webhooks.c.failures)
        .join(webhooks, webhooks.c.uid == deliveries.c.webhook_uid)
        .where(deliveries.c.next_at.is_not(None))
        .group_by(deliveries.c.webhook_uid, webhooks.c.failures)
    )
    return [Lane(**row) for row in conn.execute(query).mappings()]


def claim(work: Work, room: Mapping[str, int], instance: str, span: timedelta) -> list[Delivery]:
    """Take what is due, at most so many of each webhook; nobody else is given it until the span is over."""
    claimed: list[Delivery] = []
    columns = [deliveries.c[name] for name in Delivery.__slots__]
    for uid, most in room.items():
        due = (deliveries.c.webhook_uid == uid, deliveries.c.next_at <= work.now)
        query = select(*columns).where(*due).order_by(deliveries.c.next_at).limit(most)
        found = [Delivery(**row) for row in work.conn.execute(query).mappings()]
        for one in found:
            taken = update(deliveries).where(*_is(one))
            work.conn.execute(taken.values(next_at=work.now + span, claimed_by=instance))
        claimed += found
    return claimed


def release(work: Work, instance: str | None) -> None:
    """Give back what an earlier process claimed: that of an instance, or all of it."""
    whose = deliveries.c.claimed_by.is_not(None) if instance is None else deliveries.c.claimed_by == instance
    work.conn.execute(update(deliveries).where(whose).values(next_at=work.now, claimed_by=None))


def note_delivered(work: Work, one: Delivery) -> Result:
    """Remove what was delivered, and let the session's next transition go."""
    if not _remove(work, one):
        return Result.STALE
    failures = work.conn.scalar(select(webhooks.c.failures).where(webhooks.c.uid == one.webhook_uid)) or 0
    _change(work, one.webhook_uid, delivered=webhooks.c.delivered + 1, delivered_at=work.now, failures=0, failure=None)
    if failures >= RECOVERED_AFTER:
        waits = (deliveries.c.webhook_uid == one.webhook_uid, deliveries.c.claimed_by.is_(None))
        again = update(deliveries).where(*waits, deliveries.c.next_at > work.now)
        work.conn.execute(again.values(next_at=work.now))
    return Result.DELIVERED


def note_failed(work: Work, one: Delivery, failure: str, wait: timedelta, instance: str) -> Result:
    """Note that a request failed, and when to try again; give up what is too old for that."""
    own = (*_is(one), deliveries.c.claimed_by == instance)
    created_at = work.conn.scalar(select(deliveries.c.created_at).where(*own))
    if created_at is None:
        return Result.STALE
    counted: dict[str, Any] = {"failures": webhooks.c.failures + 1, "failed_at": work.now, "failure": failure}
    if is_given_up(created_at, work.now + wait):
        _remove(work, one)
        _change(work, one.webhook_uid, **counted, lost=webhooks.c.lost + 1)
        return Result.GIVEN_UP
    later = {"next_at": work.now + wait, "claimed_by": None, "attempts": one.attempts + 1}
    work.conn.execute(update(deliveries).where(*own).values(**later))
    _change(work, one.webhook_uid, **counted)
    return Result.FAILED


def read_backlog(conn: Connection) -> tuple[int, datetime | None]:
    """Return how many transitions are to be delivered, and when the oldest of them was."""
    row = conn.execute(select(func.count(), func.min(deliveries.c.created_at)).select_from(deliveries)).one()
    return row[0], row[1]


def read_accounts(conn: Connection, uids: Collection[str]) -> dict[str, Account]:
    """Return how the deliveries to some webhooks go."""
    names = [name for name in Account.__slots__ if name not in {"waiting", "oldest_at"}]
    kept = conn.execute(select(webhooks.c.uid, *(webhooks.c[name] for name in names)).where(webhooks.c.uid.in_(uids)))
    waiting = conn.execute(
        select(deliveries.c.webhook_uid, func.count().label("waiting"), func.min(deliveries.c.created_at).label("at"))
        .where(deliveries.c.webhook_uid.in_(uids))
        .group_by(deliveries.c.webhook_uid)
    )
    left = {row.webhook_uid: (row.waiting, row.at) for row in waiting}
    found = {}
    for row in kept.mappings():
        count, oldest_at = left.get(row["uid"], (0, None))
        found[row["uid"]] = Account(**{name: row[name] for name in names}, waiting=count, oldest_at=oldest_at)
    return found


def _count_waiting(conn: Connection, webhook_uid: str) -> int:
    return conn.scalar(select(func.count()).where(deliveries.c.webhook_uid == webhook_uid)) or 0


def _remove(work: Work, one: Delivery) -> bool:
    if not work.conn.execute(delete(deliveries).where(*_is(one))).rowcount:
        return False
    following = select(func.min(deliveries.c.seq)).where(*_of(one.webhook_uid, one.session_uid)).scalar_subquery()
    first = (*_of(one.webhook_uid, one.session_uid), deliveries.c.seq == following, deliveries.c.next_at.is_(None))
    work.conn.execute(update(deliveries).where(*first).values(next_at=work.now))
    return True


def _change(work: Work, uid: str, **values: Any) -> None:
    work.conn.execute(update(webhooks).where(webhooks.c.uid == uid).values(**values))


def _of(webhook_uid: str, session_uid: str) -> tuple[Any, ...]:
    return deliveries.c.webhook_uid == webhook_uid, deliveries.c.session_uid == session_uid


def _is(one: Delivery) -> tuple[Any, ...]:
    return (*_of(one.webhook_uid, one.session_uid), deliveries.c.seq == one.seq)
