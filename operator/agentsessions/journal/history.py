"""The conversation so far, as input items for the engine, built from entries alone.

Only committed turns are in it: an answer that no turn was closed with (bought by an epoch that died, then asked for
differently) has calls without outputs, which no model accepts.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select

from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.tables import entries, turns
from agentsessions.journal.window import keep_newest

_ITEM_TYPES = (
    EntryType.MESSAGE,
    EntryType.THINKING,
    EntryType.OUTPUT,
    EntryType.TOOL_CALL,
    EntryType.TOOL_RESULT,
)


def read_history(
    conn: Connection, session_uid: str, agent: str, round_: int, through_seq: int, max_messages: int | None = None
) -> list[dict[str, Any]]:
    """Return the items that an agent's turn starts from, when it was pinned at `through_seq`.

    They are those of its round alone, and begin with the goal; with `max_messages` a long conversation is cut.
    """
    steps = select(turns.c.answer_step).where(
        turns.c.session_uid == session_uid,
        turns.c.agent == agent,
        turns.c.round == round_,
        turns.c.closed_seq <= through_seq,
    )
    rows = conn.execute(
        select(entries)
        .where(
            entries.c.session_uid == session_uid,
            entries.c.seq <= through_seq,
            entries.c.type.in_(_ITEM_TYPES),
            (entries.c.agent == "")  # the goal
            | (
                (entries.c.agent == agent)
                & (entries.c.round == round_)
                & ((entries.c.step == 0) | entries.c.step.in_(steps))
            ),
        )
        .order_by(entries.c.seq)
    )
    conversation = [to_entry(row) for row in rows.mappings()]
    return build_items(conversation if max_messages is None else keep_newest(conversation, max_messages))


def build_items(conversation: Iterable[EntryRow]) -> list[dict[str, Any]]:
    """Return the items of entries in order of seq; entries of one step must follow each other."""
    return [item for _, step in groupby(conversation, key=lambda entry: entry.step) for item in _items_of(list(step))]


def _items_of(step: list[EntryRow]) -> Iterator[dict[str, Any]]:
    outputs: dict[str, str] = {}
    call_ids: list[str] = []
    for entry in step:
        body = entry.body or {}
        match entry.type:
            case EntryType.MESSAGE:
                yield {"role": body.get("role", "user"), "content": body.get("content", "")}
            case EntryType.THINKING | EntryType.OUTPUT:
                yield _assistant_message(body.get("text", ""))
            case EntryType.TOOL_CALL:
                call_ids.append(body["callId"])
                yield {
                    "type": "function_call",
                    "call_id": body["callId"],
                    "name": body["name"],
                    "arguments": body["arguments"],
                }
            case EntryType.TOOL_RESULT:
                outputs[body["callId"]] = body["output"]
            case _:
                pass
    for call_id in call_ids:  # results come as tools finish, models are told in the order they asked
        if call_id in outputs:
            yield {"type": "function_call_output", "call_id": call_id, "output": outputs[call_id]}


def _assistant_message(text: str) -> dict[str, Any]:
    """Return a full message item: the engine splits the short form from the calls that follow it."""
    return {
        "type": "message",
        "id": "__fake_id__",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
