"""The status that a decision writes. Usage moves with transitions, never as a drip."""

from datetime import datetime
from typing import Final

from agentsessions.api.child_sessions import ChildSessionsLevel
from agentsessions.api.levels import AgentLevel, Level
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.placement import Site
from agentsessions.api.v1alpha1.status import (
    AgentStatus,
    ChildSessionsUsage,
    Condition,
    JournalPosition,
    JournalSeal,
    Remaining,
    RoundStatus,
    SessionError,
    SessionStatus,
    Usage,
)
from agentsessions.lifecycle.conditions import build_conditions
from agentsessions.lifecycle.effective import spec_digest
from agentsessions.lifecycle.egress import egress_conditions
from agentsessions.lifecycle.outcome import Outcome
from agentsessions.lifecycle.phases import TERMINAL, move
from agentsessions.lifecycle.sites import Plan, filled, plan_of
from agentsessions.lifecycle.situation import Situation
from agentsessions.lifecycle.sizes import resized

NOWHERE: Final = Site()
"""Where nothing was asked; it is not shown."""


def build_status(case: Situation, outcome: Outcome) -> SessionStatus:
    """Return the status to write for `outcome`; equal to the present one when there is nothing to write.

    Raises:
        IllegalMove: The outcome's phase cannot follow the present one.
    """
    old, session, phase = case.status, case.facts.session, move(case.status.phase, outcome.phase)
    now = case.now.replace(microsecond=0)
    is_new_phase = old.phase is not phase
    agents = _agents(case, outcome, is_transition=is_new_phase or phase in TERMINAL)
    usage = _usage(case, outcome, is_new_phase=is_new_phase, row_changed=agents != old.agents)
    is_accepted = phase is not Phase.PENDING
    plan = plan_of(case, phase, outcome.plan)
    is_cancel = phase in {Phase.CANCELLING, Phase.CANCELLED}
    result = _result(case.level, old) if phase is Phase.COMPLETED else None
    return SessionStatus(
        phase=phase,
        phase_started_at=now if is_new_phase else old.phase_started_at,
        observed_generation=session.generation,
        conditions=_conditions(case, outcome, plan, is_moving=is_new_phase or agents != old.agents),
        effective=case.effective.limits if is_accepted else old.effective,
        spec_digest=old.spec_digest or _digest(case, is_accepted=is_accepted),
        data_sources=old.data_sources or (list(case.facts.acceptance.data_sources) or None if is_accepted else None),
        template_revision=old.template_revision or (case.facts.template.revision or None if is_accepted else None),
        agents=agents,
        site=filled(case, resized(case, plan.site)) if is_accepted and plan.site != NOWHERE else old.site,
        migration=plan.migration,
        round=_round(case, is_new_phase=is_new_phase) or old.round,
        retries=old.retries if outcome.retries is None else outcome.retries,
        next_retry_at=outcome.next_retry_at.replace(microsecond=0) if outcome.next_retry_at else None,
        usage=usage,
        remaining=_remaining(case, usage),
        result=result[0] if result else None,
        result_truncated=True if result and result[1] else None,
        error=_error(outcome, old),
        stop_reason=outcome.stop_reason,
        stopped_at=_once(old.stopped_at, now, is_due=phase is Phase.CANCELLED),
        pods_remaining=outcome.pods_remaining if is_cancel else None,
        started_at=_once(old.started_at, now, is_due=phase is Phase.RUNNING),
        finished_at=_once(old.finished_at, now, is_due=phase in TERMINAL),
        seal=old.seal or (_seal(case.level) if phase is Phase.COMPLETED else None),
        journal=_journal(case, is_new_phase=is_new_phase or usage != old.usage),
    )


def _conditions(case: Situation, outcome: Outcome, plan: Plan, *, is_moving: bool) -> list[Condition]:
    facts = case.facts
    of_life = build_conditions(
        outcome,
        facts.acceptance,
        case.status.conditions or [],
        case.now,
        template=facts.template,
        migration=plan.migration,
        resize=facts.resize,
    )
    return [*of_life, *egress_conditions(case, is_moving=is_moving)]


def _once(before: datetime | None, now: datetime, *, is_due: bool) -> datetime | None:
    return before or (now if is_due else None)


def _digest(case: Situation, *, is_accepted: bool) -> str | None:
    return spec_digest(case.facts.session.spec, case.facts.acceptance.context_digest) if is_accepted else None


