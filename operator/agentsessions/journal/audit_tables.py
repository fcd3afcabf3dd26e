"""Tables that belong to no session: who did what, which processes write, what changed. As `tables`."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, String, Table

from agentsessions.journal.columns import Text, UtcDateTime
from agentsessions.journal.schema import count, metadata

audit: Final = Table(
    "audit",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("act", String(63), nullable=False),
    Column("by", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("code", String(63), nullable=False),
    Column("actor", Text, nullable=False),
    Column("actor_uid", Text, nullable=False),
    Column("namespace", String(63), nullable=False),
    Column("namespace_uid", String(64), nullable=False),
    Column("session_uid", String(64), nullable=False),
    Column("session_name", String(253), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("generation", BigInteger),
    Column("field_manager", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("once", String(96), unique=True),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index(None, "namespace", "number"),
    Index(None, "session_uid", "generation"),
    Index(None, "actor", "number"),
    Index(None, "at"),
)
"""Who did what, append-only: one chain over all of it. `once` is what may be recorded only once."""

audit_head: Final = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
)
"""Where the audit's chain ends: one row, locked by whoever appends."""

audit_pending: Final = Table(
    "audit_pending",
    metadata,
    Column("once", String(96), primary_key=True),
    Column("session_uid", String(64), nullable=False, index=True),
    Column("generation", BigInteger),
    Column("due_at", UtcDateTime, nullable=False, index=True),
    Column("record", JSON, nullable=False),
)
"""Changes of resources that a request of a gateway may be about to record."""

instances: Final = Table(
    "instances",
    metadata,
    Column("id", String(253), primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    count("beats"),
)
"""Gateways that have a shared journal open. One whose `beats` stand still is gone."""

changes: Final = Table(
    "changes",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False, index=True),
)
"""Of a shared journal: the commit that touched a session last. Commits are numbered in the order they come."""
