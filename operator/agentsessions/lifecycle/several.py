"""Several agents in one session: each one's epoch is judged for itself, and the session goes by all of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from agentsessions.api.reasons import Phase, Reason, StopReason
from agentsessions.api.v1alpha1.status import AgentStatus, SessionError
from agentsessions.lifecycle import epochs
from agentsessions.lifecycle.decision import unwanted
from agentsessions.lifecycle.facts import PodView
from agentsessions.lifecycle.outcome import Outcome, earliest, failed
from agentsessions.lifecycle.people import is_waiting_for_person
from agentsessions.lifecycle.situation import EpochState, Situation
from agentsessions.lifecycle.teams import shutdown_rank

LEADING: Final = (Phase.FAILED, Phase.RUNNING, Phase.STARTING, Phase.QUEUED, Phase.WAITING, Phase.IDLE)
"""Where the session is, when its agents are at different places: the first of these that one of them says.

Queued before Waiting: a queue serves only who says to be in it.
"""


def conclude(case: Situation) -> Outcome:
    """Say what the epochs of the agents that are due mean for the session; the others hold no pod."""
    due = case.due
    if not due:
        return epochs.stay(case, needs_level=case.is_level_wanted)
    found = {name: _spare(case.of(name), _conclude_one(case.of(name))) for name in due}
    asking = next((one for one in found.values() if one.needs_level or one.needs_admission), None)
    if asking is not None:
        return asking
    lead = _lead(found.values())
    if lead.phase is Phase.FAILED:
        return replace(lead, delete=unwanted(case.remaining_pods))
    rows = [*(row for name, one in found.items() for row in _rows_of(case.of(name), one)), *_rows_at_rest(case)]
    hosts = {case.of(name).host for name in due}
    at_rest = (pod for pod in case.remaining_pods if pod.agent not in hosts)
    return replace(
        lead,
        message=_message_of(case, found),
        row=None,
        rows=tuple(rows),
        retries=max(_retries_of(case.of(name), one) for name, one in found.items()),
        next_retry_at=_first_of(found.values(), lambda one: one.next_retry_at),
        error=_newest_error(case, found.values()),
        create=tuple(pod for one in found.values() for pod in one.create),
        delete=(*unwanted(at_rest), *(pod for one in found.values() for pod in one.delete)),
        plan=next((one.plan for one in found.values() if one.plan is not None), None),
        wake_at=_first_of(found.values(), lambda one: one.wake_at),
        is_settling=any(one.is_settling for one in found.values()),
        is_stalled=any(one.is_stalled for one in found.values()),
    )


def _conclude_one(case: Situation) -> Outcome:
    return is_waiting_for_person(case) or epochs.conclude(case)


def _spare(case: Situation, outcome: Outcome) -> Outcome:
    """Let the session go on without an agent that failed, where it may; the journal then passes on what is left.

    The row in status is what tells the journal, so nothing of it can be lost.
    """
    team, row = case.team, case.row
    if outcome.phase is not Phase.FAILED or team is None or row is None or not team.can_spare(row.name):
        return outcome
    failed_too = {other.name for other in case.status.agents or () if other.state == EpochState.FAILED.value}
    if failed_too.issuperset(member.name for member in team.members if member.name != row.name):
        return outcome  # nobody is left
    words = outcome.error.message if outcome.error else outcome.message
    return Outcome(
        Phase.RUNNING if case.phase is Phase.RUNNING else Phase.STARTING,
        Reason.RETRYING,
        f"agent {row.name} failed ({words}); the session goes on without it"[:1024],
        row=row.model_copy(update={"state": EpochState.FAILED.value}),
        retries=0,
        error=outcome.error,
        delete=unwanted(case.own_pods),
    )


def _lead(found: Iterable[Outcome]) -> Outcome:
    """Return the outcome that says where the session is."""
    outcomes = list(found)
    ranked = (one for phase in LEADING for one in outcomes if one.phase is phase)
    return next(ranked, outcomes[0])


def _message_of(case: Situation, found: Mapping[str, Outcome]) -> str:
    """Return what all of them say, each thing once. One that only says what status says already adds nothing to it."""
    shown, words = epochs.message_now(case), []
    for name, one in found.items():
        if one.next_retry_at is not None and one.reason != Reason.POD_REFUSED:
            words.append(f"agent {name} is tried again after a failure")
        elif not one.is_unchanged:
            words.append(one.message)
    return ("; ".join(dict.fromkeys(words)) or shown)[:1024]


def _newest_error(case: Situation, found: Iterable[Outcome]) -> SessionError | None:
    """Return the error that is new, else the one that is shown."""
    errors = [one.error for one in found if one.error is not None]
    return next((error for error in errors if error != case.status.error), case.status.error if errors else None)


def _rows_of(case: Situation, outcome: Outcome) -> list[AgentStatus]:
    """Return the agent's row, with its own count of retries, and those of all that share its pod."""
    row = outcome.row or case.row
    if row is None:
        return []
    retries = {"retries": _retries_of(case, outcome) or None, "next_retry_at": _whole(outcome.next_retry_at)}
    return [row.model_copy(update=retries), *_rows_beside(case, row)]


