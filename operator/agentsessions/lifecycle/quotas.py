"""How much room the quotas of a namespace leave. Several quotas: each must be satisfied, the tightest one tells."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agentsessions.api.reasons import Reason
from agentsessions.api.spending import Spent
from agentsessions.api.v1alpha1.quota import SessionQuotaSpec
from agentsessions.lifecycle.queueing import Ahead

WINDOW: Final = timedelta(seconds=60)
"""Time in which starts are counted."""
PLENTY: Final = 2**31
"""Places where nothing bounds them."""


@dataclass(frozen=True, slots=True)
class Quota:
    """A SessionQuota as it stands."""

    name: str
    spec: SessionQuotaSpec | None
    """None when this version cannot read it: then nothing starts."""
    problem: str = ""
    """Why it cannot be read."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a namespace uses now."""

    active: int
    """Sessions that hold a place."""
    started: int
    """First starts within the last minute."""
    spent: Spent | None
    """Today's; None when it is not known, as the gateway is away."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How many more sessions something lets in, and why no more than that."""

    places: int
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Room:
    """What all quotas together leave."""

    slots: Bound
    """For sessions of any kind."""
    starts: Bound
    """For sessions that never started before; these need a slot, too."""


def measure_room(quotas: Iterable[Quota], load: Load, *, default_concurrent: int) -> Room:
    """Return the room that a namespace has now.

    Args:
        quotas: All of the namespace.
        load: What it uses.
        default_concurrent: Sessions at the same time, where no quota says how many.
    """
    known = sorted(quotas, key=lambda quota: quota.name)
    slots = [bound for quota in known for bound in _slots(quota, load)]
    if not any(quota.spec is not None and quota.spec.max_concurrent_sessions for quota in known):
        slots.append(_default_bound(default_concurrent, load))
    starts = [bound for quota in known for bound in _starts(quota, load)]
    return Room(slots=_tightest(slots), starts=_tightest(starts))


def find_bound(room: Room, ahead: Ahead, *, is_first_start: bool) -> Bound | None:
    """Return what keeps a session from starting now; None when nothing does.

    Those before it that may start get their places first; those that a limit of first starts keeps waiting do not
    keep others.
    """
    taken = ahead.total - ahead.first_starts + min(ahead.first_starts, room.starts.places)
    if taken >= room.slots.places:
        return room.slots
    if is_first_start and ahead.first_starts >= room.starts.places:
        return room.starts
    return None


def find_hold(quotas: Iterable[Quota]) -> str:
    """Return why nothing may run in a namespace; empty when it may."""
    for quota in sorted(quotas, key=lambda quota: quota.name):
        if quota.spec is not None and quota.spec.hold:
            return _tell_hold(quota.name, quota.spec.hold_reason)
    return ""


def needs_usage(spec: SessionQuotaSpec) -> bool:
    """Tell whether a quota cannot be judged without what the gateway counts."""
    return spec.max_tokens_per_day is not None or spec.max_cost_micro_usd_per_day is not None


def _tightest(bounds: list[Bound]) -> Bound:
    return min(bounds, key=lambda bound: bound.places, default=Bound(PLENTY, Reason.ACCEPTED, ""))


def _slots(quota: Quota, load: Load) -> Iterator[Bound]:
    spec, name = quota.spec, f"SessionQuota {quota.name}"
    if spec is None:
        message = f"{name} cannot be read, so nothing starts: {quota.problem}"
        yield Bound(0, Reason.QUOTA_EXCEEDED, message[:900])
        return
    if spec.hold:
        yield Bound(0, Reason.NAMESPACE_HELD, _tell_hold(quota.name, spec.hold_reason))
    if spec.max_concurrent_sessions is not None:
        message = (
            f"{name} lets {spec.max_concurrent_sessions} session(s) run at the same time, and as many do: wait, end "
            "others, or raise its spec.maxConcurrentSessions"
        )
        yield Bound(max(spec.max_concurrent_sessions - load.active, 0), Reason.QUOTA_EXCEEDED, message)
    yield from _day_bounds(name, spec, load.spent)


def _day_bounds(name: str, spec: SessionQuotaSpec, spent: Spent | None) -> Iterator[Bound]:
    if needs_usage(spec) and spent is None:
        message = f"{name} limits a day's tokens or cost, and the gateway, which counts them, cannot be reached"
        yield Bound(0, Reason.USAGE_UNKNOWN, message)
        return
    spent = spent or Spent()
    for field, limit, used in (
        ("maxTokensPerDay", spec.max_tokens_per_day, spent.tokens),
        ("maxCostMicroUSDPerDay", spec.max_cost_micro_usd_per_day, spent.cost_micro_usd),
    ):
        if limit is not None and used >= limit:
            message = f"{name} gives {limit} for {field}, and that is used up: wait for 00:00 UTC, or raise it"
            yield Bound(0, Reason.QUOTA_EXCEEDED, message)


def _starts(quota: Quota, load: Load) -> Iterator[Bound]:
    limit = quota.spec.max_starts_per_minute if quota.spec else None
    if limit is not None:
        message = (
            f"SessionQuota {quota.name} lets {limit} session(s) start within a minute, and as many did: wait, or raise "
            "its spec.maxStartsPerMinute"
        )
        yield Bound(max(limit - load.started, 0), Reason.QUOTA_EXCEEDED, message)


def _default_bound(limit: int, load: Load) -> Bound:
    message = (
        f"{limit} sessions of a namespace may run at the same time unless a SessionQuota says otherwise, and as many "
        "do: wait, end others, or create a SessionQuota with spec.maxConcurrentSessions"
    )
    return Bound(max(limit - load.active, 0), Reason.QUOTA_EXCEEDED, message)


def _tell_hold(name: str, reason: str | None) -> str:
    why = f": {reason}" if reason else ""
    return f"SessionQuota {name} holds this namespace{why}; set its spec.hold to false to go on"
