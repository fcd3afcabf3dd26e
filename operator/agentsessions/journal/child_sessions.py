"""Sessions that a director's agents start: asked for once for each call, made by the operator. Jobs of the writer.

- A request is stored in the transaction that checks it against what is left of the director's limits, so that no two of
  them are given the same.
- Whatever becomes of it, it gets exactly one last word: what the child answered once the child is over, or an error. It
  is a message to the director like those of departments (`mailbox`), and wakes it as they do.
- The operator says which session it made, and only that is believed: not a name, nor an owner reference.
"""

import uuid
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, bindparam, insert, select, update

from agentsessions.api.child_sessions import ChildReport
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.life import Limits
from agentsessions.api.v1alpha1.role import ChildSessions
from agentsessions.children.names import child_session_name
from agentsessions.journal import child_levels, depth, fences, mailbox, sessions
from agentsessions.journal.rows import MailKind, PodIdentity
from agentsessions.journal.tables import child_sessions, entries, usage
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.child_sessions import Amounts, Budget, grant

_BY_ID: Final = select(child_sessions).where(
    child_sessions.c.session_uid == bindparam("uid"), child_sessions.c.id == bindparam("id")
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A session that an agent wants to start."""

    call_id: str
    """The tool call: the same again is the same session."""
    limits: Limits
    goal: str | None = None
    template: str | None = None
    name: str | None = None
    """How its name is to begin; like that of the director by default."""


@dataclass(frozen=True, slots=True)
class Started:
    """A session that will be made."""

    id: str
    name: str
    limits: Limits


def start(work: Work, pod: PodIdentity, wish: Wish, allowed: ChildSessions) -> Started | str:
    """Store the wish for a session, or return why it cannot be had. The same call again is the same session.

    Raises:
        StaleEpoch, NothingToPlay: Another pod speaks for the director now.
    """
    fences.require_open(work, pod)
    mine = (child_sessions.c.session_uid == pod.session_uid, child_sessions.c.agent == pod.agent)
    before = work.conn.execute(select(child_sessions).where(*mine, child_sessions.c.call_id == wish.call_id))
    if (row := before.one_or_none()) is not None:
        return Started(row.id, row.name, Limits.model_validate(row.request["limits"]))
    granted = grant(wish.limits, _budget(work, pod, allowed))
    if isinstance(granted, str):
        return granted
    name = child_session_name(wish.name or pod.name, pod.session_uid, pod.agent, wish.call_id)
    started = Started(str(uuid.uuid4()), name, granted)
    request = {"limits": granted.to_json(), "goal": wish.goal, "template": wish.template}
    work.conn.execute(
        insert(child_sessions).values(
            session_uid=pod.session_uid,
            agent=pod.agent,
            call_id=wish.call_id,
            id=started.id,
            name=name,
            request=request,
            created_at=work.now,
        )
    )
    work.touched.add(pod.session_uid)
    return started


def _budget(work: Work, pod: PodIdentity, allowed: ChildSessions) -> Budget:
    used = mailbox.find_session(work, pod.session_uid).usage
    kept, started = child_levels.read_taken(work.conn, pod.session_uid)
    return Budget(
        limits=sessions.limits_in_force(work.conn, pod.session_uid),
        used=Amounts(used.steps, used.input_tokens + used.output_tokens, used.tool_calls, used.cost_micro_usd),
        kept=kept,
        started=started,
        most=allowed.max,
        depth=depth.find_depth(work.conn, pod) + 1,
    )


def note(work: Work, director_uid: str, request_id: str, report: ChildReport) -> bool:
    """Note what the operator says of a request, once; tell whether there is such a request."""
    row = work.conn.execute(_BY_ID, {"uid": director_uid, "id": request_id}).mappings().one_or_none()
    if row is None:
        return False
    if row["replied_at"] is not None:
        return True
    # What was asked is in the call; the copy was for the operator.
    request = {"limits": row["request"]["limits"]}
    if report.child_uid is not None and row["child_uid"] is None:
        _change(work, row, request=request, child_uid=report.child_uid)
        end(work, report.child_uid)  # it may be over already
    if report.problem is not None:
        _change(work, row, request=request)
        _reply(work, row, MailKind.ERROR, f"Session {row['name']} is not there: {report.problem}")
    return True


def end(work: Work, child_uid: str) -> None:
    """Tell a director what came of a child session that is over."""
    child = sessions.find_by_uid(work.conn, child_uid)
    if child is None or not mailbox.is_over(child):
        return
    row = work.conn.execute(select(child_sessions).where(child_sessions.c.child_uid == child_uid)).mappings().first()
    if row is None or row["replied_at"] is not None:
        return
    if child.phase is Phase.COMPLETED:
        _reply(work, row, MailKind.PROGRESS_REPORT, _result_of(work, child_uid) or mailbox.NO_TEXT)
    else:
        _reply(work, row, MailKind.ERROR, f"{mailbox.tell_end(child)} It did not reach its goal.")


def _reply(work: Work, row: RowMapping, kind: MailKind, text: str) -> None:
    _change(work, row, replied_at=work.now)
    director = mailbox.find_session(work, row["session_uid"])
    start = child_levels.Start(director.uid, director.name, row["id"])
    sender = mailbox.Sender(row["child_uid"] or "", row["name"], director.namespace)
    mailbox.tell_last_word(work, start, sender, kind, text)


def _change(work: Work, row: RowMapping, **values: Any) -> None:
    work.conn.execute(update(child_sessions).where(child_sessions.c.id == row["id"]).values(**values))
    work.touched.add(row["session_uid"])


def _result_of(work: Work, uid: str) -> str | None:
    query = select(entries.c.body).join(usage, usage.c.session_uid == entries.c.session_uid)
    body = work.conn.scalar(query.where(entries.c.session_uid == uid, entries.c.seq == usage.c.result_seq))
    return None if body is None else str(body["text"])
