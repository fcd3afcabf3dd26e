"""Messages between sessions of one namespace: commands of directors, and what becomes of them. Jobs, and queries.

They go through the inbox. What it promises of any message holds for them: stored once, taken by one turn.
- Who may speak to whom is decided here, from the read model, in the transaction that stores the message.
- A command gets exactly one last word: the text that answers it, in the transaction that commits the answer, or an
  error when nobody will answer any more. Reports before it are held: they begin no turn of the director.
- A director's turn begins with the last word on its last open command, or with an error. So it reads what came of the
  commands together, and none of its departments can keep it busy.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.role import SessionRole
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.journal import child_levels, fences, inbox, sessions
from agentsessions.journal.open_commands import count_open
from agentsessions.journal.refusals import Refusal, SessionFinished, UnknownSession
from agentsessions.journal.rows import Mail, MailKind, MailPriority, MessageRow, NewMessage, PodIdentity, SessionRow
from agentsessions.journal.tables import inbox as mail
from agentsessions.journal.tables import sessions as known
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.phases import TERMINAL

STANDING: Final = frozenset({Phase.PAUSING, Phase.PAUSED, Phase.CANCELLING})
"""Phases in which a session takes no command, although it is not over."""
NO_TEXT: Final = "(no text)"


class NotAllowed(Refusal):
    """A session may not say this to that session."""


class NobodyThere(Refusal):
    """No department that fits takes commands now."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command to send."""

    call_id: str
    """The tool call: the same again is the same command."""
    candidates: Sequence[str]
    """Sessions that would do; of those that still take commands, the one goes first that waited longest for one."""
    task: str
    priority: MailPriority = MailPriority.NORMAL


