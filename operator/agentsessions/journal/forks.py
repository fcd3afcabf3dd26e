"""Copies the first steps of a session into the journal of one that goes on from there. A part of a job of the writer.

Entries get places in the chain of their new session, and its uid in their hashes. They belong to no epoch of it
(epoch 0), are stamped with the time of the copy, and cost nothing. What was edited is copied as it says now; what was
deleted is not copied.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select

from agentsessions.api.wire import Outcome
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.recordings import body_of_message, read_said
from agentsessions.journal.rows import TurnKind
from agentsessions.journal.tables import entries, turns
from agentsessions.journal.writer import Work

COPIED: Final = (
    EntryType.MESSAGE,
    EntryType.STEP_START,
    EntryType.THINKING,
    EntryType.OUTPUT,
    EntryType.TOOL_CALL,
    EntryType.TOOL_RESULT,
    EntryType.COMPACTION,
    EntryType.STEP_COMPLETE,
)


@dataclass(slots=True)
class _Places:
    """Where entries of the source are in the copy, which has them one after the other."""

    before: int
    """Seq in front of the first one."""
    copied: list[int] = field(default_factory=list)

    def of(self, seq: int) -> int:
        """Return the seq of the last copied entry up to one of the source."""
        return self.before + bisect_right(self.copied, seq)


def copy(work: Work, ledger: Ledger, source_uid: str, steps: Sequence[Row[Any]]) -> None:
    """Append the entries of steps, with all that was said up to the last one; the session's next turn follows them."""
    played = {(step.round, step.agent, step.answer_step) for step in steps}
    through, places = steps[-1].closed_seq, _Places(ledger.head)
    for page in read_said(work.conn, source_uid, COPIED, through):
        for entry in page:
            if entry.step and (entry.round, entry.agent, entry.step) not in played:
                continue
            body = _body_of(entry, places)
            places.copied.append(entry.seq)
            ledger.append(entry.type, body, Place(entry.agent, 0, entry.round, entry.step))
            if entry.type is EntryType.MESSAGE and not entry.agent:
                ledger.mark_goal()
        ledger.save()
    work.conn.execute(insert(turns), [_to_turn(work, ledger.session_uid, step, places) for step in steps])


def read_goal(conn: Connection, uid: str) -> str | None:
    """Return the message that a session began with; None when people began."""
    query = select(entries.c.body).where(
        entries.c.session_uid == uid, entries.c.type == EntryType.MESSAGE.value, entries.c.agent == ""
    )
    body = conn.execute(query.order_by(entries.c.seq).limit(1)).scalar_one_or_none()
    return None if body is None else str(body["content"])


def _body_of(entry: EntryRow, places: _Places) -> dict[str, Any]:
    body = entry.body or {}
    match entry.type:
        case EntryType.MESSAGE:
            return body_of_message(entry)
        case EntryType.COMPACTION:
            return {**body, "throughSeq": places.of(body["throughSeq"])}
        case EntryType.STEP_COMPLETE:
            free = {"inputTokens": 0, "outputTokens": 0, "estimated": False}
            return {"durationMilliseconds": body.get("durationMilliseconds", 0), **free}
        case _:
            return body


def _to_turn(work: Work, uid: str, step: Row[Any], places: _Places) -> dict[str, Any]:
    return {
        "session_uid": uid,
        "agent": step.agent,
        "round": step.round,
        "k": step.k,
        "kind": TurnKind.COPIED.value,
        "history_seq": places.of(step.history_seq),
        "pinned_at": step.pinned_at,
        # What was the last answer there is one to go on from here.
        "outcome": Outcome.IDLE.value if step.outcome == Outcome.FINAL else step.outcome,
        "answer_step": step.answer_step,
        "closed_seq": places.of(step.closed_seq),
        "closed_at": work.now,
    }
