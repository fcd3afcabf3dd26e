"""Epochs that end in the midst of a turn: by an error, or until a person has decided. Jobs of the writer.

The turn stays open, and the next epoch plays it again.
"""

from typing import Any, Final

from sqlalchemy import select

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.wire import Commit, Outcome
from agentsessions.journal import approvals, compaction, fences
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.refusals import TurnMismatch
from agentsessions.journal.rows import Columns, Course, PodIdentity
from agentsessions.journal.tables import model_calls
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.retry import Action, rule_of

_ERROR_CODES: Final = frozenset(code.value for code in ErrorCode)


def close_with_error(
    work: Work, pod: PodIdentity, turn: Columns, asked: Commit, closed_as: str | None, course: Course
) -> str:
    """Close the epoch, or the turn alone when a shorter conversation may help; return how."""
    if closed_as == Outcome.ERROR:
        return Outcome.ERROR
    if closed_as is not None:
        raise TurnMismatch(f"epoch {pod.epoch} of {who(pod)} is closed as {closed_as}, not as error")
    closing = _recorded_error(work, pod, turn)
    is_too_long = closing is not None and rule_of(closing.code or "").action is Action.COMPACT
    if is_too_long and compaction.begin(work, turn, course.max_history):
        return compaction.COMPACTED
    if closing is None:
        code = asked.error.code if asked.error else ErrorCode.RUNNER_ERROR
        message = asked.error.message if asked.error else "the runner gave no reason"
        ledger = Ledger(work, pod.session_uid)
        ledger.append(
            EntryType.ERROR, {"code": code.value, "message": message}, Place(pod.agent, pod.epoch, turn["round"])
        )
        ledger.save()
        closing = fences.Closing(Outcome.ERROR, code.value, message)
    fences.close_epoch(work, pod, closing)
    return Outcome.ERROR


def close_to_wait(work: Work, pod: PodIdentity, turn: Columns, closed_as: str | None) -> Outcome:
    """Close the epoch until a person has decided; the turn stays open."""
    if closed_as == Outcome.WAITING:
        return Outcome.WAITING
    if closed_as is not None:
        raise TurnMismatch(f"epoch {pod.epoch} of {who(pod)} is closed as {closed_as}, not as waiting")
    if not approvals.has_asked(work, pod, turn):
        raise TurnMismatch(f"no call of turn {turn['k']} of {who(pod)} waits for a person: play on")
    fences.close_epoch(work, pod, fences.Closing(Outcome.WAITING))
    return Outcome.WAITING


def _recorded_error(work: Work, pod: PodIdentity, turn: Columns) -> fences.Closing | None:
    """Return what the gateway itself saw fail last in this epoch's turn: it beats the runner's claim."""
    row = work.conn.execute(
        select(model_calls.c.state, model_calls.c.error_code, model_calls.c.error_message, model_calls.c.retry_at)
        .where(*calls_of(pod, turn), model_calls.c.epoch == pod.epoch)
        .order_by(model_calls.c.step.desc())
        .limit(1)
    ).one_or_none()
    if row is None or row.state != "failed" or row.error_code not in _ERROR_CODES:
        return None
    return fences.Closing(Outcome.ERROR, row.error_code, row.error_message, retry_at=row.retry_at)


def calls_of(pod: PodIdentity, turn: Columns) -> tuple[Any, ...]:
    """Return the condition of the purchases for a turn."""
    return (
        model_calls.c.session_uid == pod.session_uid,
        model_calls.c.agent == pod.agent,
        model_calls.c.round == turn["round"],
        model_calls.c.k == turn["k"],
    )


def who(pod: PodIdentity) -> str:
    """Return whose turn it is, for people."""
    return f"agent {pod.agent} of {pod.namespace}/{pod.name}"
