"""Changing what was said: edits and deletions. Jobs of the writer.

- What no turn has taken is changed in place. What is in the journal loses its content for good, digest and hash stay,
  and an entry tells what became of it and who wanted that (`revisions`). Copies of the content go too: the inbox row,
  the recorded model answer, the tool's result, and each summary that stands for it.
- What an agent is answering is left alone until it has answered: a turn that is played again after a crash must find
  the calls that it made. Anything older may change at any moment. A pod that plays has what it was given; one that
  plays the turn again is given the conversation as it now is, so its request is another one, and is bought.
- A tool call and its result are deleted together, since no model takes one without the other.
- The goal is in the session's spec, which does not change.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_, func, null, select, update

from agentsessions.journal import mailbox, seals, sessions
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.inbox import QUEUED, TEXT_OUTCOMES
from agentsessions.journal.ledger import Ledger, to_entry
from agentsessions.journal.messages import SHOWN, find_seq
from agentsessions.journal.refusals import MessageFixed, MessageInPlay, UnknownMessage, UnknownSession
from agentsessions.journal.revisions import Revision, read_revisions
from agentsessions.journal.rows import TurnKind
from agentsessions.journal.tables import entries, inbox, model_calls, tool_calls, turns
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.phases import TERMINAL

MOST_AT_ONCE: Final = 1000
"""Entries that one entry `redacted` names."""
_CONTENT: Final = {EntryType.MESSAGE: "content", EntryType.TOOL_RESULT: "output"}
_TEXT: Final = "text"
SHOWN_INSTEAD: Final = "shown"
"""What a replay's model is shown in place of a result; after an edit it is shown what the entry says now."""
_TOOL: Final = frozenset({EntryType.TOOL_CALL, EntryType.TOOL_RESULT})


@dataclass(frozen=True, slots=True)
class Edit:
    """How a message is to be; None leaves a part as it is."""

    content: str | None = None
    extra_data: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Cleared:
    """What became of a conversation that was cleared."""

    deleted: int
    kept: int
    """Messages that an agent is answering, and the goal."""


def edit(work: Work, session_uid: str, message_id: str, wanted: Edit, actor: str) -> None:
    """Change what a message says.

    Raises:
        UnknownMessage, MessageInPlay, MessageFixed.
    """
    conversation = _Conversation(work, session_uid)
    seq = conversation.locate(message_id)
    if seq is None:
        _edit_sent(work, inbox.c.id == message_id, wanted)
    else:
        conversation.edit(seq, message_id, wanted, actor)
    work.touched.add(session_uid)


def delete(work: Work, session_uid: str, message_id: str, actor: str) -> None:
    """Delete a message; a tool call with its result, and the other way round.

    Raises:
        UnknownMessage, MessageInPlay, MessageFixed.
    """
    conversation = _Conversation(work, session_uid)
    seq = conversation.locate(message_id)
    if seq is None:
        _delete_sent(work, inbox.c.id == message_id)
        mailbox.return_withdrawn(work, session_uid)
    else:
        conversation.delete(seq, message_id, actor)
    work.touched.add(session_uid)


def clear(work: Work, session_uid: str, actor: str) -> Cleared:
    """Delete all messages but the goal and those that an agent is answering."""
    conversation = _Conversation(work, session_uid)
    queued = _delete_sent(work, and_(inbox.c.session_uid == session_uid, *QUEUED))
    mailbox.return_withdrawn(work, session_uid)
    cleared = conversation.clear(actor)
    work.touched.add(session_uid)
    return Cleared(cleared.deleted + queued, cleared.kept)


