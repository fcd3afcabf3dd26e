"""Compaction: the older part of a conversation that is too long for its model becomes a summary. Jobs of the writer.

- A turn whose model call failed with context_too_long is closed as `compacted`, a word of the journal alone, and a turn
  of kind `compact` is pinned behind it, in one transaction. The epoch stays open.
- A compact turn is played like any other: what was said up to its cut, and the request for a summary. Its answer is an
  entry of type `compaction`.
- Turns after it start from the goal, the newest summary, and what came after its cut. Nothing is deleted.
- Each cut lies behind the one before and in front of the newest turn, so compactions come to an end.
"""

from itertools import accumulate
from typing import Any, Final

from sqlalchemy import Connection, insert, update

from agentsessions.api.wire import Outcome
from agentsessions.journal import history, situations
from agentsessions.journal.entries import EntryRow, canonical_json
from agentsessions.journal.ledger import Ledger
from agentsessions.journal.rows import Columns, TurnKind
from agentsessions.journal.situations import Situation
from agentsessions.journal.tables import turns
from agentsessions.journal.window import split_turns
from agentsessions.journal.writer import Work

COMPACTED: Final = "compacted"
"""Outcome of a turn that was too long and has no answer."""


def begin(work: Work, turn: Columns, max_messages: int | None) -> bool:
    """Close a turn that is too long, and pin the one that summarises; return False when nothing can be summarised.

    Args:
        work: The job's.
        turn: The turn; it was shown at most `max_messages`.
        max_messages: None: all.
    """
    if turn["kind"] == TurnKind.COMPACT:
        return False
    cut = find_cut(_conversation(work.conn, turn, max_messages))
    if cut is None:
        return False
    key = {name: turn[name] for name in ("session_uid", "agent", "round")}
    head = Ledger(work, turn["session_uid"]).head
    work.conn.execute(
        update(turns)
        .where(*(turns.c[name] == value for name, value in {**key, "k": turn["k"]}.items()))
        .values(outcome=COMPACTED, closed_seq=head, closed_at=work.now)
    )
    work.conn.execute(
        insert(turns).values(
            **key,
            k=turn["k"] + 1,
            kind=TurnKind.COMPACT.value,
            history_seq=turn["history_seq"],
            cut_seq=cut,
            pinned_at=work.now,
        )
    )
    return True


def find_cut(said: history.Conversation) -> int | None:
    """Return the last entry of the older half, by bytes and between turns; None when there is but the newest turn."""
    parts = split_turns(said.rest)
    if len(parts) < 2:  # noqa: PLR2004 - one to summarise, one to keep
        return None
    kept = sum(map(_size_bytes, said.summary))
    sizes = [sum(map(_size_bytes, part)) for part in parts]
    half = (kept + sum(sizes)) / 2
    dropped = list(accumulate(sizes[:-1], initial=kept))[1:]
    nearest = min(range(len(dropped)), key=lambda index: abs(dropped[index] - half))
    return parts[nearest][-1].seq


def outcome_of(kind: str, asked: Outcome) -> Outcome:
    """Return what a commit does to a turn: a summary is a final text, and the turns go on."""
    return Outcome.CONTINUE if kind == TurnKind.COMPACT and asked is Outcome.FINAL else asked


def is_closed_by(turn: Columns, asked: Outcome) -> bool:
    """Return whether a closed turn was closed by such a commit."""
    if turn["outcome"] == COMPACTED:
        return asked is Outcome.ERROR
    return bool(turn["outcome"] == outcome_of(turn["kind"], asked))


def find_body(work: Work, call: Columns, found: Situation, text: str) -> dict[str, Any] | None:
    """Return the body of the `compaction` entry that an answer becomes; None when its turn is of another kind."""
    turn = situations.find_turn(work, found, call)
    if turn is None or turn["kind"] != TurnKind.COMPACT:
        return None
    said = _conversation(work.conn, {**call, **turn}).until(turn["cut_seq"])
    dropped = history.build_items(said.rest)
    return {"text": text, "throughSeq": turn["cut_seq"], "droppedMessages": len(dropped)}


def _conversation(conn: Connection, turn: Any, max_messages: int | None = None) -> history.Conversation:
    return history.read_conversation(
        conn, turn["session_uid"], turn["agent"], turn["round"], turn["history_seq"], max_messages
    )


def _size_bytes(entry: EntryRow) -> int:
    return len(canonical_json(entry.body))