def _rows_beside(case: Situation, row: AgentStatus) -> list[AgentStatus]:
    """Return the rows of those that share the agent's pod: they have its epochs, and wait for their turn."""
    group = case.team.group_of(row.name) if case.team else ()
    known = {other.name: other for other in case.status.agents or ()}
    state = EpochState.ENDED if row.state == EpochState.ENDED.value else EpochState.STANDBY
    beside = {"epoch": row.epoch, "pod_name": row.pod_name, "pod_uid": row.pod_uid, "state": state.value}
    over = {"retries": None, "next_retry_at": None}
    return [
        known.get(name, AgentStatus(name=name, epoch=row.epoch)).model_copy(update=beside | over)
        for name in group
        if name != row.name
    ]


def _retries_of(case: Situation, outcome: Outcome) -> int:
    return case.retries if outcome.retries is None else outcome.retries


def _rows_at_rest(case: Situation) -> list[AgentStatus]:
    """Return the rows of agents that have nothing to do now: their epochs have ended."""
    over = {"retries": None, "next_retry_at": None}
    hosts = {case.of(name).host for name in case.due}
    return [row.model_copy(update=over) for row in case.ended_rows if case.of(row.name).host not in hosts]


def _first_of(found: Iterable[Outcome], read: Callable[[Outcome], datetime | None]) -> datetime | None:
    return earliest(*(read(one) for one in found))


def _whole(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(microsecond=0)


def find_stuck(case: Situation) -> Outcome | None:
    """Return the failure of a session in which an agent that is due does not get a pod running for too long."""
    deadline = case.facts.deadlines.starting
    for agent in map(case.of, case.due):
        pod = agent.pod
        is_waiting = agent.epoch_state is EpochState.STARTING and pod is not None
        began_at = agent.start_began_at if case.phase is Phase.STARTING or pod is None else pod.created_at
        is_refused = case.phase is Phase.STARTING and pod is None and epochs.reason_now(case) == Reason.POD_REFUSED
        if not (is_waiting or is_refused) or case.now - began_at < deadline:
            continue
        why = f": {pod.waiting_reason} {pod.message}".rstrip() if pod and pod.waiting_reason else ""
        why = f": {epochs.message_now(case)}" if is_refused else why
        message = f"no pod of agent {agent.agent.name} ran within {deadline.total_seconds():.0f} s{why}"
        return failed(StopReason.START_FAILED, message[:1024], delete=unwanted(case.remaining_pods))
    return None


def end_first(case: Situation, pods: tuple[PodView, ...]) -> tuple[PodView, ...]:
    """Return which of the pods end next in an orderly shutdown: those on whom none of the others counts."""
    if case.team is None or not pods:
        return pods
    ranks = {pod.uid: shutdown_rank(case.team, pod.agent) for pod in pods}
    return tuple(pod for pod in pods if ranks[pod.uid] == max(ranks.values()))
