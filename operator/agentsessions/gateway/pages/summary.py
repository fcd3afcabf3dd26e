"""What a session's header says: where it is, why, what it spent, and what a person can do about it. Pure."""

import json
import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.journal.acts import Act
from agentsessions.journal.lists import ListedSession
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.tail import Standing
from agentsessions.lifecycle.approvals import ApprovalView
from agentsessions.lifecycle.phases import TERMINAL

ACCOUNT_PREFIX: Final = "system:serviceaccount:"
MICRO: Final = 1_000_000
THOUSAND: Final = 1000
MINUTE, HOUR, DAY = 60, 3600, 86_400

NEXT_STEPS: Final = {
    Phase.QUEUED: "It waits for a place: the namespace's quota is used up.",
    Phase.IDLE: "It waits for a message.",
    Phase.PAUSED: "Resume it when it is to go on.",
    Phase.WAITING: "It waits for a person's decision.",
    Phase.FAILED: "See below what it did last; mend that, and begin another session.",
    Phase.EXPIRED: "Nobody came back to it in time; begin another session to go on.",
}
"""What a person may do about a session, where that is not plain."""
LIMITS: Final = {
    StopReason.STEP_LIMIT: "maxSteps",
    StopReason.TOKEN_LIMIT: "maxTokens",
    StopReason.COST_LIMIT: "maxCostMicroUSD",
    StopReason.TOOL_CALL_LIMIT: "maxToolCalls",
    StopReason.TIMEOUT: "timeoutSeconds",
}
"""Why a limit stopped a session, and the field that holds it."""
STOPPED: Final = (Phase.WAITING, Phase.PAUSED)
"""Phases in which a session may need a person to go on."""
MODES: Final = {
    Act.PAUSE: OperatingMode.PAUSED,
    Act.RESUME: OperatingMode.RUNNING,
    Act.CANCEL: OperatingMode.CANCELLED,
}
"""What the buttons ask for."""


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


@dataclass(frozen=True, slots=True)
class PhaseAt:
    """Where a session was, and why."""

    name: str
    reason: str
    message: str


def phase_at(row: SessionRow, standing: Standing, *, is_now: bool) -> PhaseAt:
    """Return where a session is now, or was at an entry."""
    if is_now:
        return PhaseAt(row.phase or Phase.PENDING, row.stop_reason or row.reason, row.message)
    body = (standing.state.body if standing.state else None) or {}
    return PhaseAt(body.get("phase", Phase.PENDING), body.get("reason", ""), body.get("message", ""))


def advice(row: SessionRow) -> str:
    """Return what a person may do about a session; nothing when it needs nobody."""
    if row.deleted_at is not None:
        return "Its resource was deleted; this is its journal."
    if row.phase is Phase.PAUSED and row.stop_reason in LIMITS:
        return "It goes on when the limit is raised."
    return NEXT_STEPS.get(row.phase or Phase.PENDING, "")


@dataclass(frozen=True, slots=True)
class Raise:
    """A limit that stopped a session, and a higher one to offer."""

    field: str
    limit: int
    offer: int


def to_raise(row: SessionRow) -> Raise | None:
    """Return what would let a session go on that a limit stopped."""
    if row.phase is not Phase.PAUSED or row.stop_reason not in LIMITS or row.deleted_at is not None:
        return None
    field = LIMITS[row.stop_reason]
    limit = row.limits.to_json().get(field)
    return Raise(field, limit, 2 * limit) if isinstance(limit, int) else None


def needs_person(row: ListedSession) -> bool:
    """Return whether a session gets no further without a person: lists show it first. Who paused it knows."""
    return row.phase is Phase.WAITING or (row.phase is Phase.PAUSED and row.stop_reason != StopReason.USER_PAUSED)


