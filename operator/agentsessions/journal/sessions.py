"""The read model of the resources: jobs that keep it, queries over it.

A session's entries begin once its status has a phase. A view older than the stored one (lower generation, earlier
phase, a phase after a final one, a lower version, anything after the deletion) is a watch's echo and changes nothing:
several gateways may watch the same session, and one of them be behind.
"""

from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from agentsessions.api.names import DEFAULT_AGENT
from agentsessions.api.reasons import LimitName, Phase, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.journal import outbox, parts
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, to_usage
from agentsessions.journal.refusals import UnknownSession
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.tables import session_labels, sessions, usage
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.webhooks import Transition

SEARCHED_CHARS: Final = 256
"""How much of name, own id, title, description and goal, one after the other, lists can find texts in."""

_READ_ONLY: Final = frozenset({"usage", "last_at"})

_ROWS: Final = select(sessions, *(c for c in usage.c if c.name != "session_uid")).join(
    usage, usage.c.session_uid == sessions.c.uid
)
_BY_UID: Final = _ROWS.where(sessions.c.uid == bindparam("uid"))
_BY_ID: Final = (
    _ROWS.where(
        sessions.c.namespace == bindparam("namespace"),
        or_(sessions.c.uid == bindparam("id"), sessions.c.name == bindparam("id")),
    )
    # One that was made again in the same second is the one that is there.
    .order_by(
        (sessions.c.uid == bindparam("id")).desc(),
        sessions.c.created_at.desc(),
        sessions.c.deleted_at.is_(None).desc(),
        sessions.c.uid,
    )
    .limit(1)
)
_LIMITS: Final = select(sessions.c.limits).where(sessions.c.uid == bindparam("uid"))


def put_session(work: Work, row: SessionRow) -> None:
    """Store a session as the cluster shows it, and journal its start, goal and phases, each once."""
    stored = find_by_uid(work.conn, row.uid)
    if stored == row or (stored is not None and _is_echo(row, stored)):
        return
    if stored is not None and replace(stored, resource_version=row.resource_version) == row:
        same = update(sessions).where(sessions.c.uid == row.uid)
        work.conn.execute(same.values(resource_version=row.resource_version))
        return
    columns = _to_columns(row) | {"updated_at": work.now}
    if stored is None:
        work.conn.execute(insert(sessions).values(columns))
        work.conn.execute(insert(usage).values(session_uid=row.uid, digest="", has_goal=False))
        parts.enter(work, row.uid, row.spec)
    else:
        before = _to_columns(stored)
        changed = {name: value for name, value in columns.items() if value != before[name]}
        work.conn.execute(update(sessions).where(sessions.c.uid == row.uid).values(changed))
    if row.labels != (stored.labels if stored else {}):
        _put_labels(work, row)
    work.touched.add(row.uid)
    ledger = Ledger(work, row.uid)
    _journal(ledger, row, stored)
    if _allows(row.limits, ledger):
        ledger.clear_limit()
    ledger.save()


def _is_echo(row: SessionRow, stored: SessionRow) -> bool:
    if stored.deleted_at is not None or (stored.phase in TERMINAL and row.phase is not stored.phase):
        return True
    if stored.phase_started_at is not None:
        is_earlier = row.phase_started_at is None or row.phase_started_at < stored.phase_started_at
    else:
        is_earlier = False
    return is_earlier or row.generation < stored.generation or _has_older_version(row, stored)


def _has_older_version(row: SessionRow, stored: SessionRow) -> bool:
    """Compare what two views say of themselves. Of one version there may be two only when the session went between."""
    if row.resource_version is None or stored.resource_version is None:
        return False
    if row.generation > stored.generation or row.phase_started_at != stored.phase_started_at:
        return False  # it is later all the same: the cluster's own database was restored, and counts from before
    is_gone = stored.deleted_at is not None and row.resource_version == stored.resource_version
    return row.resource_version < stored.resource_version or is_gone


def begin(ledger: Ledger, row: SessionRow) -> None:
    """Journal the start and phase of a session behind what it took over from another one."""
    _journal(ledger, row, None)


def _is_to_take_over(ledger: Ledger, row: SessionRow) -> bool:
    """Return whether the chain must not begin yet: its first entry says what it was made from (see `sources`)."""
    return bool(row.spec.get("source") or row.spec.get("replay")) and not ledger.head and row.phase not in TERMINAL


