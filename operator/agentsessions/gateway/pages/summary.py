"""What a session's header says: where it is, why, what it spent, and what a person can do about it. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.tail import Standing

MICRO: Final = 1_000_000
MINUTE, HOUR, DAY = 60, 3600, 86_400

NEEDS_YOU: Final = {
    Phase.WAITING: "Decide what it waits for.",
    Phase.FAILED: "Read why it failed; mend that, and start another session.",
    Phase.EXPIRED: "Nobody talked to it in time; start another session to go on.",
}
"""Phases in which nothing happens until a person does something."""
LIMIT_PAUSES: Final = "Limit"
"""Stop reasons of a session that a limit stopped end so."""
BUSY: Final = frozenset({Phase.STARTING, Phase.RUNNING, Phase.PAUSING, Phase.CANCELLING})


@dataclass(frozen=True, slots=True)
class Gauge:
    """One thing that is spent, and how much of it may be."""

    label: str
    used: int
    limit: int | None
    text: str

    @property
    def is_near(self) -> bool:
        """Whether nine tenths are gone."""
        return self.limit is not None and self.used * 10 >= self.limit * 9


def advice(row: SessionRow) -> str:
    """Return what a person should do about a session; nothing when it needs nobody."""
    if row.phase is Phase.PAUSED:
        if (row.stop_reason or "").endswith(LIMIT_PAUSES):
            return "Raise the limit to let it go on."
        return "Resume it when it is to go on."
    return NEEDS_YOU.get(row.phase or Phase.PENDING, "")


def needs_person(row: SessionRow) -> bool:
    """Return whether a session waits for a person: lists show it first."""
    is_stopped = row.phase is Phase.PAUSED and (row.stop_reason or "").endswith(LIMIT_PAUSES)
    return is_stopped or row.phase is Phase.WAITING


def to_gauges(spent: Standing, limits: EffectiveLimits) -> list[Gauge]:
    """Return what was spent, each beside its limit."""
    tokens = spent.input_tokens + spent.output_tokens
    money = to_money(spent.cost_micro_usd)
    return [
        Gauge("Steps", spent.steps, limits.max_steps, _of(f"{spent.steps:,}", limits.max_steps)),
        Gauge("Tokens", tokens, limits.max_tokens, _of(f"{tokens:,}", limits.max_tokens)),
        Gauge(
            "Tool calls", spent.tool_calls, limits.max_tool_calls, _of(f"{spent.tool_calls:,}", limits.max_tool_calls)
        ),
        Gauge(
            "Cost",
            spent.cost_micro_usd,
            limits.max_cost_micro_usd,
            money if limits.max_cost_micro_usd is None else f"{money} of {to_money(limits.max_cost_micro_usd)}",
        ),
    ]


def _of(used: str, limit: int | None) -> str:
    return used if limit is None else f"{used} of {limit:,}"


def to_money(micro_usd: int) -> str:
    """Return an amount in dollars, small ones with their digits."""
    return f"${micro_usd / MICRO:,.2f}" if micro_usd >= MICRO or not micro_usd else f"${micro_usd / MICRO:.4f}"


def to_age(since: datetime, now: datetime) -> str:
    """Return a span as kubectl prints it: its two greatest parts at most."""
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 2 * MINUTE:
        return f"{seconds}s"
    if seconds < 2 * HOUR:
        return f"{seconds // MINUTE}m"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR}h"
    return f"{seconds // DAY}d"


def to_command(row: SessionRow, verb: str) -> str:
    """Return the kubectl command that does what a button does."""
    patch = f'{{"spec":{{"operatingMode":"{verb}"}}}}'
    return f"kubectl patch agentsession {row.name} -n {row.namespace} --type=merge -p '{patch}'"


def to_acts(row: SessionRow) -> tuple[str, ...]:
    """Return what can be done with a session now: pause, resume, cancel."""
    if row.deleted_at is not None or row.phase in {Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED, Phase.EXPIRED}:
        return ()
    if row.operating_mode == "Cancelled":
        return ()
    return ("resume" if row.operating_mode == "Paused" else "pause", "cancel")
