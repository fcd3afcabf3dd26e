"""What a purchase is charged: on its row, and in the counters of its session. Shared by all that ends one.

A charge goes by the prices that stood in the row when the call was reserved, and is made once: a row that is over is
never charged again.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, literal_column, select

from agentsessions.api.v1alpha1.provider import ModelPrices
from agentsessions.journal import limits, parts, prepared
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.refusals import UnknownCall
from agentsessions.journal.rows import Columns, TokenUsage
from agentsessions.journal.tables import model_calls
from agentsessions.journal.writer import Work


class CallState(StrEnum):
    """Where a purchase is."""

    OPEN = "open"
    SETTLED = "settled"
    FAILED = "failed"
    LOST = "lost"


def is_in(state: CallState) -> ColumnElement[bool]:
    """Return the condition that a purchase is in a state.

    It is written out: for a parameter SQLite plans anew at each run, as one value of it may go by an index of its own.
    """
    return model_calls.c.state == literal_column(f"'{state}'")


_BY_ID: Final = Prepared(select(model_calls).where(model_calls.c.id == bindparam("call_id")))


def find_call(work: Work, call_id: int) -> Columns:
    """Return the row of a purchase.

    Raises:
        UnknownCall: There is no such call.
    """
    row = _BY_ID.row(work, call_id=call_id)
    if row is None:
        raise UnknownCall(f"there is no model call {call_id}")
    return row


def update_call(work: Work, row: Columns, **values: Any) -> None:
    """Change the row of a purchase."""
    prepared.change(work, model_calls, {"id": row["id"]}, **values)


def place_of(row: Any) -> Place:
    """Return where the entries of a purchase belong."""
    return Place(row["agent"], row["epoch"], row["round"], row["step"])


def charge(ledger: Ledger, row: Columns, spent: TokenUsage, *, estimated: bool, now: datetime) -> dict[str, Any]:
    """Count what a purchase used, and return what its row must say of it."""
    cost = cost_of(row, spent)
    parts.count(ledger, row["agent"], spent.input_tokens + spent.output_tokens)
    ledger.count(steps=1, input_tokens=spent.input_tokens, output_tokens=spent.output_tokens, cost_micro_usd=cost or 0)
    return {
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "cost_micro_usd": cost,
        "estimated": estimated,
        "duration_milliseconds": max(0, round((now - row["started_at"]).total_seconds() * 1000)),
    }


def reserved_usage(row: Columns) -> TokenUsage:
    """Return what a purchase may use in full."""
    return TokenUsage(row["estimate_tokens"], row["cap_tokens"] or 0)


def estimated_usage(row: Columns, answer_bytes: int) -> TokenUsage:
    """Return what a purchase used that brought so much of an answer, when the provider did not say."""
    output_tokens = limits.estimate_input(answer_bytes, None)
    cap = output_tokens if row["cap_tokens"] is None else row["cap_tokens"]
    return TokenUsage(row["estimate_tokens"], min(output_tokens, cap))


def cost_of(row: Columns, spent: TokenUsage) -> int | None:
    """Return what tokens cost by the prices of a row, in micro-USD; None when its model has no prices."""
    if row["input_micro_usd_per_million"] is None:
        return None
    prices = ModelPrices(
        input_micro_usd_per_million=row["input_micro_usd_per_million"],
        output_micro_usd_per_million=row["output_micro_usd_per_million"],
    )
    return limits.cost_of(prices, spent.input_tokens, spent.output_tokens)