def _journal(ledger: Ledger, row: SessionRow, stored: SessionRow | None) -> None:
    if row.phase is None or _is_to_take_over(ledger, row):
        return
    if stored is None or stored.phase is None or not ledger.head:
        agents = [agent["name"] for agent in row.spec.get("agents") or [{"name": DEFAULT_AGENT}]]
        ledger.append(EntryType.SESSION_START, {"goal": row.goal, "agents": agents, "limits": row.limits.to_json()})
    if row.goal and not row.spec.get("context") and not row.spec.get("source"):
        write_goal(ledger, row.goal)
    if stored is None or (row.phase, row.phase_started_at) != (stored.phase, stored.phase_started_at):
        if row.phase is not Phase.RUNNING:
            ledger.end_idle(row.phase_started_at)  # the gap is one of the phase Running
        reason = row.stop_reason.value if row.stop_reason else row.reason
        spent = _to_spent(ledger)
        seq = ledger.append(EntryType.STATE, {"phase": row.phase.value, "reason": reason, "message": row.message})
        if row.phase in TERMINAL:
            ledger.append(EntryType.DONE, {"phase": row.phase, "stopReason": row.stop_reason, "usage": spent})
        transition = Transition(
            namespace=row.namespace,
            name=row.name,
            uid=row.uid,
            generation=row.generation,
            seq=seq,
            head=ledger.head,
            before=stored.phase if stored else None,
            to=row.phase,
            at=row.phase_started_at or ledger.work.now,
            reason=reason,
            message=row.message,
            usage=spent,
        )
        outbox.note(ledger.work, transition, row.labels)


def _to_spent(ledger: Ledger) -> dict[str, int]:
    spent = ledger.usage
    return {
        "steps": spent.steps,
        "inputTokens": spent.input_tokens,
        "outputTokens": spent.output_tokens,
        "totalTokens": spent.input_tokens + spent.output_tokens,
        "toolCalls": spent.tool_calls,
        "costMicroUSD": spent.cost_micro_usd,
    }


def write_goal(ledger: Ledger, text: str) -> None:
    """Journal the goal message, unless it is there."""
    if not ledger.has_goal:
        ledger.append(EntryType.MESSAGE, {"role": "user", "content": text})
        ledger.mark_goal()


def _allows(limits: EffectiveLimits, ledger: Ledger) -> bool:
    limit, needed = ledger.usage.limit_reached, ledger.limit_needed
    if limit is None or needed is None:
        return False
    return is_allowed(limits, limit, needed)


def is_allowed(limits: EffectiveLimits, limit: LimitName, needed: int) -> bool:
    """Whether a limit leaves room for what would need so much of it."""
    allowed = limit_of(limits, limit)
    return allowed is None or allowed >= needed


def limit_of(limits: EffectiveLimits, limit: LimitName) -> int | None:
    """Return the number of a limit, None where there is none."""
    match limit:
        case LimitName.STEPS:
            return limits.max_steps
        case LimitName.TOKENS:
            return limits.max_tokens
        case LimitName.TOOL_CALLS:
            return limits.max_tool_calls
        case LimitName.COST:
            return limits.max_cost_micro_usd


def mark_deleted(work: Work, uid: str, at: Any) -> None:
    """Note that the resource is gone. The history stays."""
    changed = work.conn.execute(
        update(sessions)
        .where(sessions.c.uid == uid, sessions.c.deleted_at.is_(None))
        .values(deleted_at=at, updated_at=work.now)
    )
    if changed.rowcount:
        work.touched.add(uid)


def limits_in_force(conn: Connection, uid: str) -> EffectiveLimits:
    """Return the limits that the session's status last showed.

    Raises:
        UnknownSession: There is no such session.
    """
    limits = conn.execute(_LIMITS, {"uid": uid}).scalar_one_or_none()
    if limits is None:
        raise UnknownSession(f"session {uid} is not in the journal yet; put_session comes first")
    return EffectiveLimits.model_validate(limits)


def find_by_uid(conn: Connection, uid: str) -> SessionRow | None:
    """Return the session with this uid."""
    row = conn.execute(_BY_UID, {"uid": uid}).mappings().one_or_none()
    return None if row is None else to_row(row)


def find(conn: Connection, id_: str, namespace: str) -> SessionRow | None:
    """Return a namespace's session by its uid, or the newest one with the name."""
    row = conn.execute(_BY_ID, {"id": id_, "namespace": namespace}).mappings().one_or_none()
    return None if row is None else to_row(row)


def _to_columns(row: SessionRow) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in SessionRow.__slots__ if name not in _READ_ONLY}
    columns["limits"] = row.limits.to_json()
    columns["search"] = to_search(row)
    return columns


def to_search(row: SessionRow) -> str:
    """Return what lists look for texts in."""
    parts = (row.name, row.session_id, row.title, row.description, row.goal)
    return "\n".join(part for part in parts if part)[:SEARCHED_CHARS].lower()


def _put_labels(work: Work, row: SessionRow) -> None:
    work.conn.execute(delete(session_labels).where(session_labels.c.session_uid == row.uid))
    rows = [{"session_uid": row.uid, "key": key, "value": value} for key, value in row.labels.items()]
    if rows:
        work.conn.execute(insert(session_labels), rows)


def to_row(row: Any) -> SessionRow:
    """Return the session of a row of the table, joined with its usage."""
    fields = {name: row[name] for name in SessionRow.__slots__ if name != "usage"}
    return SessionRow(
        **{
            **fields,
            "phase": Phase(row["phase"]) if row["phase"] else None,
            "stop_reason": StopReason(row["stop_reason"]) if row["stop_reason"] else None,
            "operating_mode": OperatingMode(row["operating_mode"]),
            "limits": EffectiveLimits.model_validate(row["limits"]),
        },
        usage=to_usage(row),
    )
