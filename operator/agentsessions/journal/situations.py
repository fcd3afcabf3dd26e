"""What a pod's job finds, read at once: a statement costs much more than what it looks up. A query.

A job that changed something of it must not look here again.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, bindparam, exists, func, select, tuple_

from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.journal import ledger
from agentsessions.journal.charges import CallState, is_in
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.refusals import UnknownSession
from agentsessions.journal.rows import Columns, PodIdentity
from agentsessions.journal.tables import approvals, child_sessions, entries, epochs, model_calls, sessions, turns, usage
from agentsessions.journal.writer import Work

_OTHER_EPOCHS: Final = epochs.alias()
_OTHER_TURNS: Final = turns.alias()
_ORIGINS: Final = entries.alias()
_EPOCH: Final = and_(
    epochs.c.session_uid == sessions.c.uid,
    epochs.c.agent == bindparam("host"),
    epochs.c.epoch
    == select(func.max(_OTHER_EPOCHS.c.epoch))
    .where(_OTHER_EPOCHS.c.session_uid == bindparam("uid"), _OTHER_EPOCHS.c.agent == bindparam("host"))
    .scalar_subquery(),
)
_TURN: Final = and_(
    turns.c.session_uid == sessions.c.uid,
    turns.c.agent == bindparam("agent"),
    tuple_(turns.c.round, turns.c.k)
    == select(_OTHER_TURNS.c.round, _OTHER_TURNS.c.k)
    .where(_OTHER_TURNS.c.session_uid == bindparam("uid"), _OTHER_TURNS.c.agent == bindparam("agent"))
    .order_by(_OTHER_TURNS.c.round.desc(), _OTHER_TURNS.c.k.desc())
    .limit(1)
    .scalar_subquery(),
)
_ORIGIN: Final = and_(
    _ORIGINS.c.session_uid == sessions.c.uid, _ORIGINS.c.seq == 1, _ORIGINS.c.type == EntryType.SOURCE.value
)
_NEWEST_STEP: Final = (
    select(entries)
    .where(
        entries.c.session_uid == bindparam("uid"),
        entries.c.round == func.coalesce(turns.c.round, 1),
        entries.c.agent == bindparam("agent"),
    )
    .order_by(entries.c.step.desc(), entries.c.index.desc())
    .limit(1)
    .correlate(turns)
)
_FIND: Final = Prepared(
    select(
        *ledger.COLUMNS,
        *epochs.c,
        *turns.c,
        sessions.c.limits,
        _ORIGINS.c.body,
        _NEWEST_STEP.with_only_columns(entries.c.step).scalar_subquery(),
        _NEWEST_STEP.with_only_columns(entries.c.index).scalar_subquery(),
        exists().where(model_calls.c.session_uid == sessions.c.uid, is_in(CallState.OPEN)),
        exists().where(child_sessions.c.session_uid == sessions.c.uid),
        exists().where(approvals.c.session_uid == sessions.c.uid),
    )
    .select_from(sessions)
    .join(usage, usage.c.session_uid == sessions.c.uid)
    .outerjoin(epochs, _EPOCH)
    .outerjoin(turns, _TURN)
    .outerjoin(_ORIGINS, _ORIGIN)
    .where(sessions.c.uid == bindparam("uid"))
)
_AT: Final = (turns.c.session_uid, turns.c.agent, turns.c.round, turns.c.k)
_TURN_AT: Final = Prepared(select(turns).where(*(column == bindparam(column.name) for column in _AT)))
_USAGE: Final = tuple(column.name for column in ledger.COLUMNS)
_EPOCH_NAMES: Final = tuple(epochs.c.keys())
_TURN_NAMES: Final = tuple(turns.c.keys())
_TURN_FROM: Final = len(_USAGE) + len(_EPOCH_NAMES)
_REST_FROM: Final = _TURN_FROM + len(_TURN_NAMES)


@dataclass(frozen=True, slots=True)
class Situation:
    """How a session and one of its agents stood when a job began."""

    agent: str
    usage: Columns
    """What its ledger starts from."""
    epoch: Columns | None
    """The newest one of the pod's host."""
    turn: Columns | None
    """The agent's newest one."""
    stored_limits: dict[str, Any]
    origin: dict[str, Any] | None
    """What the session was made from (see `sources`)."""
    step: int | None
    """The agent's newest one in the round of its turn; 0 or None when it has none."""
    step_index: int | None
    """Of that step's last entry."""
    has_open_calls: bool
    """Whether model calls of any agent are under way."""
    has_children: bool
    """Whether agents of it ever asked for sessions."""
    has_questions: bool
    """Whether calls of it wait for people, or did in turns that are open."""

    @property
    def limits(self) -> EffectiveLimits:
        """Those that the session's status last showed."""
        return EffectiveLimits.model_validate(self.stored_limits)

    @property
    def newest_step(self) -> int:
        """The agent's newest step in the round of its turn, 0 before the first."""
        return self.step or 0

    def open_ledger(self, work: Work) -> Ledger:
        """Return the session's ledger. Once in a job, and before anything else changed it."""
        round_ = 1 if self.turn is None else self.turn["round"]
        lengths = {(self.agent, round_, self.newest_step + 1): 0}
        if self.step:
            lengths[self.agent, round_, self.step] = (self.step_index or 0) + 1
        return Ledger(work, self.usage["session_uid"], self.usage, lengths)


def find(work: Work, pod: PodIdentity) -> Situation:
    """Return how a pod's session stands, and the agent that it plays.

    Raises:
        UnknownSession: There is no such session.
    """
    row = _FIND.values(work, uid=pod.session_uid, agent=pod.agent, host=pod.host)
    if row is None:
        raise UnknownSession(f"session {pod.session_uid} is not in the journal yet; put_session comes first")
    return Situation(
        pod.agent,
        dict(zip(_USAGE, row, strict=False)),
        _to_columns(_EPOCH_NAMES, row[len(_USAGE) : _TURN_FROM]),
        _to_columns(_TURN_NAMES, row[_TURN_FROM:_REST_FROM]),
        *row[_REST_FROM:],
    )


def find_turn(work: Work, found: Situation, of: Columns) -> Columns | None:
    """Return the turn that a row belongs to, which is likely the newest one; None when it belongs to none."""
    key = {column.name: of[column.name] for column in _AT}
    if found.turn is not None and key.items() <= found.turn.items():
        return found.turn
    return _TURN_AT.row(work, **key)


def _to_columns(names: tuple[str, ...], values: Any) -> Columns | None:
    """Return a joined row; None when there was none to join."""
    return None if values[0] is None else dict(zip(names, values, strict=True))
