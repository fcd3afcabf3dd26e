"""Conditions: of a session, from its phase and outcome, and of anything else that is or is not as it should be.

kstatus reads Ready, Reconciling and Stalled.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, assert_never

from agentsessions.api.reasons import ConditionType, Phase, Reason
from agentsessions.api.v1alpha1.placement import MigrationState, MigrationStatus
from agentsessions.api.v1alpha1.status import Condition
from agentsessions.lifecycle.facts import Acceptance, TemplateView
from agentsessions.lifecycle.limits import LIMIT_STOPS
from agentsessions.lifecycle.outcome import Outcome
from agentsessions.lifecycle.phases import TERMINAL

READY: Final = frozenset({Phase.RUNNING, Phase.IDLE, Phase.PAUSED, Phase.COMPLETED, Phase.CANCELLED})
RECONCILING: Final = frozenset({Phase.PENDING, Phase.QUEUED, Phase.STARTING, Phase.PAUSING, Phase.CANCELLING})
STALLED: Final = frozenset({Phase.FAILED, Phase.EXPIRED})
NO_TEMPLATE: Final = TemplateView()


def build_conditions(
    outcome: Outcome,
    acceptance: Acceptance,
    before: Sequence[Condition],
    now: datetime,
    *,
    template: TemplateView = NO_TEMPLATE,
    migration: MigrationStatus | None = None,
    resize: str | None = None,
) -> list[Condition]:
    """Return the conditions of a session that goes where `outcome` says.

    `lastTransitionTime` moves only when a condition's status does.
    """
    phase, why, message = outcome.phase, outcome.reason, outcome.message
    is_reconciling = phase in RECONCILING or outcome.is_settling
    is_stalled = phase in STALLED or outcome.is_stalled
    is_spent = outcome.stop_reason in LIMIT_STOPS
    accepted = _accepted(phase, acceptance)
    spent_why, spent_message = (why, message) if is_spent else (Reason.BUDGET_LEFT, "")
    wanted = [
        _condition(ConditionType.READY, is_true=phase in READY, reason=why, message=message),
        # Before Reconciling: where both hold, kstatus goes by the one that comes first.
        _told(ConditionType.STALLED, outcome, is_true=is_stalled, otherwise=Reason.NOT_STALLED),
        _told(ConditionType.RECONCILING, outcome, is_true=is_reconciling, otherwise=Reason.SETTLED),
        _condition(ConditionType.ACCEPTED, is_true=not accepted[1], reason=accepted[0], message=accepted[1]),
        _told(ConditionType.PAUSED, outcome, is_true=phase is Phase.PAUSED, otherwise=Reason.NOT_PAUSED),
        _told(ConditionType.COMPLETE, outcome, is_true=phase is Phase.COMPLETED, otherwise=Reason.IN_PROGRESS),
        _told(
            ConditionType.WAITING_FOR_APPROVAL,
            outcome,
            is_true=phase is Phase.WAITING,
            otherwise=Reason.NOTHING_PENDING,
        ),
        _condition(ConditionType.BUDGET_AVAILABLE, is_true=not is_spent, reason=spent_why, message=spent_message),
    ]
    known = {condition.type: condition for condition in before}
    if phase in TERMINAL:  # what becomes of the template afterwards is no news of a session that is over
        wanted += [condition for kind, condition in known.items() if kind == ConditionType.TEMPLATE_CURRENT]
    elif template.revision:
        wanted.append(_followed(template))
    wanted += _placed(known, migration, resize)
    return [_dated(condition, known.get(condition.type), now) for condition in wanted]


def build_condition(
    kind: ConditionType,
    before: Iterable[Condition] | None,
    now: datetime,
    *,
    is_true: bool,
    reason: str,
    message: str,
    generation: int | None,
) -> Condition:
    """Return one condition of an object. `lastTransitionTime` moves only when its status does.

    Args:
        kind: Which one.
        before: The object's conditions as they stand.
        now: Aware UTC.
        is_true: Whether it holds.
        reason: One word why.
        message: One sentence for people; cut to what a condition holds.
        generation: Of the spec that was judged; None where it says nothing about the spec.
    """
    known = next((one for one in before or () if one.type == kind), None)
    dated = _dated(_condition(kind, is_true=is_true, reason=reason, message=message), known, now)
    return dated.model_copy(update={"observed_generation": generation})


def _followed(template: TemplateView) -> Condition:
    """Say how the template stands to the revision that the session keeps to."""
    kind, kept = ConditionType.TEMPLATE_CURRENT, f"the session keeps to revision {template.revision}"
    what = f"AgentSessionTemplate {template.name}"
    if template.not_allowed:
        fields = ", ".join(f"spec.{field}" for field in template.not_allowed)
        message = f"{what} does not let sessions override {fields}: its own hold; {kept}"
        return _condition(kind, is_true=False, reason=Reason.OVERRIDE_NOT_ALLOWED, message=message)
    if not template.newest:
        return _condition(kind, is_true=False, reason=Reason.TEMPLATE_NOT_FOUND, message=f"{what} was deleted; {kept}")
    if template.newest != template.revision:
        message = f"{what} has changed since, {kept}; create a new session to use revision {template.newest}"
        return _condition(kind, is_true=False, reason=Reason.NEWER_TEMPLATE, message=message)
    return _condition(kind, is_true=True, reason=Reason.SETTLED, message="")


def _placed(
    known: Mapping[str, Condition], migration: MigrationStatus | None, resize: str | None
) -> Iterable[Condition]:
    """Yield what there is to say of a move and of a workspace that was to grow."""
    if migration is not None:
        yield _migrated(migration)
    if resize is not None:
        yield _resized(resize)
    elif ConditionType.WORKSPACE_RESIZED in known:
        yield known[ConditionType.WORKSPACE_RESIZED]


def _migrated(move: MigrationStatus) -> Condition:
    """Say how far the newest move is."""
    kind, message = ConditionType.MIGRATED, move.message or ""
    match move.state:
        case MigrationState.MOVING:
            message = "on its way: a pod is to run at the new place in time, else the session goes back"
            return _condition(kind, is_true=False, reason=Reason.MIGRATING, message=message)
        case MigrationState.ARRIVED:
            message = "it runs on the new volume; the former one is kept until a step is completed"
            return _condition(kind, is_true=False, reason=Reason.MIGRATING, message=message)
        case MigrationState.MOVED:
            return _condition(
                kind, is_true=True, reason=Reason.MIGRATED, message="its pods start where they are wanted"
            )
        case MigrationState.ROLLED_BACK:
            return _condition(kind, is_true=False, reason=Reason.ROLLED_BACK, message=message)
        case _:
            assert_never(move.state)


def _resized(refusal: str) -> Condition:
    """Say whether the workspace could grow."""
    kind = ConditionType.WORKSPACE_RESIZED
    if not refusal:
        return _condition(kind, is_true=True, reason=Reason.RESIZED, message="its claims were asked to grow")
    message = f"{refusal}; the workspace keeps its size: move it to a storage class that lets claims grow"
    return _condition(kind, is_true=False, reason=Reason.RESIZE_REFUSED, message=message)


def _accepted(phase: Phase, acceptance: Acceptance) -> tuple[str, str]:
    """Return reason and problem; once past Pending a session was accepted for good."""
    if phase is Phase.PENDING and not acceptance.is_accepted:
        return acceptance.reason, acceptance.message
    return Reason.ACCEPTED, ""


def _told(kind: ConditionType, outcome: Outcome, *, is_true: bool, otherwise: Reason) -> Condition:
    """Return a condition that has the outcome's words while it holds, and one word when it does not."""
    if is_true:
        return _condition(kind, is_true=True, reason=outcome.reason, message=outcome.message)
    return _condition(kind, is_true=False, reason=otherwise)


def _condition(kind: ConditionType, *, is_true: bool, reason: str, message: str = "") -> Condition:
    status: Literal["True", "False"] = "True" if is_true else "False"
    never = datetime.min  # noqa: DTZ901  # replaced by _dated
    return Condition(type=kind, status=status, reason=reason, message=message[:1024], last_transition_time=never)


def _dated(condition: Condition, before: Condition | None, now: datetime) -> Condition:
    is_same = before is not None and before.status == condition.status
    at = before.last_transition_time if is_same and before is not None else now.replace(microsecond=0)
    return condition.model_copy(update={"last_transition_time": at})
