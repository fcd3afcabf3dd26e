"""Sessions that are made from others: clones, forks and replays. Jobs of the writer.

What a session takes over it takes over once, in one transaction, before it is accepted; the other one may then change,
be deleted or be forgotten. The first entry of its own chain says what that was (`source`); nothing is journaled before.
By name and by uid alike, the other session is one of the same namespace, the very one that there is now, and has the
name that the spec says: that is what the right of who wrote the spec was asked for.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, bindparam, select

from agentsessions.api.names import DEFAULT_AGENT
from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.v1alpha1.session import SessionType
from agentsessions.api.v1alpha1.source import ReplayMode, ReplaySpec, ReplayTools, Source, SourceHistory
from agentsessions.journal import forks, inbox, recordings, sessions
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger
from agentsessions.journal.refusals import SessionFinished, UnknownSession
from agentsessions.journal.rows import NewMessage, SessionRow
from agentsessions.journal.spared import AGENT_FAILED
from agentsessions.journal.tables import entries, usage
from agentsessions.journal.tables import sessions as rows
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.phases import TERMINAL

GOAL_KEY: Final = "spec.goal"
"""Idempotency key of the message by which a fork's own goal is said."""
_RESET: Final = "spec.source with history Reset"
_FIRST: Final = select(entries.c.body).where(
    entries.c.session_uid == bindparam("uid"), entries.c.seq == 1, entries.c.type == EntryType.SOURCE.value
)


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Why a session cannot take over what its spec names."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a spec names."""

    field: str
    name: str
    uid: str | None
    steps: int | None
    """How many steps; None: all."""
    steps_field: str
    is_copied: bool
    replay: dict[str, Any] | None


def adopt(work: Work, uid: str) -> SourceProblem | None:
    """Take over what the session's spec names, or return why not. The same again changes nothing.

    Raises:
        UnknownSession: The session is not in the journal yet.
    """
    row = sessions.find_by_uid(work.conn, uid)
    if row is None:
        raise UnknownSession(f"session {uid} is not in the journal yet; put_session comes first")
    wanted = _read_wanted(row.spec)
    ledger = Ledger(work, uid)
    if wanted is None or ledger.head:
        return None
    found = _find(work.conn, row, wanted)
    if found is None:
        which = wanted.name if wanted.uid is None else f"{wanted.name} with uid {wanted.uid}"
        return SourceProblem(
            Reason.SOURCE_NOT_FOUND,
            f"{wanted.field} names session {which!r}, and the journal knows no other session of that name in namespace "
            f"{row.namespace}: create it, or name another",
        )
    steps = recordings.read_steps(work.conn, found["uid"])
    problem = _problem_of(work.conn, row, wanted, found, steps)
    if problem is not None:
        return SourceProblem(Reason.SOURCE_INVALID, problem)
    _take_over(work, ledger, row, wanted, found, steps[: wanted.steps])
    return None


def read_origin(conn: Connection, uid: str) -> dict[str, Any] | None:
    """Return what a session was made from: the body of its first entry; None for all others."""
    return conn.execute(_FIRST, {"uid": uid}).scalar_one_or_none()


def set_goal(work: Work, uid: str, text: str) -> None:
    """Journal the goal with its context: as the first message, or, behind a copied history, as the next one."""
    ledger = Ledger(work, uid)
    if not ledger.has_goal:
        sessions.write_goal(ledger, text)
        ledger.save()
        return
    origin = read_origin(work.conn, uid)
    if origin is None or not origin["steps"] or "replay" in origin:
        return
    first = select(entries.c.body).where(
        entries.c.session_uid == uid, entries.c.type == EntryType.MESSAGE.value, entries.c.agent == ""
    )
    said = work.conn.execute(first.order_by(entries.c.seq).limit(1)).scalar_one_or_none()
    row = sessions.find_by_uid(work.conn, uid)
    if row is None or said is None or said["content"] == text:
        return
    with suppress(SessionFinished):  # nobody needs to be told any more
        inbox.put(work, uid, NewMessage(f"goal-{uid}", text, row.owner, GOAL_KEY))


def _read_wanted(spec: dict[str, Any]) -> _Wanted | None:
    if spec.get("source"):
        source = Source.model_validate(spec["source"])
        ref, is_copied = source.session_ref, source.history is not SourceHistory.RESET
        return _Wanted(
            "spec.source.sessionRef", ref.name, ref.uid, source.at_step, "spec.source.atStep", is_copied, None
        )
    if spec.get("replay"):
        replay = ReplaySpec.model_validate(spec["replay"])
        how = {
            "mode": (replay.mode or ReplayMode.RECORDED).value,
            "tools": (replay.tools or ReplayTools.RECORDED).value,
        }
        return _Wanted(
            "spec.replay.of", replay.of.name, replay.of.uid, replay.until_step, "spec.replay.untilStep", False, how
        )
    return None


def _find(conn: Connection, row: SessionRow, wanted: _Wanted) -> RowMapping | None:
    query = (
        select(rows, usage.c.head, usage.c.digest, usage.c.turns)
        .join(usage, usage.c.session_uid == rows.c.uid)
        .where(
            rows.c.namespace == row.namespace,
            rows.c.namespace_uid == row.namespace_uid,
            rows.c.name == wanted.name,
            rows.c.uid != row.uid,
        )
    )
    if wanted.uid is not None:
        query = query.where(rows.c.uid == wanted.uid)
    newest = query.order_by(rows.c.created_at.desc(), rows.c.deleted_at.is_(None).desc(), rows.c.uid).limit(1)
    return conn.execute(newest).mappings().one_or_none()


