"""What a pod's job finds, read at once: a statement costs much more than what it looks up. A query.

A job that changed something of it must not look here again.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, exists, select, tuple_

from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.journal import ledger
from agentsessions.journal.entries import EntryType
from agentsessions.journal.refusals import UnknownSession
from agentsessions.journal.rows import Columns, PodIdentity
from agentsessions.journal.tables import approvals, child_sessions, entries, epochs, sessions, turns, usage

_OTHER_EPOCHS: Final = epochs.alias()
_OTHER_TURNS: Final = turns.alias()
_NEWEST_EPOCH: Final = (
    select(_OTHER_EPOCHS.c.epoch)
    .where(_OTHER_EPOCHS.c.session_uid == bindparam("uid"), _OTHER_EPOCHS.c.agent == bindparam("host"))
    .order_by(_OTHER_EPOCHS.c.epoch.desc())
    .limit(1)
)
_NEWEST_TURN: Final = (
    select(_OTHER_TURNS.c.round, _OTHER_TURNS.c.k)
    .where(_OTHER_TURNS.c.session_uid == bindparam("uid"), _OTHER_TURNS.c.agent == bindparam("agent"))
    .order_by(_OTHER_TURNS.c.round.desc(), _OTHER_TURNS.c.k.desc())
    .limit(1)
)
_EPOCH: Final = and_(
    epochs.c.session_uid == sessions.c.uid,
    epochs.c.agent == bindparam("host"),
    epochs.c.epoch == _NEWEST_EPOCH.scalar_subquery(),
)
_TURN: Final = and_(
    turns.c.session_uid == sessions.c.uid,
    turns.c.agent == bindparam("agent"),
    tuple_(turns.c.round, turns.c.k) == _NEWEST_TURN.scalar_subquery(),
)
_ORIGIN: Final = and_(
    entries.c.session_uid == sessions.c.uid, entries.c.seq == 1, entries.c.type == EntryType.SOURCE.value
)
_FIND: Final = (
    select(
        *ledger.COLUMNS,
        *epochs.c,
        *turns.c,
        sessions.c.limits,
        entries.c.body,
        *(exists().where(table.c.session_uid == sessions.c.uid) for table in (child_sessions, approvals)),
    )
    .select_from(sessions)
    .join(usage, usage.c.session_uid == sessions.c.uid)
    .outerjoin(epochs, _EPOCH)
    .outerjoin(turns, _TURN)
    .outerjoin(entries, _ORIGIN)
    .where(sessions.c.uid == bindparam("uid"))
)
_AT: Final = (turns.c.session_uid, turns.c.agent, turns.c.round, turns.c.k)
_TURN_AT: Final = select(turns).where(*(column == bindparam(column.name) for column in _AT))
_USAGE: Final = tuple(column.name for column in ledger.COLUMNS)
_EPOCH_NAMES: Final = tuple(epochs.c.keys())
_TURN_NAMES: Final = tuple(turns.c.keys())
_TURNS_AT: Final = len(_USAGE) + len(_EPOCH_NAMES)
_REST_AT: Final = _TURNS_AT + len(_TURN_NAMES)


@dataclass(frozen=True, slots=True)
class Situation:
    """How a session and one of its agents stood when a job began."""

    usage: Columns
    """What its ledger starts from."""
    epoch: Columns | None
    """The newest one of the pod's host."""
    turn: Columns | None
    """The agent's newest one."""
    stored_limits: dict[str, Any]
    origin: dict[str, Any] | None
    """What the session was made from (see `sources`)."""
    has_children: bool
    """Whether agents of it ever asked for sessions."""
    has_questions: bool
    """Whether calls of it wait for people, or did in turns that are open."""

    @property
    def limits(self) -> EffectiveLimits:
        """Those that the session's status last showed."""
        return EffectiveLimits.model_validate(self.stored_limits)


def find(conn: Connection, session_uid: str, agent: str, host: str) -> Situation:
    """Return how a session stands, and one of its agents, whose pod the fence has under the name of `host`.

    Raises:
        UnknownSession: There is no such session.
    """
    row = conn.execute(_FIND, {"uid": session_uid, "agent": agent, "host": host}).one_or_none()
    if row is None:
        raise UnknownSession(f"session {session_uid} is not in the journal yet; put_session comes first")
    return Situation(
        dict(zip(_USAGE, row, strict=False)),
        _to_columns(_EPOCH_NAMES, row[len(_USAGE) : _TURNS_AT]),
        _to_columns(_TURN_NAMES, row[_TURNS_AT:_REST_AT]),
        *row[_REST_AT:],
    )


def find_of(conn: Connection, pod: PodIdentity) -> Situation:
    """Return how a pod's session stands, and the agent that it plays."""
    return find(conn, pod.session_uid, pod.agent, pod.host)


def find_turn(conn: Connection, found: Situation, of: Columns) -> Columns | None:
    """Return the turn that a row belongs to, which is likely the newest one; None when it belongs to none."""
    key = {column.name: of[column.name] for column in _AT}
    if found.turn is not None and key.items() <= found.turn.items():
        return found.turn
    return conn.execute(_TURN_AT, key).mappings().one_or_none()


def _to_columns(names: tuple[str, ...], values: Any) -> Columns | None:
    """Return a joined row; None when there was none to join."""
    return None if values[0] is None else dict(zip(names, values, strict=True))
