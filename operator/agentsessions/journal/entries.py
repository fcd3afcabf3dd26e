"""Entries of the journal and the hash chain over them. Pure.

Entries of a session are numbered 1..n without gap. The hash of an entry covers the hash before it and the entry's own
head: who, when, where, and the digest of its body. The body itself enters by that digest alone, so that content can be
redacted later and the chain still verifies.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import orjson

GENESIS: Final = ""
"""What stands for the hash before the first entry."""


class EntryType(StrEnum):
    """Kinds of entries; also the names of the events that viewers get."""

    SOURCE = "source"
    """Always the first one: which session this one is made from, or does once more."""
    SESSION_START = "session_start"
    MESSAGE = "message"
    STEP_START = "step_start"
    THINKING = "thinking"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    OUTPUT = "output"
    STEP_COMPLETE = "step_complete"
    COMPACTION = "compaction"
    EDITED = "edited"
    REDACTED = "redacted"
    ERROR = "error"
    STATE = "state"
    POLICY_DECISION = "policy_decision"
    APPROVAL = "approval"
    ROUND_COMPLETE = "round_complete"
    DIFFERENCE = "difference"
    """What a step of a replay did differently."""
    REPLAY_COMPLETE = "replay_complete"
    DONE = "done"


OF_STEPS: Final = frozenset(
    {
        EntryType.THINKING,
        EntryType.TOOL_CALL,
        EntryType.TOOL_RESULT,
        EntryType.OUTPUT,
        EntryType.COMPACTION,
        EntryType.ERROR,
    }
)
"""Entries that are what an agent did: steps are shown, and compared, by them."""
REDACTING: Final = frozenset({EntryType.EDITED, EntryType.REDACTED})
"""Entries that name those whose content was taken (`seqs`), and who wanted it (`actor`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """One entry, as stored."""

    session_uid: str
    seq: int
    agent: str
    """Agent it belongs to; empty for entries of the session itself."""
    epoch: int
    """Epoch that asked; 0 for entries of the session itself."""
    round: int
    step: int
    """Number of the agent's model answer in the round; 0 outside of steps."""
    index: int
    """Place within the step; outside of steps the entry's own seq."""
    type: EntryType
    at: datetime
    """Never before the entry in front of it (UTC)."""
    body: dict[str, Any] | None
    """None once redacted."""
    body_digest: str
    previous_hash: str
    hash: str


def canonical_json(value: object) -> bytes:
    """Return the one JSON form of a value: keys sorted, no spaces, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest_of(value: object) -> str:
    """Return the SHA-256 (hex) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def to_timestamp(at: datetime) -> str:
    """Return an instant as hashes have it: UTC, always six decimals."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def hash_of(entry: EntryRow) -> str:
    """Return the hash that an entry must carry, from its head and `previous_hash`."""
    head = {
        "seq": entry.seq,
        "session": entry.session_uid,
        "agent": entry.agent,
        "epoch": entry.epoch,
        "round": entry.round,
        "step": entry.step,
        "index": entry.index,
        "type": entry.type.value,
        "at": to_timestamp(entry.at),
        "bodyDigest": entry.body_digest,
    }
    return hashlib.sha256(bytes.fromhex(entry.previous_hash) + canonical_json(head)).hexdigest()


@dataclass(slots=True)
class ChainCheck:
    """Walks a chain from its first entry and names what does not fit; at its end, `unexplained` does the rest."""

    head: int = 0
    digest: str = GENESIS
    _silent: set[int] = field(default_factory=set)

    def read(self, entries: Iterable[EntryRow]) -> Iterator[str]:
        """Take the next entries in order of seq; yield one sentence for each problem."""
        for entry in entries:
            if entry.seq != self.head + 1:
                yield f"entry {entry.seq} follows entry {self.head}: entry {self.head + 1} is missing"
            if entry.previous_hash != self.digest:
                yield f"entry {entry.seq} does not continue the chain: the hash before it is not entry {self.head}'s"
            if entry.body is not None and digest_of(entry.body) != entry.body_digest:
                yield f"entry {entry.seq} has a body that is not the one that was written"
            if not _is_sealed(entry):
                yield f"entry {entry.seq} has a hash that does not fit its head: it was changed"
            self._note_content(entry)
            self.head, self.digest = entry.seq, entry.hash

    def unexplained(self) -> Iterator[str]:
        """Yield one sentence for each entry without content of which no entry says that it was redacted."""
        for seq in sorted(self._silent):
            yield f"entry {seq} has no body, and no entry says who redacted it"

    def _note_content(self, entry: EntryRow) -> None:
        if entry.body is None:
            self._silent.add(entry.seq)
        elif entry.type in REDACTING:
            self._silent -= set(entry.body.get("seqs", ()))


def _is_sealed(entry: EntryRow) -> bool:
    try:
        return hash_of(entry) == entry.hash
    except ValueError:  # the hash before it is no hash
        return False
