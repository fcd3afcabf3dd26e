"""Waiting for people: a call of the turn must be decided. No pod is held, and the time is free.

The epoch that asked is closed as waiting, and its turn stays open. While the journal holds a call that nobody decided,
the session waits; once it holds none, the next epoch plays the turn again and is given the decision.
"""

from collections.abc import Sequence

from agentsessions.api.reasons import Phase, Reason, StopReason
from agentsessions.api.v1alpha1.approval import ApprovalKind, ApprovalRequest
from agentsessions.api.wire import Outcome as TurnOutcome
from agentsessions.lifecycle import epochs
from agentsessions.lifecycle.decision import unwanted
from agentsessions.lifecycle.outcome import Outcome, earliest
from agentsessions.lifecycle.phases import can_move
from agentsessions.lifecycle.situation import Situation


def is_waiting_for_person(case: Situation) -> Outcome | None:
    """The epoch ended because a call waits for a person, and no one has decided yet; of several agents, of one."""
    if case.team is not None and not case.focus:
        return None  # each agent is looked at for itself
    is_closed = case.closing is not None and case.closing.outcome is TurnOutcome.WAITING
    if not (is_closed or case.phase is Phase.WAITING) or not can_move(case.phase, Phase.WAITING):
        return None
    pending = [one for one in case.level.approval_pending if one.agent == case.agent.name] if case.level else []
    if pending:
        return _wait(case, pending)
    if case.is_level_wanted:
        return epochs.stay(case, needs_level=True)
    if case.phase is Phase.WAITING and not case.facts.journal.is_reachable:
        return epochs.stay(case)  # only the journal knows whether it was decided
    return epochs.start_next(case) if is_closed else None


def _wait(case: Situation, pending: Sequence[ApprovalRequest]) -> Outcome:
    first = pending[0]
    is_doubt = first.kind is ApprovalKind.DOUBT
    more = f", and {len(pending) - 1} more" if len(pending) > 1 else ""
    if is_doubt:
        what = f"call {first.call_id} of tool {first.tool} was begun and nobody saw its end: it may have happened"
        remedy = "say what became of it: `kubectl agentsession approvals` shows how"
    else:
        by = f" (rule {first.rule} of AgentPolicy {first.policy})" if first.policy else ""
        what = f"call {first.call_id} of tool {first.tool} needs approval{by}"
        remedy = "approve or deny it: `kubectl agentsession approvals` shows how"
    return Outcome(
        Phase.WAITING,
        StopReason.IN_DOUBT if is_doubt else Reason.WAITING_FOR_APPROVAL,
        f"{what}{more}; {remedy}"[:1024],
        row=case.ended_row,
        delete=unwanted(case.own_pods),
        wake_at=earliest(*(one.expires_at for one in pending if one.expires_at and one.expires_at > case.now)),
    )
