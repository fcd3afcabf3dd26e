"""The part of each agent in a session that has several. Jobs of the writer, and queries.

- Who is due is `lifecycle.teams.find_due` of what stands here, written anew in each transaction that changes it: the
  operator is told, and a pod of an agent that is not due is given nothing to play.
- A part ends in the transaction that commits its last turn, and there the next ones are told what they need.
- A session with one agent has no rows here.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select, update

from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.wire import Outcome
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.tables import entries, epochs, handoffs, parts
from agentsessions.journal.writer import Work
from agentsessions.lifecycle import teams
from agentsessions.lifecycle.teams import Progress, Team

_OF_SESSION: Final = select(parts).where(parts.c.session_uid == bindparam("uid")).order_by(parts.c.position)
_OF_AGENT: Final = select(parts).where(parts.c.session_uid == bindparam("uid"), parts.c.agent == bindparam("agent"))
_COUNT: Final = (
    update(parts)
    .where(parts.c.session_uid == bindparam("uid"), parts.c.agent == bindparam("of"))
    .values(steps=parts.c.steps + 1, tokens=parts.c.tokens + bindparam("more"))
)


def enter(work: Work, session_uid: str, spec: Mapping[str, Any]) -> None:
    """Note the agents of a session that is new to the journal."""
    if len(spec.get("agents") or ()) < 2 or "coordination" not in spec:  # noqa: PLR2004  # one agent is no team
        return
    team = teams.team_of(SessionSpec.model_validate(spec))
    if team is None:
        return
    due = teams.find_due(team, Progress())
    rows = [
        {
            "session_uid": session_uid,
            "agent": member.name,
            "position": position,
            "is_due": member.name in due,
            "has_floor": False,
        }
        for position, member in enumerate(team.members)
    ]
    work.conn.execute(insert(parts), rows)


def find(conn: Connection, session_uid: str, agent: str) -> RowMapping | None:
    """Return an agent's part; None in a session with one agent."""
    return conn.execute(_OF_AGENT, {"uid": session_uid, "agent": agent}).mappings().one_or_none()


def is_due(conn: Connection, pod: PodIdentity) -> bool:
    """Return whether the pod's agent has something to do."""
    part = find(conn, pod.session_uid, pod.agent)
    return part is None or bool(part["is_due"])


def count(ledger: Ledger, agent: str, tokens: int) -> None:
    """Count an answer that was bought for an agent, if it is one of several."""
    if not ledger.has_parts:
        return
    ledger.work.conn.execute(_COUNT, {"uid": ledger.session_uid, "of": agent, "more": tokens})


def read_progress(conn: Connection, session_uid: str) -> Progress:
    """Return what became of the work so far, but for its end."""
    rows = conn.execute(_OF_SESSION, {"uid": session_uid}).mappings().all()
    tasked = conn.scalars(
        select(handoffs.c.receiver).where(
            handoffs.c.session_uid == session_uid, handoffs.c.is_task, handoffs.c.answered_at.is_(None)
        )
    )
    return Progress(
        done=frozenset(row["agent"] for row in rows if row["answer_seq"] is not None),
        floor=next((row["agent"] for row in rows if row["has_floor"]), ""),
        tasked=frozenset(tasked),
    )


def listens(conn: Connection, pod: PodIdentity, team: Team | None) -> bool:
    """Return whether the pod's agent takes what people say to the session."""
    if team is None:
        return True
    return teams.find_listener(team, read_progress(conn, pod.session_uid)) == pod.agent


def find_player(conn: Connection, pod: PodIdentity, team: Team | None) -> PodIdentity:
    """Return the pod as it is to play now: of the agents that share it, the one that has the conversation."""
    if team is None or len(team.group_of(pod.host)) == 1:
        return pod
    at_work = read_progress(conn, pod.session_uid).floor or team.first
    return pod.playing(at_work) if team.host_of(at_work) == pod.host else pod


def settle_due(work: Work, session_uid: str, team: Team, *, is_over: bool = False) -> tuple[str, ...]:
    """Write anew who is due; return those who were not before."""
    progress = Progress(is_over=True) if is_over else read_progress(work.conn, session_uid)
    due = teams.find_due(team, progress)
    new = []
    for row in work.conn.execute(_OF_SESSION, {"uid": session_uid}).mappings().all():
        if row["is_due"] is not (row["agent"] in due):
            change(work, session_uid, row["agent"], is_due=row["agent"] in due)
            new += [row["agent"]] if row["agent"] in due else []
    work.touched.add(session_uid)
    return tuple(new)


def change(work: Work, session_uid: str, agent: str, **values: Any) -> None:
    """Change an agent's part."""
    work.conn.execute(update(parts).where(parts.c.session_uid == session_uid, parts.c.agent == agent).values(**values))


def end_part(
    work: Work, ledger: Ledger, agent: str, team: Team, answer_seq: int
) -> Literal[Outcome.FINAL, Outcome.HANDOFF]:
    """Note the answer of an agent that works in order or beside others; tell those who waited for it.

    Returns:
        final when it was the last one: the session then has its result.
    """
    uid = ledger.session_uid
    change(work, uid, agent, answer_seq=answer_seq)
    ledger.save()  # the answers are read back
    answers = read_answers(work.conn, uid)
    new = settle_due(work, uid, team)
    for name in new:
        needed = {other: answers[other] for other in team.member(name).after}
        if needed:
            tell(work, ledger, uid, name, teams.tell_answers(needed))
    if teams.find_due(team, read_progress(work.conn, uid)):
        return Outcome.HANDOFF
    last = {name: answers[name] for name in teams.find_last(team)}
    if len(last) > 1:
        ledger.append(EntryType.OUTPUT, {"text": teams.join_answers(last)})
    return Outcome.FINAL


def read_answers(conn: Connection, session_uid: str) -> dict[str, str]:
    """Return what the agents answered whose parts are done."""
    query = (
        select(parts.c.agent, entries.c.body)
        .join(entries, (entries.c.session_uid == parts.c.session_uid) & (entries.c.seq == parts.c.answer_seq))
        .where(parts.c.session_uid == session_uid)
    )
    return {row.agent: _read_answer(row.agent, row.body or {}) for row in conn.execute(query)}


def _read_answer(agent: str, body: Mapping[str, Any]) -> str:
    """Return what an agent answered, or what is said in its place."""
    return str(body.get("text") or "") if "message" not in body else f"(agent {agent} failed: {body['message']})"


def tell(work: Work, ledger: Ledger, session_uid: str, agent: str, text: str) -> None:
    """Journal what an agent is told by others of its session; its next turn has it in its history."""
    place = Place(agent, newest_epoch(work.conn, session_uid, agent))
    ledger.append(EntryType.MESSAGE, {"role": "user", "content": text}, place)


def newest_epoch(conn: Connection, session_uid: str, agent: str) -> int:
    """Return an agent's newest fenced epoch; 0 before the first."""
    query = select(func.max(epochs.c.epoch)).where(epochs.c.session_uid == session_uid, epochs.c.agent == agent)
    return conn.scalar(query) or 0
