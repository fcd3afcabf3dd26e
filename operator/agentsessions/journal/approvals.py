"""Calls that people decide: asked by `tools.begin`, decided once, told to the epoch that plays the turn next.

There is one row for each call that was ever asked about while its turn is open: the newest question. Only a question
that waits can be decided, so that a decision that comes twice, or late, changes nothing.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, delete, insert, select, update

from agentsessions.api.v1alpha1.approval import MAX_SHOWN_ARGUMENTS, ApprovalKind, ApprovalOutcome, ApprovalRequest
from agentsessions.journal import prepared
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.rows import Columns, PodIdentity
from agentsessions.journal.tables import approvals
from agentsessions.journal.writer import Work

MOST_SHOWN: Final = 16
"""Questions of one session that its level tells; the others follow as these are decided."""

_KEY: Final = ("session_uid", "agent", "round", "call_id")
_OF_CALL: Final = Prepared(select(approvals).where(*(approvals.c[name] == bindparam(name) for name in _KEY)))
_WITHDRAW: Final = delete(approvals).where(
    *(approvals.c[name] == bindparam(f"of_{name}") for name in _KEY), approvals.c.outcome.is_(None)
)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a question came to."""

    session_uid: str
    agent: str
    round: int
    call_id: str
    number: int
    outcome: ApprovalOutcome
    by: tuple[str, ...] = ()
    """User names, as the API server knew them; none when the time ran out."""
    reason: str | None = None
    output: str | None = None
    """With Happened: the call's result."""


def find(work: Work, pod: PodIdentity, call: Columns) -> Columns | None:
    """Return the newest question about a call."""
    return _OF_CALL.row(work, **_key_of(pod, call))


def ask(ledger: Ledger, pod: PodIdentity, call: Columns, request: ApprovalRequest) -> None:
    """Write a question, in place of an older one about the same call, and journal it."""
    work = ledger.work
    prepared.remove(work, approvals, _key_of(pod, call))
    work.conn.execute(
        insert(approvals).values(
            session_uid=pod.session_uid,
            agent=pod.agent,
            round=call["round"],
            call_id=call["call_id"],
            number=request.number,
            k=call["k"],
            asked_epoch=pod.epoch,
            asked_at=work.now,
            request=request.to_json(),
        )
    )
    ledger.append(
        EntryType.APPROVAL,
        {
            "callId": request.call_id,
            "name": request.tool,
            "kind": request.kind.value,
            "number": request.number,
            "outcome": "Pending",
            "message": request.message,
        },
        Place(pod.agent, pod.epoch, call["round"], call["step"]),
    )
    ledger.save()


def note_asked_again(work: Work, pod: PodIdentity, row: Columns) -> None:
    """Note that this epoch was told to wait."""
    if row["asked_epoch"] != pod.epoch:
        prepared.change(work, approvals, _key_of(pod, row), asked_epoch=pod.epoch)


def note_used(work: Work, pod: PodIdentity, row: Columns) -> None:
    """Note that this epoch runs the call: what a later one finds begun is in doubt again."""
    prepared.change(work, approvals, _key_of(pod, row), used_epoch=pod.epoch)


def has_asked(work: Work, pod: PodIdentity, turn: Columns) -> bool:
    """Tell whether this epoch was told to wait for a person in a turn."""
    query = select(approvals.c.call_id).where(*_of_turn(pod, turn), approvals.c.asked_epoch == pod.epoch)
    return work.conn.scalar(query.limit(1)) is not None


def withdraw(work: Work, pod: PodIdentity, call: Columns) -> None:
    """Take back a question about a call that has its result: nobody need decide any more."""
    work.conn.execute(_WITHDRAW, {f"of_{name}": value for name, value in _key_of(pod, call).items()})


def forget(work: Work, pod: PodIdentity, turn: Columns) -> None:
    """Remove the questions of a turn that is closed: the entries tell of them, and hold no copy of what was said."""
    key = {"session_uid": pod.session_uid, "agent": pod.agent, "round": turn["round"], "k": turn["k"]}
    prepared.remove(work, approvals, key)


def decide(work: Work, decided: Decided) -> bool:
    """Note what a question came to; tell whether it waited for that."""
    where = (
        approvals.c.session_uid == decided.session_uid,
        approvals.c.agent == decided.agent,
        approvals.c.round == decided.round,
        approvals.c.call_id == decided.call_id,
        approvals.c.number == decided.number,
        approvals.c.outcome.is_(None),
    )
    row = work.conn.execute(select(approvals).where(*where)).mappings().one_or_none()
    if row is None:
        return False
    values = {"outcome": decided.outcome.value, "reason": decided.reason, "output": decided.output}
    work.conn.execute(update(approvals).where(*where).values(**values))
    request = ApprovalRequest.model_validate(row["request"])
    body = {
        "callId": decided.call_id,
        "name": request.tool,
        "kind": request.kind.value,
        "number": decided.number,
        "outcome": decided.outcome.value,
        "by": list(decided.by),
        **({"reason": decided.reason} if decided.reason else {}),
    }
    ledger = Ledger(work, decided.session_uid)
    ledger.append(EntryType.APPROVAL, body, Place(row["agent"], row["asked_epoch"], row["round"], request.step))
    ledger.save()
    return True


@cache
def _pending(asked: Select[str]) -> Select[Any]:
    return (
        select(approvals.c.session_uid, approvals.c.request)
        .where(approvals.c.outcome.is_(None), approvals.c.session_uid.in_(asked))
        .order_by(approvals.c.asked_at, approvals.c.call_id)
    )


def read_pending(conn: Connection, asked: Select[str], given: Mapping[str, Any]) -> dict[str, list[ApprovalRequest]]:
    """Return the questions that wait, by session uid, oldest first.

    Args:
        conn: The journal.
        asked: A query for the uids of the sessions that are asked about; one of few, as ours is kept for each.
        given: Its parameters.
    """
    found: dict[str, list[ApprovalRequest]] = defaultdict(list)
    for row in conn.execute(_pending(asked), given):
        if len(found[row.session_uid]) < MOST_SHOWN:
            found[row.session_uid].append(ApprovalRequest.model_validate(row.request))
    return found


def to_request(call: Columns, kind: ApprovalKind, arguments: str, number: int, **more: Any) -> ApprovalRequest:
    """Return the question about a call."""
    return ApprovalRequest(
        kind=kind,
        number=number,
        agent=call["agent"],
        round=call["round"],
        step=call["step"],
        call_id=call["call_id"],
        tool=call["name"][:64],
        arguments=arguments[:MAX_SHOWN_ARGUMENTS],
        arguments_truncated=len(arguments) > MAX_SHOWN_ARGUMENTS or None,
        arguments_digest=hashlib.sha256(arguments.encode(errors="replace")).hexdigest(),
        **more,
    )


def _key_of(pod: PodIdentity, call: Columns) -> dict[str, Any]:
    return {
        "session_uid": pod.session_uid,
        "agent": pod.agent,
        "round": call["round"],
        "call_id": call["call_id"],
    }


def _of_turn(pod: PodIdentity, turn: Columns) -> tuple[Any, ...]:
    return (
        approvals.c.session_uid == pod.session_uid,
        approvals.c.agent == pod.agent,
        approvals.c.round == turn["round"],
        approvals.c.k == turn["k"],
    )
