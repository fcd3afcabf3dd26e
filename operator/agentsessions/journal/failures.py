"""Purchases that end without an answer to relay. Jobs of the writer.

What the provider will want to be paid is charged, the rest of the reservation is released.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select

from agentsessions.api.reasons import LIMIT_CODES, ErrorCode, LimitName
from agentsessions.journal import sessions
from agentsessions.journal.charges import (
    CallState,
    charge,
    cost_of,
    estimated_usage,
    find_call,
    is_in,
    place_of,
    reserved_usage,
    update_call,
)
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger
from agentsessions.journal.refusals import LimitReached
from agentsessions.journal.rows import CallFailure, Columns, PartialAnswer, TokenUsage
from agentsessions.journal.tables import model_calls
from agentsessions.journal.writer import Work

FIELDS: Final = {LimitName.TOKENS: "maxTokens", LimitName.COST: "maxCostMicroUSD"}
"""Limits that cap an answer, as the spec names them."""
_IS_OPEN: Final = is_in(CallState.OPEN)


def cut_by_limit(work: Work, ledger: Ledger, row: Columns, spent: TokenUsage, *, estimated: bool) -> LimitReached:
    """Charge an answer that a limit of the session cut short: half an answer is no result."""
    limit = LimitName(row["capped_by"])
    field, code = FIELDS[limit], LIMIT_CODES[limit].value
    values = charge(ledger, row, spent, estimated=estimated, now=work.now)
    message = f"the answer was cut at {row['cap_tokens']} tokens, all that {field} left for it: raise {field} to go on"
    _end(work, ledger, row, CallState.FAILED, code, message, values)
    used, again = ledger.usage, reserved_usage(row)
    if limit is LimitName.COST:
        needed = used.cost_micro_usd + (cost_of(row, again) or 0)
    else:
        needed = used.input_tokens + used.output_tokens + again.input_tokens + again.output_tokens
    # One that was raised while the answer came stops nothing any more: the same call will be let through.
    if not sessions.is_allowed(sessions.limits_in_force(work.conn, row["session_uid"]), limit, needed):
        ledger.mark_limit(limit, message, needed)
    ledger.save()
    return LimitReached(limit, message)


def fail(work: Work, call_id: int, failure: CallFailure) -> None:
    """Release a reservation whose purchase failed, or charge it. A call that is over already stays as it is.

    Raises:
        UnknownCall: There is no such call.
    """
    row = find_call(work, call_id)
    if row["state"] != CallState.OPEN:
        return
    ledger = Ledger(work, row["session_uid"])
    values: dict[str, Any] = {"retry_at": failure.retry_at}
    if failure.charged:
        spent = failure.usage or reserved_usage(row)
        values |= charge(ledger, row, spent, estimated=failure.usage is None, now=work.now)
    _end(work, ledger, row, CallState.FAILED, failure.code, failure.message, values)
    ledger.save()


def break_off(work: Work, call_id: int, code: str, message: str, received: Sequence[PartialAnswer]) -> None:
    """Charge what was used of a purchase until it was broken off. A call that is over already stays as it is.

    Args:
        work: The job's.
        call_id: The purchase.
        code: Why, in a word.
        message: Why, in a sentence.
        received: Of each request that reached the provider; none when nothing was asked of it yet.

    Raises:
        UnknownCall: There is no such call.
    """
    row = find_call(work, call_id)
    if row["state"] != CallState.OPEN:
        return
    ledger = Ledger(work, row["session_uid"])
    values: dict[str, Any] = {}
    if received:
        parts = [part.reported or estimated_usage(row, part.received_bytes) for part in received]
        spent = TokenUsage(sum(part.input_tokens for part in parts), sum(part.output_tokens for part in parts))
        values = charge(ledger, row, spent, estimated=True, now=work.now)
    _end(work, ledger, row, CallState.FAILED, code, message, values)
    ledger.save()


def recover(work: Work, owner: str | None = None) -> int:
    """Charge in full what a gateway was buying when it died; return how many calls that were.

    Args:
        work: The job's.
        owner: That gateway; None for all.
    """
    found = select(model_calls).where(_IS_OPEN)
    if owner is not None:
        found = found.where(model_calls.c.owner == owner)
    rows = work.conn.execute(found.order_by(model_calls.c.id)).mappings().all()
    for row in rows:
        ledger = Ledger(work, row["session_uid"])
        values = charge(ledger, row, reserved_usage(row), estimated=True, now=work.now)
        message = "the gateway stopped while it bought this answer: charged in full, as estimated"
        _end(work, ledger, row, CallState.LOST, ErrorCode.NETWORK.value, message, values)
        ledger.save()
    return len(rows)


def owners(work: Work) -> list[str]:
    """Return the gateways that buy something."""
    return list(work.conn.scalars(select(model_calls.c.owner).where(_IS_OPEN).distinct()))


def _end(
    work: Work, ledger: Ledger, row: Columns, state: CallState, code: str, message: str, values: dict[str, Any]
) -> None:
    update_call(work, row, state=state.value, error_code=code, error_message=message, **values)
    ledger.append(EntryType.ERROR, {"code": code, "message": message}, place_of(row))
