"""What a session did in its completed steps, as its clones and replays take it over. Queries.

Steps are closed turns that have an answer, in the order in which they were closed. What they said is shown as it is
now: what was edited since is read as it says now, what was deleted is missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select

from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.revisions import revise
from agentsessions.journal.rows import TurnKind
from agentsessions.journal.tables import entries, turns

READ_AT_ONCE: Final = 200

_STEPS: Final = (
    select(turns)
    .where(
        turns.c.session_uid == bindparam("uid"),
        turns.c.answer_step.is_not(None),
        turns.c.closed_seq.is_not(None),
    )
    .order_by(turns.c.closed_seq)
)
_STEP: Final = (
    select(entries)
    .where(
        entries.c.session_uid == bindparam("uid"),
        entries.c.round == bindparam("round"),
        entries.c.agent == bindparam("agent"),
        entries.c.step == bindparam("step"),
    )
    .order_by(entries.c.index)
)


@dataclass(frozen=True, slots=True)
class AskedTool:
    """A tool call of a step, and what it returned."""

    name: str
    arguments: str
    output: str | None
    """None when it was deleted, or is not there."""
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What an agent did in a step."""

    text: str | None
    """What it said, beside tool calls or without; None when it said nothing, or that was deleted."""
    tools: tuple[AskedTool, ...]
    parts: dict[str, str] | None
    """Digests of the request's parts; None when they were not kept."""
    has_gaps: bool
    """Whether something of it was deleted."""


def read_steps(conn: Connection, uid: str) -> Sequence[Row[Any]]:
    """Return the closed turns of a session that have an answer, in the order in which they were closed."""
    return conn.execute(_STEPS, {"uid": uid}).all()


def read_said(conn: Connection, uid: str, types: Sequence[EntryType], through_seq: int) -> Iterator[list[EntryRow]]:
    """Yield a session's entries of some types up to one, page by page, as they are now."""
    after = 0
    while True:
        query = select(entries).where(
            entries.c.session_uid == uid,
            entries.c.seq > after,
            entries.c.seq <= through_seq,
            entries.c.type.in_(types),
        )
        page = [to_entry(row) for row in conn.execute(query.order_by(entries.c.seq).limit(READ_AT_ONCE)).mappings()]
        if not page:
            return
        after = page[-1].seq
        yield list(revise(conn, uid, page))


def read_step(conn: Connection, uid: str, agent: str, round_: int, step: int) -> Step:
    """Return what an agent did in a step."""
    asked = {"uid": uid, "agent": agent, "round": round_, "step": step}
    written = [to_entry(row) for row in conn.execute(_STEP, asked).mappings()]
    said = list(revise(conn, uid, written))
    started = next((entry for entry in said if entry.type is EntryType.STEP_START), None)
    text = next((entry for entry in said if entry.type in {EntryType.THINKING, EntryType.OUTPUT}), None)
    results = [entry.body for entry in said if entry.type is EntryType.TOOL_RESULT and entry.body]
    by_call = {result["callId"]: result for result in results}
    calls = [entry.body for entry in said if entry.type is EntryType.TOOL_CALL and entry.body]
    return Step(
        text=text.body["text"] if text and text.body else None,
        tools=tuple(_to_asked(call, by_call.get(call["callId"], {})) for call in calls),
        parts=started.body.get("request") if started and started.body else None,
        has_gaps=len(said) < len(written),
    )


def _to_asked(call: dict[str, Any], result: dict[str, Any]) -> AskedTool:
    return AskedTool(call["name"], call["arguments"], result.get("output"), bool(result.get("isError")))


def is_summarised(steps: Sequence[Row[Any]]) -> bool:
    """Return whether a conversation was too long, and summarised on the way."""
    return any(step.kind == TurnKind.COMPACT for step in steps)


def body_of_message(entry: EntryRow) -> dict[str, Any]:
    """Return what another session's message says here: its id is the other one's."""
    return {name: value for name, value in (entry.body or {}).items() if name != "id"}