def _problem_of(conn: Connection, row: SessionRow, wanted: _Wanted, found: RowMapping, steps: Any) -> str | None:
    """Return why nothing can be taken over of a session that is there."""
    if not wanted.is_copied and wanted.replay is None:
        return None
    who = f"session {found['namespace']}/{found['name']} ({found['uid']})"
    chosen = steps[: wanted.steps]
    problem = _problem_of_steps(who, wanted, found, steps) or _problem_of_agents(who, row, chosen)
    if problem is not None or wanted.replay is None:
        return problem
    if len(found["spec"].get("agents") or ()) > 1:
        problem = _problem_of_team(conn, who, row, wanted, found)
    elif wanted.steps is None and found["deleted_at"] is None and found["phase"] not in TERMINAL:
        problem = f"{who} is not over: wait for its end, or set {wanted.steps_field} to how far it is to be done again"
    return problem or _problem_of_replay(conn, who, found["uid"], chosen)


def _problem_of_steps(who: str, wanted: _Wanted, found: RowMapping, steps: Any) -> str | None:
    if found["type"] == SessionType.METRICS:
        return f"{who} runs its goal in rounds, which are neither copied nor replayed: use {_RESET}"
    if not steps and found["turns"]:
        return f"{who} runs a program of its own, which has no turns to go on from: use {_RESET}"
    if wanted.steps is not None and wanted.steps > len(steps):
        return f"{wanted.steps_field} is {wanted.steps}, and {who} has {len(steps)} completed steps: ask for less"
    return None


def _problem_of_agents(who: str, row: SessionRow, steps: Any) -> str | None:
    if row.spec.get("templateRef") and not row.spec.get("agents"):
        return None  # the template has them, which is put under the spec once the session is accepted
    played = {step.agent for step in steps}
    own = {agent["name"] for agent in row.spec.get("agents") or [{"name": DEFAULT_AGENT}]}
    if played <= own:
        return None
    return (
        f"{who} was played by agents {', '.join(sorted(played))}, and this session has {', '.join(sorted(own))}: "
        "create it with agents of the same names"
    )


def _problem_of_team(conn: Connection, who: str, row: SessionRow, wanted: _Wanted, found: RowMapping) -> str | None:
    """Return why several agents cannot do a session once more: who is due must follow from what they do."""
    if found["phase"] != Phase.COMPLETED:
        return f"{who} has several agents and did not complete ({found['phase']}): only such that did can be replayed"
    if wanted.steps is not None:
        return f"{who} has several agents, which do all of it again or nothing: leave {wanted.steps_field} out"
    of_team = entries.c.session_uid == found["uid"], entries.c.agent != ""
    said = select(entries.c.body).where(*of_team, entries.c.type == EntryType.MESSAGE.value)
    if any("id" in (body or {"id": ""}) for body in conn.scalars(said)):
        return f"people talked to {who}, which has several agents: such a conversation cannot be done once more"
    failed = select(entries.c.body).where(*of_team, entries.c.type == EntryType.ERROR.value)
    if any((body or {}).get("code") == AGENT_FAILED for body in conn.scalars(failed)):
        return f"{who} went on without one of its agents, which is not done once more"
    is_from_template = row.spec.get("templateRef") and not row.spec.get("agents")
    if not is_from_template and _shape_of(row.spec) != _shape_of(found["spec"]):
        return f"{who} has another spec.coordination, or other agents or dependsOn: create this session with the same"
    return None


def _shape_of(spec: dict[str, Any]) -> Any:
    """Return what of a spec says who works when."""
    agents = [(agent["name"], agent.get("dependsOn")) for agent in spec.get("agents") or ()]
    return spec.get("coordination"), agents


def _problem_of_replay(conn: Connection, who: str, uid: str, steps: Any) -> str | None:
    if not steps:
        return f"{who} has no completed step: there is nothing to do again yet"
    if recordings.is_summarised(steps):
        return f"the conversation of {who} was summarised on the way, which a replay does not do: set untilStep to less"
    for number, step in enumerate(steps, 1):
        if recordings.read_step(conn, uid, step.agent, step.round, step.answer_step).has_gaps:
            return f"of step {number} of {who} something was deleted: set spec.replay.untilStep to less"
    return None


def _take_over(work: Work, ledger: Ledger, row: SessionRow, wanted: _Wanted, found: RowMapping, steps: Any) -> None:
    is_used = wanted.is_copied or wanted.replay is not None
    body = {
        "name": found["name"],
        "uid": found["uid"],
        "head": found["head"],
        "digest": found["digest"],
        "steps": len(steps) if is_used else 0,
        "throughSeq": steps[-1].closed_seq if steps and is_used else 0,
        **({"replay": wanted.replay} if wanted.replay is not None else {}),
    }
    ledger.append(EntryType.SOURCE, body)
    if wanted.is_copied and steps:
        forks.copy(work, ledger, found["uid"], steps)
    elif wanted.replay is not None and not row.goal and not row.spec.get("context"):
        goal = forks.read_goal(work.conn, found["uid"])
        if goal is not None:
            sessions.write_goal(ledger, goal)
    sessions.begin(ledger, row)
    ledger.save()
