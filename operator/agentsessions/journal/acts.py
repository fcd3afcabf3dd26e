"""What the audit holds: one record for each act on a session, and the hash chain over all of them. Pure.

Records are numbered 1..n without gap over the whole table, so one that is missing shows, whoever's it was. A record
says who did what to which session, never what was said: content is in the entries, and may be redacted there.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from agentsessions.journal.entries import GENESIS, canonical_json, to_timestamp


class Act(StrEnum):
    """What people and programs do to sessions."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    SHUTDOWN = "shutdown"
    MESSAGE_CREATE = "message_create"
    MESSAGE_UPDATE = "message_update"
    MESSAGE_DELETE = "message_delete"
    MESSAGES_CLEAR = "messages_clear"
    EXPORT = "export"
    IMPORT = "import"
    APPROVE = "approve"
    DENY = "deny"
    SETTLE = "settle"
    RUN_AGAIN = "run_again"


class Door(StrEnum):
    """By which way an act came."""

    GATEWAY = "gateway"
    """Over HTTP: the actor is who the API server says the bearer of the token is."""
    MANIFEST = "manifest"
    """Past the gateway, to the API server: who it was stands in the API server's own audit log alone."""


class Verdict(StrEnum):
    """What became of an act."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One act. What is not known is empty."""

    act: Act
    by: Door
    outcome: Verdict
    actor: str = ""
    """User name."""
    actor_uid: str = ""
    namespace: str = ""
    namespace_uid: str = ""
    """Tells a namespace from an earlier one of the same name."""
    session_uid: str = ""
    session_name: str = ""
    request_id: str = ""
    code: str = ""
    """Code of the refusal."""
    generation: int | None = None
    """Of the resource, when the act changed it."""
    field_manager: str = ""
    """Who the API server says last changed the spec, for acts by manifest."""
    at: datetime | None = None
    """When it was done; by default when it is recorded."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What else tells one such act from another; never content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecord:
    """A record, as stored."""

    number: int
    record: AuditRecord
    previous_hash: str
    hash: str


HASHED: Final = tuple(name for name in AuditRecord.__slots__ if name != "at")


def audit_hash(number: int, record: AuditRecord, previous_hash: str) -> str:
    """Return the hash that a record must carry; all of it is covered."""
    if record.at is None:
        raise ValueError(f"record {number} has no time")
    body = {name: getattr(record, name) for name in HASHED}
    body |= {"number": number, "at": to_timestamp(record.at)}
    return hashlib.sha256(bytes.fromhex(previous_hash) + canonical_json(body)).hexdigest()


@dataclass(slots=True)
class AuditCheck:
    """Walks the chain from its first record and names what does not fit."""

    head: int = 0
    digest: str = GENESIS

    def read(self, records: Iterable[SealedRecord]) -> Iterator[str]:
        """Take the next records in order; yield one sentence for each problem."""
        for sealed in records:
            if sealed.number != self.head + 1:
                yield f"record {sealed.number} follows record {self.head}: record {self.head + 1} is missing"
            if sealed.previous_hash != self.digest:
                yield f"record {sealed.number} does not continue the chain: the hash before it is not the one there"
            if not _is_sealed(sealed):
                yield f"record {sealed.number} has a hash that does not fit it: it was changed"
            self.head, self.digest = sealed.number, sealed.hash

    def end(self, head: int, digest: str) -> Iterator[str]:
        """Compare the last record that was read with the head that was noted apart."""
        if (head, digest) != (self.head, self.digest):
            yield f"the audit's head is record {head}, but the chain ends with record {self.head}"


def _is_sealed(sealed: SealedRecord) -> bool:
    try:
        return audit_hash(sealed.number, sealed.record, sealed.previous_hash) == sealed.hash
    except ValueError:  # the hash before it is no hash
        return False