@dataclass(frozen=True, slots=True)
class Sender:
    """A session that says something."""

    uid: str
    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A command that is stored."""

    id: str
    to: str
    """Name of the session that has it."""


def takes_commands(row: SessionRow, director: SessionRow) -> bool:
    """Return whether a session is registered for the commands of a director.

    It is by what it is: a department or worker of the same owner that names the director, or a department that names
    none, and that is neither paused nor about to end.
    """
    ref = (row.spec.get("directorRef") or {}).get("name")
    if row.role == SessionRole.DEPARTMENT:
        is_meant = ref in {director.name, None}
        is_open = bool((row.spec.get("conversation") or {}).get("open"))
    else:
        is_meant, is_open = row.role == SessionRole.WORKER and ref == director.name, True
    is_there = row.deleted_at is None and row.phase not in TERMINAL | STANDING
    is_own = (row.namespace, row.owner) == (director.namespace, director.owner) and row.uid != director.uid
    return is_own and is_meant and is_open and is_there and row.operating_mode is OperatingMode.RUNNING


def send_command(work: Work, pod: PodIdentity, order: Order) -> Sent:
    """Store a command for one of the sessions that would do. The same call again is the same command.

    Raises:
        StaleEpoch, NothingToPlay: Another pod speaks for the director now.
        NotAllowed: The session is no director.
        NobodyThere: None of the candidates takes its commands now.
        InboxFull, KeyReused, SessionFinished.
    """
    fences.require_open(work, pod)
    director = find_session(work, pod.session_uid)
    if director.role != SessionRole.DIRECTOR:
        raise NotAllowed(f"session {pod.namespace}/{pod.name} has role {director.role}: only a Director sends commands")
    key = _key("command", pod, order.call_id)
    before = work.conn.execute(
        select(mail.c.id, known.c.name)
        .join(known, known.c.uid == mail.c.session_uid)
        .where(mail.c.sender_uid == pod.session_uid, mail.c.idempotency_key == key)
    ).one_or_none()
    if before is not None:
        return Sent(before.id, before.name)
    to = _pick(work, director, order.candidates)
    letter = Mail(kind=MailKind.COMMAND, priority=order.priority, sender_uid=director.uid, sender=director.name)
    stored = inbox.put(work, to.uid, _letter(order.task, _to_sender(director), letter, key))
    return Sent(stored.id, to.name)


def _pick(work: Work, director: SessionRow, candidates: Sequence[str]) -> SessionRow:
    """Return the candidate whose last command of this director is the oldest; those without one come first."""
    rows = [row for uid in candidates if (row := sessions.find_by_uid(work.conn, uid)) is not None]
    there = [row for row in rows if takes_commands(row, director)]
    if not there:
        raise NobodyThere("none of the sessions that fit takes commands now: they are paused, or about to end")
    query = select(mail.c.session_uid, func.max(mail.c.created_at).label("at")).where(
        mail.c.sender_uid == director.uid, mail.c.kind == MailKind.COMMAND.value
    )
    newest = {row.session_uid: row.at for row in work.conn.execute(query.group_by(mail.c.session_uid))}
    return min(there, key=lambda row: (row.uid in newest, newest.get(row.uid, row.created_at), row.name))


def send_report(work: Work, pod: PodIdentity, call_id: str, text: str) -> list[str]:
    """Tell the directors whose commands are being worked on how they go on; return the directors' names.

    Raises:
        StaleEpoch, NothingToPlay: Another pod speaks for the department now.
        NotAllowed: It works on no command.
        InboxFull, KeyReused.
    """
    fences.require_open(work, pod)
    under_way = list(_unreplied(work, pod.session_uid, is_taken=True))
    if (start := child_levels.find_start(work.conn, pod.session_uid)) is not None:
        under_way.append(start)
    if not under_way:
        raise NotAllowed(f"session {pod.namespace}/{pod.name} works on no command: there is nobody to report to")
    sender = Sender(pod.session_uid, pod.name, pod.namespace)
    for place, command in enumerate(under_way):
        letter = _about(command, sender, MailKind.PROGRESS_REPORT, is_held=True)
        key = _key("report", pod, f"{place}/{call_id}")
        _deliver(work, command.sender_uid, _letter(text, sender, letter, key), is_awaited=False)
    return [command.sender for command in under_way]


def answer(work: Work, session_uid: str, text: str | None) -> None:
    """Give the commands that a session worked on their last word: the text that it ended with."""
    commands = _unreplied(work, session_uid, is_taken=True)
    if commands:
        sender = _to_sender(find_session(work, session_uid))
        for command in commands:
            _reply(work, command, sender, MailKind.PROGRESS_REPORT, text or NO_TEXT)


def return_commands(work: Work, session_uid: str) -> None:
    """Give all commands of a session that is over back to who sent them, as errors."""
    commands = _unreplied(work, session_uid, is_taken=None)
    if not commands:
        return
    row = find_session(work, session_uid)
    for command in commands:
        _reply(work, command, _to_sender(row), MailKind.ERROR, f"{tell_end(row)} It did not answer the command.")


def tell_end(row: SessionRow) -> str:
    """Say how a session ended that did not do what it was to do."""
    how = f"{row.phase} ({row.stop_reason})" if row.stop_reason else "deleted" if row.deleted_at else str(row.phase)
    return f"Session {row.name} is {how}{f': {row.message}' if row.message else ''}."


def return_withdrawn(work: Work, session_uid: str) -> None:
    """Give the commands that somebody deleted before they were taken back to who sent them, as errors."""
    gone = (mail.c.deleted_at.is_not(None), mail.c.entry_seq.is_(None))
    for command in work.conn.execute(select(mail).where(*_open_commands(session_uid), *gone)).all():
        text = "Somebody deleted the command before it was taken."
        _reply(work, command, _to_sender(find_session(work, session_uid)), MailKind.ERROR, text)


def is_over(row: SessionRow) -> bool:
    """Return whether a session will answer nothing any more."""
    return row.deleted_at is not None or row.phase in TERMINAL


def _reply(work: Work, command: Any, sender: Sender, kind: MailKind, text: str) -> None:
    done = update(mail).where(mail.c.session_uid == command.session_uid, mail.c.ordinal == command.ordinal)
    work.conn.execute(done.values(replied_at=work.now))
    tell_last_word(work, command, sender, kind, text)


def tell_last_word(work: Work, command: Any, sender: Sender, kind: MailKind, text: str) -> None:
    """Tell a director what came of a command, or of a session that it started: noted as replied to just before."""
    is_last = count_open(work.conn, command.sender_uid) == 0
    letter = _about(command, sender, kind, is_held=None if is_last or kind is MailKind.ERROR else True)
    _deliver(work, command.sender_uid, _letter(text, sender, letter, None), is_awaited=True)


def _deliver(work: Work, to: str, message: NewMessage, *, is_awaited: bool) -> None:
    """Store a message for a session, unless that is over: then there is nobody who waits for it."""
    try:
        inbox.put(work, to, message, is_awaited=is_awaited)
    except (SessionFinished, UnknownSession):
        return


def _unreplied(work: Work, session_uid: str, *, is_taken: bool | None) -> Sequence[Any]:
    which = list(_open_commands(session_uid))
    if is_taken:
        which.append(mail.c.entry_seq.is_not(None))
    return work.conn.execute(select(mail).where(*which).order_by(mail.c.ordinal)).all()


def _open_commands(session_uid: str) -> tuple[Any, ...]:
    return mail.c.session_uid == session_uid, mail.c.kind == MailKind.COMMAND.value, mail.c.replied_at.is_(None)


def _to_sender(row: SessionRow) -> Sender:
    return Sender(row.uid, row.name, row.namespace)


def find_session(work: Work, uid: str) -> SessionRow:
    """Return the session with this uid.

    Raises:
        UnknownSession: There is none.
    """
    row = sessions.find_by_uid(work.conn, uid)
    if row is None:
        raise UnknownSession(f"session {uid} is not in the journal yet; put_session comes first")
    return row


def _about(command: Any, sender: Sender, kind: MailKind, *, is_held: bool | None) -> Mail:
    return Mail(
        kind=kind,
        priority=MailPriority(command.priority),
        sender_uid=sender.uid,
        sender=sender.name,
        correlation_id=command.id,
        is_held=is_held,
    )


def _letter(text: str, sender: Sender, letter: Mail, key: str | None) -> NewMessage:
    actor = f"session {sender.namespace}/{sender.name}"
    return NewMessage(str(uuid.uuid4()), text, actor, key, mail=letter)


def _key(what: str, pod: PodIdentity, call_id: str) -> str:
    return f"{what}/{pod.session_uid}/{pod.agent}/{call_id}"


def find_mail(
    conn: Connection, session_uid: str, *, is_sent: bool, kind: MailKind | None, after: int, limit: int
) -> list[tuple[int, str, MessageRow]]:
    """Return messages that other sessions sent to a session, or that it sent, from the one behind place `after`.

    Returns:
        Place in this list, name of the session that was sent it, and the message.
    """
    whose = mail.c.sender_uid if is_sent else mail.c.session_uid
    which = [whose == session_uid, mail.c.kind.is_not(None)]
    if kind is not None:
        which.append(mail.c.kind == kind.value)
    order = (mail.c.created_at, mail.c.session_uid, mail.c.ordinal)
    place = func.row_number().over(order_by=order).label("place")
    found = select(place, mail.c.session_uid, mail.c.id, known.c.name.label("receiver"))
    page = found.join(known, known.c.uid == mail.c.session_uid).where(*which).subquery()
    rows = conn.execute(select(page).where(page.c.place > after).order_by(page.c.place).limit(limit)).all()
    messages = [(row.place, row.receiver, inbox.find(conn, row.session_uid, row.id)) for row in rows]
    return [(place, receiver, message) for place, receiver, message in messages if message is not None]