def to_terms(call: ApprovalView) -> list[str]:
    """Return how a call that waits for a person is decided: by which rule, by how many, until when, and by whom not."""
    asked, found = call.spec.request, list[str]()
    if asked.policy:
        found.append(f"rule {asked.rule} of AgentPolicy {asked.policy}")
    if asked.quorum > 1:
        found.append(f"{call.status.approvals or 0} of {asked.quorum} people approved")
    if asked.barred:
        found.append(f"not by its owner, {to_person(asked.barred)}")
    if asked.expires_at is not None:
        found.append(f"until {asked.expires_at:%Y-%m-%d %H:%M:%S} UTC, then {asked.on_expiry}")
    return found


def to_gauges(standing: Standing, limits: EffectiveLimits) -> list[Gauge]:
    """Return what was spent, each beside its limit."""
    steps, tokens, cost = len(standing.steps), standing.tokens, standing.cost_micro_usd
    most_cost = limits.max_cost_micro_usd
    found = [
        Gauge("Steps", steps, limits.max_steps, _of(f"{steps:,}", limits.max_steps)),
        Gauge("Tokens", tokens, limits.max_tokens, _of(f"{tokens:,}", limits.max_tokens)),
        Gauge(
            "Tool calls",
            standing.tool_calls,
            limits.max_tool_calls,
            _of(f"{standing.tool_calls:,}", limits.max_tool_calls),
        ),
    ]
    if cost or most_cost:
        text = to_money(cost) if most_cost is None else f"{to_money(cost)} of {to_money(most_cost)}"
        found.append(Gauge("Cost", cost, most_cost, text))
    return found


def _of(used: str, limit: int | None) -> str:
    return used if limit is None else f"{used} of {limit:,}"


def to_money(micro_usd: int) -> str:
    """Return an amount in dollars, small ones with their digits."""
    return f"${micro_usd / MICRO:,.2f}" if micro_usd >= MICRO or not micro_usd else f"${micro_usd / MICRO:.4f}"


def to_span(milliseconds: int) -> str:
    """Return how long something took."""
    return f"{milliseconds} ms" if milliseconds < THOUSAND else f"{milliseconds / THOUSAND:.1f} s"


def to_person(name: str) -> str:
    """Return a user's name as people say it: a service account is namespace/name."""
    return name.removeprefix(ACCOUNT_PREFIX).replace(":", "/", 1) if name.startswith(ACCOUNT_PREFIX) else name


def to_age(since: datetime, now: datetime) -> str:
    """Return a span as kubectl prints it, in its greatest part."""
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 2 * MINUTE:
        return f"{seconds}s"
    if seconds < 2 * HOUR:
        return f"{seconds // MINUTE}m"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR}h"
    return f"{seconds // DAY}d"


def to_commands(row: SessionRow) -> list[str]:
    """Return what does the same as the page in a terminal."""
    where = f"{shlex.quote(row.name)} -n {shlex.quote(row.namespace)}"
    acts = [] if is_over(row) else [f"kubectl patch ags {where} --type=merge -p {_patch(act)}" for act in to_acts(row)]
    if raised := to_raise(row):
        patch = shlex.quote(json.dumps({"spec": {"limits": {raised.field: raised.offer}}}))
        acts = [f"kubectl patch ags {where} --type=merge -p {patch}", *acts]
    if row.deleted_at is None:
        acts = [f"kubectl get ags {where} -o yaml", *acts]
    return [f"kubectl agentsession logs {where}", *acts]


def _patch(act: Act) -> str:
    return shlex.quote(json.dumps({"spec": {"operatingMode": MODES[act].value}}))


def is_over(row: SessionRow) -> bool:
    """Return whether nothing more becomes of a session."""
    return row.deleted_at is not None or row.phase in TERMINAL


def to_acts(row: SessionRow) -> tuple[Act, ...]:
    """Return what can be done with a session now."""
    if is_over(row) or row.operating_mode is OperatingMode.CANCELLED:
        return ()
    if row.operating_mode is OperatingMode.PAUSED:
        return (Act.RESUME, Act.CANCEL)
    # What a limit stopped goes on when the limit is raised, and not by a button.
    return (Act.CANCEL,) if row.phase is Phase.PAUSED else (Act.PAUSE, Act.CANCEL)