class _Conversation:
    """The entries of one session that are messages, held for the length of one job. A sealed session has none."""

    def __init__(self, work: Work, session_uid: str) -> None:
        row = sessions.find_by_uid(work.conn, session_uid)
        if row is None:
            raise UnknownSession(f"session {session_uid} is not in the journal yet; put_session comes first")
        self._work = work
        self._uid = session_uid
        self._name = f"{row.namespace}/{row.name}"
        if (sealed := seals.find_seal(work.conn, session_uid)) is not None:
            raise MessageFixed(
                f"the journal of session {self._name} was sealed at entry {sealed}: nothing in it changes any more"
            )
        self._is_over = row.deleted_at is not None or row.phase in TERMINAL
        self._revisions = read_revisions(work.conn, session_uid)
        self._settled: dict[str, int | None] = {}

    def locate(self, message_id: str) -> int | None:
        """Return the seq of a message; None while it is queued."""
        row = self._work.conn.execute(
            select(inbox.c.entry_seq, inbox.c.deleted_at).where(
                inbox.c.session_uid == self._uid, inbox.c.id == message_id
            )
        ).one_or_none()
        seq = find_seq(message_id) if row is None else row.entry_seq
        if (row is None and seq is None) or (row is not None and row.deleted_at is not None):
            raise self._unknown(message_id)
        return seq

    def edit(self, seq: int, message_id: str, wanted: Edit, actor: str) -> None:
        """Take the content of an entry, and write what it is now."""
        entry = self._find(seq, message_id)
        if entry.type is EntryType.TOOL_CALL and wanted.content is not None:
            raise MessageFixed(
                f"message {message_id} of session {self._name} is a tool call, which is what the agent did: delete it"
            )
        before = {name: value for name, value in self._body_of(entry).items() if name != SHOWN_INSTEAD}
        words = {} if wanted.content is None else {_CONTENT.get(entry.type, _TEXT): wanted.content}
        extra = {} if wanted.extra_data is None else {"extraData": wanted.extra_data}
        taken = self._take([entry])
        ledger = Ledger(self._work, self._uid)
        body = {"seq": seq, "body": {**before, **words, **extra}, "seqs": taken, "actor": actor}
        ledger.append(EntryType.EDITED, body)
        ledger.save()
        _edit_sent(self._work, and_(inbox.c.session_uid == self._uid, inbox.c.entry_seq == seq), wanted)

    def delete(self, seq: int, message_id: str, actor: str) -> None:
        """Take the content of an entry, and of the other half of a tool call."""
        entry = self._find(seq, message_id)
        self._redact([entry, *self._other_half(entry)], actor)

    def clear(self, actor: str) -> Cleared:
        """Take the content of all entries that may be changed."""
        query = select(entries).where(entries.c.session_uid == self._uid, entries.c.type.in_(SHOWN))
        rows = self._work.conn.execute(query.order_by(entries.c.seq)).mappings()
        standing = [entry for entry in map(to_entry, rows) if self._stands(entry)]
        free = [entry for entry in standing if not _is_goal(entry) and not self._is_in_play(entry)]
        for start in range(0, len(free), MOST_AT_ONCE):
            self._redact(free[start : start + MOST_AT_ONCE], actor)
        return Cleared(len(free), len(standing) - len(free))

    def _find(self, seq: int, message_id: str) -> EntryRow:
        query = select(entries).where(
            entries.c.session_uid == self._uid, entries.c.seq == seq, entries.c.type.in_(SHOWN)
        )
        row = self._work.conn.execute(query).mappings().one_or_none()
        entry = None if row is None else to_entry(row)
        if entry is None or not self._stands(entry) or self._body_of(entry).get("id", message_id) != message_id:
            raise self._unknown(message_id)
        if _is_goal(entry):
            raise MessageFixed(
                f"message {message_id} of session {self._name} is its goal, which is in its spec and cannot change"
            )
        if self._is_in_play(entry):
            raise MessageInPlay(
                f"message {message_id} of session {self._name} belongs to what agent {entry.agent} is answering now: "
                "wait for its answer, or cancel the session"
            )
        return entry

    def _stands(self, entry: EntryRow) -> bool:
        return entry.body is not None or entry.seq in self._revisions

    def _body_of(self, entry: EntryRow) -> dict[str, Any]:
        return entry.body if entry.body is not None else self._revisions[entry.seq].body

    def _unknown(self, message_id: str) -> UnknownMessage:
        return UnknownMessage(f"session {self._name} has no message {message_id!r}, or not any more")

    def _is_in_play(self, entry: EntryRow) -> bool:
        if self._is_over:
            return False
        if entry.agent not in self._settled:
            self._settled[entry.agent] = _settled_through(self._work, self._uid, entry.agent)
        settled = self._settled[entry.agent]
        return settled is not None and entry.seq > settled

    def _other_half(self, entry: EntryRow) -> list[EntryRow]:
        """Return the result of a call, or the call of a result."""
        if entry.type not in _TOOL:
            return []
        call_id = self._body_of(entry)["callId"]
        query = select(entries).where(
            entries.c.session_uid == self._uid,
            entries.c.round == entry.round,
            entries.c.agent == entry.agent,
            entries.c.step == entry.step,
            entries.c.type.in_(_TOOL),
            entries.c.seq != entry.seq,
        )
        others = map(to_entry, self._work.conn.execute(query).mappings())
        return [other for other in others if self._stands(other) and self._body_of(other)["callId"] == call_id]

    def _redact(self, gone: Sequence[EntryRow], actor: str) -> None:
        taken = self._take(gone)
        ledger = Ledger(self._work, self._uid)
        ledger.append(EntryType.REDACTED, {"seqs": taken, "actor": actor})
        ledger.save()
        seqs = [entry.seq for entry in gone]
        _delete_sent(self._work, and_(inbox.c.session_uid == self._uid, inbox.c.entry_seq.in_(seqs)))

    def _take(self, gone: Sequence[EntryRow]) -> list[int]:
        """Remove the content of entries, and of what was made of it; return all that an entry must then name."""
        summaries = self._summaries_of(gone)
        revisions = [self._revisions[entry.seq] for entry in gone if entry.seq in self._revisions]
        seqs = [entry.seq for entry in (*gone, *summaries)]
        taken = sorted({*seqs, *(seq for revision in revisions for seq in _all_of(revision))})
        self._work.conn.execute(
            update(entries)
            .where(entries.c.session_uid == self._uid, entries.c.seq.in_(taken), entries.c.body.is_not(null()))
            .values(body=null())
        )
        self._forget_answers((*gone, *summaries))
        return taken

    def _summaries_of(self, gone: Sequence[EntryRow]) -> list[EntryRow]:
        """Return the summaries that stand for any of the entries."""
        query = select(entries).where(
            entries.c.session_uid == self._uid,
            entries.c.type == EntryType.COMPACTION.value,
            entries.c.body.is_not(null()),
        )
        found = map(to_entry, self._work.conn.execute(query).mappings())
        return [summary for summary in found if any(_stands_for(summary, entry) for entry in gone)]

    def _forget_answers(self, gone: Iterable[EntryRow]) -> None:
        """Remove what was recorded for turns that nobody plays again."""
        for agent, round_, step in sorted({(entry.agent, entry.round, entry.step) for entry in gone if entry.step}):
            self._work.conn.execute(
                update(model_calls)
                .where(
                    model_calls.c.session_uid == self._uid,
                    model_calls.c.agent == agent,
                    model_calls.c.round == round_,
                    model_calls.c.step == step,
                )
                .values(answer=null())
            )
        for entry in gone:
            if entry.type is EntryType.TOOL_RESULT:
                self._work.conn.execute(
                    update(tool_calls)
                    .where(
                        tool_calls.c.session_uid == self._uid,
                        tool_calls.c.agent == entry.agent,
                        tool_calls.c.round == entry.round,
                        tool_calls.c.call_id == self._body_of(entry)["callId"],
                    )
                    .values(output="")
                )


