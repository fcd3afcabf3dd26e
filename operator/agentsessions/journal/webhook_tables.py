"""Tables of what is to be told to receivers outside. As `tables`."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table

from agentsessions.journal.columns import Text, UtcDateTime
from agentsessions.journal.schema import count, metadata, session_key

webhooks: Final = Table(
    "webhooks",
    metadata,
    Column("uid", String(64), primary_key=True),
    Column("namespace", String(63), nullable=False, index=True),
    Column("generation", BigInteger, nullable=False),
    Column("match_labels", JSON, nullable=False),
    Column("phases", JSON(none_as_null=True)),
    count("delivered"),
    count("failures"),
    count("lost"),
    Column("delivered_at", UtcDateTime),
    Column("failed_at", UtcDateTime),
    Column("failure", Text),
)
"""What SessionWebhooks want to be told, and how that went; `failures` is since the last delivery."""

deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("webhook_uid", String(64), ForeignKey("webhooks.uid"), primary_key=True),
    session_key(primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(128), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", UtcDateTime),
    Column("claimed_by", String(253)),
    Index(None, "webhook_uid", "next_at"),
)
"""Transitions to be told, until they are. `next_at` is set for the first one of each session alone, so that they go in
order; while somebody sends it, it is when to take that one for dead."""
