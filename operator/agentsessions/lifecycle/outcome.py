"""What one check concluded; `status.build_status` turns it into the status to write."""

from dataclasses import dataclass
from datetime import datetime

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.status import AgentStatus, SessionError
from agentsessions.lifecycle.decision import PodUnwanted, PodWanted
from agentsessions.lifecycle.sites import Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the session goes, why, and what that needs."""

    phase: Phase
    reason: str
    """UpperCamelCase word for conditions and Events."""
    message: str
    stop_reason: StopReason | None = None
    error: SessionError | None = None
    row: AgentStatus | None = None
    """New row of the agent; None keeps the old one."""
    rows: tuple[AgentStatus, ...] = ()
    """New rows of all agents that change, where it is not one alone."""
    retries: int | None = None
    """None keeps the count."""
    next_retry_at: datetime | None = None
    pods_remaining: int | None = None
    is_settling: bool = False
    """Whether a live phase still waits for something (Reconciling=True)."""
    is_stalled: bool = False
    create: tuple[PodWanted, ...] = ()
    delete: tuple[PodUnwanted, ...] = ()
    plan: Plan | None = None
    """Where pods start from now on; None: where they did, as far as the facts show no other."""
    wake_at: datetime | None = None
    needs_level: bool = False
    needs_admission: bool = False
    delete_session: bool = False
    is_unchanged: bool = False
    """Whether it says only what status says already."""
    is_quiet: bool = False
    """Whether nothing is written, whatever else is said."""


def earliest(*instants: datetime | None) -> datetime | None:
    """Return the first of the instants that there are."""
    return min((at for at in instants if at is not None), default=None)


def failed(stop_reason: StopReason, message: str, **more: object) -> Outcome:
    """Return the outcome of a session that fails for `stop_reason`."""
    return Outcome(Phase.FAILED, stop_reason, message, stop_reason=stop_reason, **more)  # type: ignore[arg-type]  # checked by callers' keywords
