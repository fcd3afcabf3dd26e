"""The fence: which pod speaks for an agent. Jobs of the writer, and the look-up of a pod.

Rows come from the sessions' status alone. The newest epoch of an agent is the one that may write; each write of a pod
is compared with it in the transaction that commits the write. An epoch keeps the first pod it was given. A pod that
several agents share is here once, under the name of its host.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from agentsessions.api.wire import Outcome
from agentsessions.journal import prepared
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.refusals import NothingToPlay, StaleEpoch, UnknownSession
from agentsessions.journal.rows import Columns, PodIdentity
from agentsessions.journal.tables import epochs, sessions
from agentsessions.journal.writer import Work

_NEWEST: Final = Prepared(
    select(epochs)
    .where(epochs.c.session_uid == bindparam("uid"), epochs.c.agent == bindparam("agent"))
    .order_by(epochs.c.epoch.desc())
    .limit(1)
)

_COUNT_TURN: Final = Prepared(
    update(epochs)
    .where(
        epochs.c.session_uid == bindparam("uid"),
        epochs.c.agent == bindparam("of_agent"),
        epochs.c.epoch == bindparam("of_epoch"),
    )
    .values(turns=epochs.c.turns + 1)
)
_OTHERS: Final = epochs.alias("newest")
_BY_POD: Final = (
    select(
        epochs.c.session_uid,
        sessions.c.namespace,
        sessions.c.name,
        epochs.c.agent,
        epochs.c.epoch,
        epochs.c.pod_uid,
        select(func.max(_OTHERS.c.epoch))
        .where(_OTHERS.c.session_uid == epochs.c.session_uid, _OTHERS.c.agent == epochs.c.agent)
        .scalar_subquery()
        .label("current"),
    )
    .join(sessions, sessions.c.uid == epochs.c.session_uid)
    .where(epochs.c.pod_uid == bindparam("pod_uid"))
)


def raise_fence(work: Work, session_uid: str, agent: str, epoch: int, pod_uid: str) -> bool:
    """Note that a pod speaks for an epoch; return whether it does now. The same again changes nothing."""
    known = work.conn.execute(
        select(epochs.c.session_uid, epochs.c.agent, epochs.c.epoch, epochs.c.pod_uid).where(
            or_(
                epochs.c.pod_uid == pod_uid,
                (epochs.c.session_uid == session_uid) & (epochs.c.agent == agent) & (epochs.c.epoch == epoch),
            )
        )
    ).all()
    if known:
        return tuple(known[0]) == (session_uid, agent, epoch, pod_uid)
    if work.conn.scalar(select(sessions.c.uid).where(sessions.c.uid == session_uid)) is None:
        raise UnknownSession(f"session {session_uid} is not in the journal yet; put_session comes first")
    work.conn.execute(
        insert(epochs).values(
            session_uid=session_uid, agent=agent, epoch=epoch, pod_uid=pod_uid, fenced_at=work.now, turns=0
        )
    )
    work.touched.add(session_uid)
    return True


def find_pod(conn: Connection, pod_uid: str) -> PodIdentity | None:
    """Return whom a pod speaks for, or None when no status has named it yet."""
    row = conn.execute(_BY_POD, {"pod_uid": pod_uid}).mappings().one_or_none()
    if row is None:
        return None
    fields: dict[str, Any] = dict(row)
    current = fields.pop("current")
    return PodIdentity(**fields, is_current=fields["epoch"] == current)


@dataclass(frozen=True, slots=True)
class Closing:
    """How an epoch ended."""

    outcome: Outcome
    code: str | None = None
    message: str | None = None
    retry_at: datetime | None = None


def require_current(work: Work, pod: PodIdentity) -> Columns:
    """Return the pod's epoch, closed or not.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
    """
    return check_current(pod, _NEWEST.row(work, uid=pod.session_uid, agent=pod.host))


def check_current(pod: PodIdentity, row: Columns | None) -> Columns:
    """Return the newest epoch of the pod's agent, which must be the pod's.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
    """
    if row is None or row["epoch"] != pod.epoch or row["pod_uid"] != pod.pod_uid:
        allowed = "none" if row is None else f"epoch {row['epoch']}"
        raise StaleEpoch(
            f"pod {pod.pod_uid} of {pod.namespace}/{pod.name} asks as epoch {pod.epoch} of agent {pod.agent}, "
            f"but {allowed} may write now; this pod must end"
        )
    return row


def require_open(work: Work, pod: PodIdentity) -> Columns:
    """Return the pod's epoch, which it has not closed.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        NothingToPlay: The pod closed its epoch.
    """
    return check_open(pod, require_current(work, pod))


def check_open(pod: PodIdentity, newest: Columns | None) -> Columns:
    """Return the newest epoch of the pod's agent, which must be the pod's, and open.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        NothingToPlay: The pod closed its epoch.
    """
    row = check_current(pod, newest)
    if row["outcome"] is not None:
        raise NothingToPlay(
            f"epoch {pod.epoch} of agent {pod.agent} of {pod.namespace}/{pod.name} is closed ({row['outcome']})"
        )
    return row


def close_epoch(work: Work, pod: PodIdentity, closing: Closing) -> None:
    """Write the closing record of the pod's epoch."""
    prepared.change(
        work,
        epochs,
        {"session_uid": pod.session_uid, "agent": pod.host, "epoch": pod.epoch},
        outcome=closing.outcome.value,
        code=closing.code,
        message=closing.message,
        retry_at=closing.retry_at,
    )
    work.touched.add(pod.session_uid)


def note_open_egress(work: Work, pod: PodIdentity) -> None:
    """Note that the pod reaches what it must not. Again changes nothing; nobody is woken by it."""
    of_epoch = {"session_uid": pod.session_uid, "agent": pod.host, "epoch": pod.epoch}
    prepared.change(work, epochs, of_epoch, is_egress_open=True)


def count_turn(work: Work, session_uid: str, agent: str, epoch: int) -> None:
    """Count a turn for an epoch."""
    _COUNT_TURN.run(work, uid=session_uid, of_agent=agent, of_epoch=epoch)