def _settled_through(work: Work, session_uid: str, agent: str) -> int | None:
    """Return the last entry of what an agent has answered; None when it is answering nothing."""
    of_agent = (turns.c.session_uid == session_uid, turns.c.agent == agent)
    query = select(turns.c.outcome, turns.c.kind).where(*of_agent)
    newest = work.conn.execute(query.order_by(turns.c.round.desc(), turns.c.k.desc()).limit(1)).one_or_none()
    if newest is not None and newest.outcome in TEXT_OUTCOMES:
        return None
    if newest is None or (newest.outcome is None and newest.kind == TurnKind.COMPACT):
        return 0  # a program that may repeat all its requests; a summary of all that is older
    answered = select(func.max(turns.c.closed_seq)).where(*of_agent, turns.c.outcome.in_(TEXT_OUTCOMES))
    return work.conn.scalar(answered) or 0


def _is_goal(entry: EntryRow) -> bool:
    return entry.type is EntryType.MESSAGE and not entry.agent


def _all_of(revision: Revision) -> tuple[int, ...]:
    return (revision.seq, *revision.seqs)


def _stands_for(summary: EntryRow, entry: EntryRow) -> bool:
    is_same = (summary.agent, summary.round) == (entry.agent, entry.round)
    return is_same and summary.body is not None and summary.body["throughSeq"] >= entry.seq


def _edit_sent(work: Work, which: Any, wanted: Edit) -> None:
    values: dict[str, Any] = {"updated_at": work.now}
    if wanted.content is not None:
        values["content"] = wanted.content
    if wanted.extra_data is not None:
        values["extra_data"] = wanted.extra_data
    work.conn.execute(update(inbox).where(which).values(values))


def _delete_sent(work: Work, which: Any) -> int:
    gone = {"content": "", "extra_data": null(), "deleted_at": work.now}
    return work.conn.execute(update(inbox).where(which).values(gone)).rowcount