def _agents(case: Situation, outcome: Outcome, *, is_transition: bool) -> list[AgentStatus] | None:
    """Return the rows of all agents that have begun, in the order of the spec; what each spent moves as usage does."""
    before = {row.name: row for row in case.status.agents or []}
    rows = before | {row.name: row for row in (outcome.row, *outcome.rows) if row is not None}
    if rows == before and not is_transition:
        return case.status.agents
    spent = {agent.name: agent for agent in case.level.agents} if case.level else {}
    counted = [
        _counted(rows[agent.name], spent.get(agent.name)) for agent in case.effective.agents if agent.name in rows
    ]
    return counted or case.status.agents


def _counted(row: AgentStatus, level: AgentLevel | None) -> AgentStatus:
    """Return a row with what was spent for its agent, where there are several; else usage says it."""
    if level is None:
        return row
    return row.model_copy(
        update={"steps": max(level.steps, row.steps or 0), "tokens": max(level.tokens, row.tokens or 0)}
    )


def _error(outcome: Outcome, old: SessionStatus) -> SessionError | None:
    """Keep the last error until the session completes."""
    if outcome.phase is Phase.COMPLETED:
        return None
    if outcome.error is None and outcome.phase is Phase.FAILED and outcome.stop_reason is not None:
        is_same = old.error is not None and old.phase is Phase.FAILED
        return old.error if is_same else SessionError(code=outcome.stop_reason, message=outcome.message[:1024])
    return outcome.error or old.error


def _usage(case: Situation, outcome: Outcome, *, is_new_phase: bool, row_changed: bool) -> Usage | None:
    """Return usage as the journal counts it, when this status is a transition or corrects a final one."""
    old, level = case.status.usage, case.level
    is_final = outcome.phase in TERMINAL
    if not (is_new_phase or row_changed or is_final):
        return old
    before = old or Usage()
    active = int(case.active.total_seconds()) if is_new_phase else before.active_seconds
    if level is None:
        return before.model_copy(update={"active_seconds": active})
    return Usage(
        steps=max(level.steps, before.steps),
        input_tokens=max(level.input_tokens, before.input_tokens),
        output_tokens=max(level.output_tokens, before.output_tokens),
        total_tokens=max(level.input_tokens + level.output_tokens, before.total_tokens),
        tool_calls=max(level.tool_calls, before.tool_calls),
        cost_micro_usd=max(level.cost_micro_usd, before.cost_micro_usd),
        active_seconds=active,
        idle_seconds=case.idle_seconds if is_new_phase else before.idle_seconds,
        child_sessions=_of_children(level.child_sessions) or before.child_sessions,
    )


def _of_children(children: ChildSessionsLevel | None) -> ChildSessionsUsage | None:
    if children is None:
        return None
    return ChildSessionsUsage(
        started=children.started,
        steps=children.steps,
        total_tokens=children.input_tokens + children.output_tokens,
        tool_calls=children.tool_calls,
        cost_micro_usd=children.cost_micro_usd,
    )


def _remaining(case: Situation, usage: Usage | None) -> Remaining | None:
    if usage is None:
        return None
    if case.level is None and usage.child_sessions is not None:
        return case.status.remaining  # only the journal knows what its children may still use
    limits, kept = case.effective.limits, (case.level and case.level.child_sessions) or ChildSessionsLevel(started=0)
    return Remaining(
        steps=_left(limits.max_steps, usage.steps + kept.kept_steps),
        tokens=_left(limits.max_tokens, usage.total_tokens + kept.kept_tokens),
        tool_calls=_left(limits.max_tool_calls, usage.tool_calls + kept.kept_tool_calls),
        cost_micro_usd=_left(limits.max_cost_micro_usd, usage.cost_micro_usd + kept.kept_cost_micro_usd),
        active_seconds=_left(limits.timeout_seconds, usage.active_seconds),
    )


def _left(limit: int | None, used: int) -> int | None:
    return None if limit is None else max(limit - used, 0)


def _result(level: Level | None, old: SessionStatus) -> tuple[str, bool] | None:
    if level is not None and level.result is not None:
        return level.result, level.result_truncated
    return (old.result, bool(old.result_truncated)) if old.result is not None else None


def _seal(level: Level | None) -> JournalSeal | None:
    seal = level.seal if level is not None else None
    return JournalSeal(head=seal.head, digest=seal.digest, sealed_at=seal.sealed_at) if seal is not None else None


def _round(case: Situation, *, is_new_phase: bool) -> RoundStatus | None:
    return case.level.round if case.level is not None and is_new_phase else None


def _journal(case: Situation, *, is_new_phase: bool) -> JournalPosition | None:
    level, old = case.level, case.status.journal
    if level is None or not level.digest or not is_new_phase:
        return old
    return JournalPosition(head=level.head, digest=level.digest)
