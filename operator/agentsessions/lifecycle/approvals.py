"""Questions to people: which objects should stand for them, and what they came to. Pure.

The journal says which calls wait, and each gets an object. That is decided by what people wrote into it, or by its
time; when the session ends before, or the call has its result, it is withdrawn. Every pass decides from scratch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from agentsessions.api.v1alpha1.approval import (
    Answer,
    ApprovalKind,
    ApprovalOutcome,
    ApprovalRequest,
    OnExpiry,
    SessionApprovalSpec,
    SessionApprovalStatus,
)

Identity = tuple[str, int, str, int]
"""Agent, round, call id and number: what tells one question of a session from another."""


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """A SessionApproval as last seen."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    session_uid: str
    spec: SessionApprovalSpec
    status: SessionApprovalStatus


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about the questions of one session."""

    create: tuple[ApprovalRequest, ...] = ()
    statuses: tuple[tuple[ApprovalView, SessionApprovalStatus], ...] = ()
    """Statuses to write."""
    wake_at: datetime | None = None
    """When the next time runs out."""


def identify(request: ApprovalRequest) -> Identity:
    """Return what tells a question from the others of its session."""
    return request.agent, request.round, request.call_id, request.number


def plan(
    pending: Sequence[ApprovalRequest],
    known: Iterable[ApprovalView],
    *,
    is_over: bool,
    now: datetime,
    is_fresh: bool = False,
) -> Plan:
    """Return what to do about the questions of a session.

    Args:
        pending: What the journal says that waits, as far as it is known.
        known: The objects that there are.
        is_over: Whether the session is final.
        now: Aware UTC.
        is_fresh: Whether `pending` was read after all objects were: what is not in it waits no more.
    """
    waiting = {identify(request) for request in pending}
    objects = {identify(view.spec.request): view for view in known}
    statuses, times = [], []
    for key, view in objects.items():
        if view.status.outcome is not None:
            continue
        is_withdrawn = is_over or (is_fresh and key not in waiting)
        wanted = _withdrawn(view, now) if is_withdrawn else judge(view.spec, now)
        if wanted != view.status:
            statuses.append((view, wanted))
        expires_at = view.spec.request.expires_at
        if wanted.outcome is None and expires_at is not None and expires_at > now:
            times.append(expires_at)
    missing = () if is_over else tuple(request for request in pending if identify(request) not in objects)
    return Plan(missing, tuple(statuses), min(times, default=None))


def has_strangers(pending: Sequence[ApprovalRequest], known: Iterable[ApprovalView]) -> bool:
    """Tell whether an object that is not decided stands for a call that is not among those known to wait."""
    waiting = {identify(request) for request in pending}
    return any(view.status.outcome is None and identify(view.spec.request) not in waiting for view in known)


def judge(spec: SessionApprovalSpec, now: datetime) -> SessionApprovalStatus:
    """Return the status of a question that waits: decided by people, by time, or not yet."""
    request, decisions = spec.request, spec.decisions or {}
    said = {answer: sorted(who for who, one in decisions.items() if one.answer is answer) for answer in Answer}
    if request.kind is ApprovalKind.DOUBT:
        outcome, by = _settle_doubt(said)
    elif said[Answer.DENY]:
        outcome, by = ApprovalOutcome.DENIED, said[Answer.DENY]
    elif len(said[Answer.APPROVE]) >= request.quorum:
        outcome, by = ApprovalOutcome.APPROVED, said[Answer.APPROVE]
    else:
        return _wait(request, len(said[Answer.APPROVE]), now)
    if outcome is None:
        return _wait(request, 0, now)
    return SessionApprovalStatus(
        outcome=outcome,
        decided_by=by,
        decided_at=now.replace(microsecond=0),
        approvals=len(said[Answer.APPROVE]),
        message=f"{outcome.value} by {', '.join(by)}"[:1024],
    )


def _settle_doubt(said: dict[Answer, list[str]]) -> tuple[ApprovalOutcome | None, list[str]]:
    """Happened wins where people differ: a call that is run again may do harm twice."""
    for answer, outcome in (
        (Answer.HAPPENED, ApprovalOutcome.HAPPENED),
        (Answer.RUN_AGAIN, ApprovalOutcome.RUN_AGAIN),
    ):
        if said[answer]:
            return outcome, said[answer]
    return None, []


def _wait(request: ApprovalRequest, approvals: int, now: datetime) -> SessionApprovalStatus:
    """Return the status of a question that nobody has decided: its time may be over."""
    if is_expired(request, now) and request.on_expiry is not OnExpiry.PAUSE:
        outcome = ApprovalOutcome.APPROVED if request.on_expiry is OnExpiry.ALLOW else ApprovalOutcome.DENIED
        return SessionApprovalStatus(
            outcome=outcome,
            decided_at=now.replace(microsecond=0),
            approvals=approvals,
            message=f"{outcome.value}: nobody decided in time, and the rule says {request.on_expiry}",
        )
    if request.kind is ApprovalKind.DOUBT:
        return SessionApprovalStatus(message="waits for somebody to say Happened, with its output, or RunAgain")
    late = ": its time is over, and the session paused until then" if is_expired(request, now) else ""
    message = f"waits for {request.quorum - approvals} of {request.quorum} to approve{late}"
    return SessionApprovalStatus(approvals=approvals, message=message)


def is_expired(request: ApprovalRequest, now: datetime) -> bool:
    """Tell whether the time to decide is over."""
    return request.expires_at is not None and now >= request.expires_at


def _withdrawn(view: ApprovalView, now: datetime) -> SessionApprovalStatus:
    return SessionApprovalStatus(
        outcome=ApprovalOutcome.WITHDRAWN,
        decided_at=now.replace(microsecond=0),
        approvals=view.status.approvals,
        message="the session asks for it no more",
    )
