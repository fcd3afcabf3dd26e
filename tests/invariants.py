"""What "nothing lost" means, checked after every end-to-end test from the API server and the journal (I1 to I12).

I5 and I6 are checked where messages and streams are tested.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Final

from agentsessions.api.names import LABEL_AGENT
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import DEFAULT_DEADLINES
from agentsessions.lifecycle.phases import TERMINAL, TRANSITIONS

Json = dict[str, Any]

HOLDS_NO_POD: Final = {Phase.PAUSED, Phase.IDLE, Phase.QUEUED, Phase.WAITING, *TERMINAL} - {Phase.COMPLETED}
"""Of a completed session the pod ends by itself, in a little while."""
LIVE_PODS: Final = frozenset({"Pending", "Running"})
HOLDS_A_POD: Final = frozenset({Phase.RUNNING})
LATE: Final = timedelta(seconds=10)
"""Time that the operator may need to notice a deadline."""
MOST_PASSES, MOST_OBJECT_WRITES, MOST_EVENTS = 20, 4, 4


def check_journal(entries: list[Json], problems: list[str]) -> list[str]:
    """I1: sequence without gap, one entry per (round, agent, step, index), a chain that verifies."""
    found = list(problems)
    numbers = [entry["seq"] for entry in entries]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"I1: sequence numbers are not 1..n: {numbers}")
    places = Counter((e["round"], e["agent"], e["step"], e["index"]) for e in entries)
    found += [
        f"I1: {count} entries at (round, agent, step, index) {place}" for place, count in places.items() if count > 1
    ]
    return found


def check_epochs(entries: list[Json], status: Json) -> list[str]:
    """I2: no entry of an epoch after one of a later epoch, none beyond the epoch in status."""
    found, newest = [], Counter[str]()
    current = {row["name"]: row["epoch"] for row in status.get("agents", [])}
    for entry in entries:
        agent, epoch = entry["agent"], entry["epoch"]
        if not agent:
            continue
        if epoch < newest[agent]:
            found.append(f"I2: entry {entry['seq']} of epoch {epoch} stands after one of epoch {newest[agent]}")
        if epoch > current.get(agent, 0):
            found.append(f"I2: entry {entry['seq']} has epoch {epoch}, status knows {current.get(agent)}")
        newest[agent] = max(newest[agent], epoch)
    return found


def check_pods(pods: list[Any]) -> list[str]:
    """I3: at most one pod without deletionTimestamp per agent. Owners can be forged, these labels not."""
    labels = [pod.metadata.labels or {} for pod in pods if pod.metadata.deletion_timestamp is None]
    live = Counter(found[LABEL_AGENT] for found in labels if LABEL_AGENT in found)
    return [f"I3: agent {agent} has {count} pods" for agent, count in live.items() if count > 1]


def check_phases(entries: list[Json]) -> list[str]:
    """I8: only moves of the table, as the journal saw them; it may have been away for those in between."""
    seen = [Phase(entry["body"]["phase"]) for entry in entries if entry["type"] == "state"]
    moves = zip([Phase.PENDING, *seen], seen, strict=False)
    return [f"I8: the journal saw a move from {a} to {b}" for a, b in moves if b not in reachable(a)]


def reachable(phase: Phase) -> set[Phase]:
    """Return `phase` and all that the table leads to from it."""
    found = {phase}
    while more := {after for known in found for after in TRANSITIONS[known]} - found:
        found |= more
    return found


def check_limits(status: Json) -> list[str]:
    """I9: usage within the limits in force, plus one answer for tokens and 30 s for time."""
    usage, limits = status.get("usage", {}), status.get("effective", {})
    answer = limits.get("maxOutputTokens", 0)
    bounds = {
        "steps": limits.get("maxSteps"),
        "totalTokens": limits.get("maxTokens") and limits["maxTokens"] + answer,
        "activeSeconds": limits.get("timeoutSeconds") and limits["timeoutSeconds"] + 30,
    }
    return [
        f"I9: {name} is {usage[name]}, at most {bound} were allowed"
        for name, bound in bounds.items()
        if bound is not None and usage.get(name, 0) > bound
    ]


def check_counters(entries: list[Json], status: Json) -> list[str]:
    """I10: the final status counts what the journal holds; what a fork copied is of no epoch, and costs nothing."""
    entries = [entry for entry in entries if entry.get("epoch")]
    if status.get("phase") not in {"Completed", "Failed", "Cancelled", "Expired"}:
        return []
    usage = status.get("usage", {})
    counted = {"toolCalls": sum(entry["type"] == "tool_call" for entry in entries)}
    answers = {(e["round"], e["agent"], e["step"]) for e in entries if e["type"] in {"tool_call", "output", "thinking"}}
    found = [
        f"I10: status counts {usage.get(name, 0)} {name}, the journal has {count}"
        for name, count in counted.items()
        if usage.get(name, 0) != count
    ]
    if usage.get("steps", 0) < len(answers):
        found.append(f"I10: status counts {usage.get('steps', 0)} steps, the journal has answers of {len(answers)}")
    return found


def check_left(session_uid: str, objects: list[Any]) -> list[str]:
    """I4: no object carries the uid of a session that is gone. A retained claim has no owner."""
    return [
        f"I4: {found.kind or type(found).__name__} {found.metadata.name} is left of session {session_uid}"
        for found in objects
        if any(owner.uid == session_uid for owner in found.metadata.owner_references or [])
    ]


def check_settled(session: Json, pods: list[Any]) -> list[str]:
    """I7: the operator has seen the spec as it is, and the pods are those that the phase wants."""
    status, generation = session.get("status", {}), session["metadata"]["generation"]
    phase, seen = Phase(status["phase"]), status.get("observedGeneration")
    live = [p.metadata.name for p in pods if p.metadata.deletion_timestamp is None and p.status.phase in LIVE_PODS]
    found = [] if seen == generation else [f"I7: generation {generation} was not observed, {seen} was"]
    if live and phase in HOLDS_NO_POD:
        found.append(f"I7: {phase} holds pods {live}")
    if not live and phase in HOLDS_A_POD:
        found.append(f"I7: {phase} has no pod")
    return found


def check_deadline(session: Json, now: datetime) -> list[str]:
    """I8: no phase is older than its deadline without Stalled=True."""
    status = session["status"]
    phase, deadlines = Phase(status["phase"]), DEFAULT_DEADLINES
    effective = resolve(SessionSpec.model_validate(session["spec"]))
    deadline = {
        Phase.PENDING: deadlines.pending,
        Phase.QUEUED: deadlines.queued,
        Phase.STARTING: deadlines.starting + effective.max_backoff,
        Phase.PAUSING: effective.pause_grace + deadlines.ending,
        Phase.CANCELLING: effective.shutdown_grace + deadlines.ending,
    }.get(phase)
    tries = [status[field] for field in ("phaseStartedAt", "nextRetryAt") if field in status]
    age = now - max(datetime.fromisoformat(at) for at in tries)
    is_stalled = any(c["type"] == "Stalled" and c["status"] == "True" for c in status.get("conditions", []))
    if deadline is None or age <= deadline + LATE or is_stalled:
        return []
    return [f"I8: {phase} for {age}, at most {deadline} without Stalled"]


def check_cost(passes: float, writes: list[Json], events: list[Any]) -> list[str]:
    """I11: what an ordinary session of one agent costs, from its creation to Completed."""
    objects = [write["objectRef"]["resource"] for write in writes if write["objectRef"]["resource"] != "events"]
    costs = (
        ("reconciles", passes, MOST_PASSES),
        ("object writes", len(objects), MOST_OBJECT_WRITES),
        ("Events", len(events), MOST_EVENTS),
    )
    return [f"I11: {count:.0f} {what}, at most {most} are ordinary" for what, count, most in costs if count > most]


def check_audit(records: list[Json], generation: int) -> list[str]:
    """I12: each generation of a session is accounted for, and by one record unless an act changed nothing."""
    by_manifest = [record for record in records if record["by"] == "manifest" and "generation" in record]
    by_request = {record["generation"] for record in records if record["by"] == "gateway" and "generation" in record}
    told = Counter(record["generation"] for record in by_manifest)
    found = [f"I12: generation {one} has {count} records by manifest" for one, count in told.items() if count > 1]
    found += [
        f"I12: generation {record['generation']} has a record by manifest besides that of its request"
        for record in by_manifest
        if record["generation"] in by_request and record.get("fieldManager") == "agentsessions-gateway"
    ]
    covered = {*told, *by_request}
    for record in by_manifest:
        unseen = record.get("detail", {}).get("unseenGenerations", 0)
        covered |= set(range(record["generation"] - unseen, record["generation"]))
    missing = set(range(1, generation + 1)) - covered
    return [*found, *(f"I12: generation {one} has no record" for one in sorted(missing))]


def check_session(session: Json, pods: list[Any], entries: list[Json], verified: list[str]) -> list[str]:
    """Return every broken invariant of one session, as sentences."""
    status = session.get("status", {})
    return [
        *check_journal(entries, [f"I1: {problem}" for problem in verified]),
        *check_epochs(entries, status),
        *check_pods(pods),
        *check_phases(entries),
        *check_limits(status),
        *check_counters(entries, status),
    ]
