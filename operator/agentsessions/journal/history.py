"""The conversation so far, as input items for the engine, built from entries alone.

Only committed turns are in it: an answer that no turn was closed with (bought by an epoch that died, then asked for
differently) has calls without outputs, which no model accepts. A summary stands for what was said up to its cut.

Turns are shown the conversation as it is now (`revisions`): what was deleted is left out, a tool call with its result.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final, Self, assert_never

from sqlalchemy import ColumnElement, Connection, exists, select, true

from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.handoffs import is_shared
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.revisions import revise
from agentsessions.journal.rows import MailKind, MessageRole, PinnedTurn
from agentsessions.journal.tables import entries, turns
from agentsessions.journal.window import keep_newest

_ITEM_TYPES = (
    EntryType.MESSAGE,
    EntryType.THINKING,
    EntryType.OUTPUT,
    EntryType.TOOL_CALL,
    EntryType.TOOL_RESULT,
    EntryType.COMPACTION,
)
SUMMARY: Final = "Summary of the conversation so far: "
"""How the message begins that stands for what was summarised."""
REQUEST: Final = (
    "Write a summary of the conversation so far, for your own use: it has become too long, and your summary will stand "
    "for all of it except the first message and the newest ones. Keep what you need to go on: what was found out, with "
    "exact figures, names and paths; what was decided and why; what was tried and failed; what is left to do. Do not "
    "go on with the task now. Answer with the summary alone, in at most 500 words."
)
"""What a model is asked for in a compact turn."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What an agent's round has said so far, as its next turn needs it."""

    goal: tuple[EntryRow, ...]
    """The message that it began with; none before there is one."""
    summary: tuple[EntryRow, ...]
    """The newest summary; none before there is one."""
    rest: tuple[EntryRow, ...]
    """What came after."""

    def until(self, seq: int) -> Self:
        """Return it as it was said up to an entry."""
        return replace(self, rest=tuple(entry for entry in self.rest if entry.seq <= seq))

    def newest(self, max_messages: int) -> Self:
        """Return it without what is more than so many messages ago; the first one counts, and stays."""
        return replace(self, rest=tuple(keep_newest(self.rest, max_messages - len(self.goal))))


def read_history(
    conn: Connection,
    turn: PinnedTurn,
    max_messages: int | None = None,
) -> list[dict[str, Any]]:
    """Return the items that a turn starts from: those of its round alone, beginning with the goal.

    A compact turn is to summarise what was said up to its cut. With `max_messages` a long conversation is cut.
    """
    cut_seq = turn.cut_seq
    said = read_conversation(conn, turn.session_uid, turn.agent, turn.round, turn.history_seq, max_messages)
    if cut_seq is not None:
        said = said.until(cut_seq)
    items = build_items([*said.goal, *said.summary, *said.rest])
    return items if cut_seq is None else [*items, {"role": "user", "content": REQUEST}]


def read_conversation(
    conn: Connection, session_uid: str, agent: str, round_: int, through_seq: int, max_messages: int | None = None
) -> Conversation:
    """Return what an agent's turn starts from, when it was pinned at `through_seq`; at most so many messages."""
    # Once a conversation has changed hands, all agents go on with the same one.
    said_by = true() if is_shared(conn, session_uid) else entries.c.agent == agent
    is_committed = exists().where(
        turns.c.session_uid == session_uid,
        turns.c.agent == entries.c.agent,
        turns.c.round == round_,
        turns.c.answer_step == entries.c.step,
        turns.c.closed_seq <= through_seq,
    )
    rows = conn.execute(
        select(entries)
        .where(
            entries.c.session_uid == session_uid,
            entries.c.seq <= through_seq,
            entries.c.type.in_(_ITEM_TYPES),
            _is_goal() | (said_by & (entries.c.round == round_) & ((entries.c.step == 0) | is_committed)),
        )
        .order_by(entries.c.seq)
    )
    said = condense(list(revise(conn, session_uid, map(to_entry, rows.mappings()))))
    return said if max_messages is None else said.newest(max_messages)


def _is_goal() -> ColumnElement[bool]:
    return (entries.c.agent == "") & (entries.c.type == EntryType.MESSAGE)


def condense(said: Sequence[EntryRow]) -> Conversation:
    """Put the newest summary in the place of what it stands for; the first message is kept apart."""
    goal = tuple(said[:1]) if said and said[0].type is EntryType.MESSAGE else ()
    summary = tuple(entry for entry in said if entry.type is EntryType.COMPACTION)[-1:]
    after = summary[0].body["throughSeq"] if summary and summary[0].body else 0
    rest = [entry for entry in said[len(goal) :] if entry.seq > after and entry.type is not EntryType.COMPACTION]
    return Conversation(goal, summary, tuple(rest))


def build_items(conversation: Iterable[EntryRow]) -> list[dict[str, Any]]:
    """Return the items of entries in order of seq; entries of one step must follow each other."""
    steps = groupby(conversation, key=lambda entry: (entry.agent if entry.step else "", entry.step))
    return [item for _, step in steps for item in _items_of(list(step))]


def _items_of(step: list[EntryRow]) -> Iterator[dict[str, Any]]:
    results = [e.body for e in step if e.type is EntryType.TOOL_RESULT and e.body]
    outputs = {body["callId"]: body.get("shown", body["output"]) for body in results}  # shown: in replays
    call_ids: list[str] = []
    for entry in step:
        body = entry.body or {}
        match entry.type:
            case EntryType.MESSAGE:
                yield from _items_of_message(body)
            case EntryType.COMPACTION:
                yield {"role": "user", "content": SUMMARY + body.get("text", "")}
            case EntryType.THINKING | EntryType.OUTPUT:
                yield _assistant_message(body.get("text", ""))
            case EntryType.TOOL_CALL if body["callId"] in outputs:
                call_ids.append(body["callId"])
                yield _call(body["callId"], body["name"], body["arguments"])
            case _:
                pass
    for call_id in call_ids:  # results come as tools finish, models are told in the order they asked
        yield {"type": "function_call_output", "call_id": call_id, "output": outputs[call_id]}


def _items_of_message(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a message by its role. A result that somebody sent needs a call in front of it, with an id of our own."""
    role, content = MessageRole(body.get("role", MessageRole.USER)), _heading(body) + body.get("content", "")
    match role:
        case MessageRole.USER | MessageRole.SYSTEM:
            yield {"role": role.value, "content": content}
        case MessageRole.ASSISTANT:
            yield _assistant_message(content)
        case MessageRole.TOOL:
            sent = body.get("id") or body["toolCallId"]  # one that a fork copied has no id here
            call_id = f"sent_{sent.replace('-', '')}"[:40]  # the longest that OpenAI takes
            yield _call(call_id, body["toolName"], "{}")
            yield {"type": "function_call_output", "call_id": call_id, "output": content}
        case _:
            assert_never(role)


def _heading(body: dict[str, Any]) -> str:
    """Return who speaks, for messages between sessions."""
    sender, command = body.get("sender"), body.get("correlationId", body.get("id"))
    match body.get("kind"):
        case MailKind.COMMAND:
            return f"[command {command} from director {sender}]\n"
        case MailKind.PROGRESS_REPORT:
            return f"[report from {sender} on command {command}]\n"
        case MailKind.ERROR:
            return f"[error from {sender} on command {command}]\n"
        case _:
            return ""


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def _assistant_message(text: str) -> dict[str, Any]:
    """Return a full message item: the engine splits the short form from the calls that follow it."""
    return {
        "type": "message",
        "id": "__fake_id__",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
