"""Tables of the journal, for SQLite and PostgreSQL alike. `migrations/` creates them; a test compares the two."""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from agentsessions.journal.columns import RowId, Text, UtcDateTime

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _session_key(**options: Any) -> Column[str]:
    return Column("session_uid", String(64), ForeignKey("sessions.uid"), nullable=False, **options)


sessions: Final = Table(
    "sessions",
    metadata,
    Column("uid", String(64), primary_key=True),
    Column("namespace", String(63), nullable=False),
    Column("name", String(253), nullable=False),
    Column("namespace_uid", String(64), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("resource_version", BigInteger),
    Column("template", String(63), nullable=False),
    Column("type", String(63), nullable=False),
    Column("role", String(63), nullable=False),
    Column("mode", String(63), nullable=False),
    Column("operating_mode", String(63), nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("owner", String(253), nullable=False),
    Column("session_id", String(253), nullable=False),
    Column("labels", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("search", Text, nullable=False),
    Column("goal", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("phase", String(63)),
    Column("phase_started_at", UtcDateTime),
    Column("reason", String(63), nullable=False),
    Column("message", Text, nullable=False),
    Column("stop_reason", String(63)),
    Column("limits", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("anchor_head", BigInteger, nullable=False, server_default="0"),
    Column("anchor_digest", String(64), nullable=False, server_default=""),
    Index(None, "namespace", "name", "created_at"),
    Index(None, "created_at", "deleted_at", "uid"),  # the order of most lists
)
"""Read model of the resources; rows outlive them. `search` is what a list looks for texts in, in lower case; the anchor
is the journal's head as the session's status last told it."""

_LISTED: Final = (
    *("namespace", "deleted_at", "created_at", "uid", "type", "role", "mode", "phase", "owner", "session_id"),
    *("template", "started_at", "finished_at", "updated_at", "name", "namespace_uid", "search"),
)
Index("ix_sessions_list", *(sessions.c[name] for name in _LISTED))
"""All that lists filter and sort by: they scan this, a tenth of the table, and read rows of one page alone."""

session_labels: Final = Table(
    "session_labels",
    metadata,
    _session_key(primary_key=True),
    Column("key", String(317), primary_key=True),
    Column("value", String(63), nullable=False),
    Index(None, "key", "value", "session_uid"),
)
"""Labels of the resources, to find sessions by; `sessions.labels` has them to show."""

usage: Final = Table(
    "usage",
    metadata,
    _session_key(primary_key=True),
    _count("head"),
    Column("digest", String(64), nullable=False, server_default=""),
    Column("last_at", UtcDateTime),
    _count("steps"),
    _count("input_tokens"),
    _count("output_tokens"),
    _count("tool_calls"),
    _count("cost_micro_usd"),
    _count("turns"),
    Column("has_goal", Boolean, nullable=False),
    Column("limit_reached", String(63)),
    Column("limit_message", Text),
    Column("limit_needed", BigInteger),
    Column("result_seq", BigInteger),
    Column("idle_since", UtcDateTime),
    _count("idle_milliseconds"),
    Index(None, "last_at", "session_uid"),
)
"""Head of each session's chain and its counters: one small row, because each write changes it."""

entries: Final = Table(
    "entries",
    metadata,
    _session_key(primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("agent", String(63), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("index", BigInteger, nullable=False),
    Column("type", String(63), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("body", JSON(none_as_null=True)),
    Column("body_digest", String(64), nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("session_uid", "round", "agent", "step", "index"),
)
"""The conversation, append-only."""

epochs: Final = Table(
    "epochs",
    metadata,
    _session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("pod_uid", String(64), nullable=False, unique=True),
    Column("fenced_at", UtcDateTime, nullable=False),
    _count("turns"),
    Column("outcome", String(63)),
    Column("code", String(63)),
    Column("message", Text),
    Column("retry_at", UtcDateTime),
)
"""The fence: which pod speaks for which epoch; and how that epoch ended (its closing record), once it did."""

turns: Final = Table(
    "turns",
    metadata,
    _session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("k", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("history_seq", BigInteger, nullable=False),
    Column("cut_seq", BigInteger),
    Column("pinned_at", UtcDateTime, nullable=False),
    Column("outcome", String(63)),
    Column("answer_step", Integer),
    Column("closed_seq", BigInteger),
    Column("closed_at", UtcDateTime),
)
"""Pinned turns; `outcome` and what follows are set by the commit. A failed epoch leaves its turn open. `cut_seq`, with
kind compact, is the last entry that its summary stands for."""

inbox: Final = Table(
    "inbox",
    metadata,
    _session_key(primary_key=True),
    Column("ordinal", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("idempotency_key", String(256)),
    Column("role", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("tool_call_id", String(128)),
    Column("tool_name", String(64)),
    Column("extra_data", JSON(none_as_null=True)),
    Column("kind", String(16)),
    Column("priority", Integer),
    Column("sender_uid", String(64), index=True),
    Column("sender", String(253)),
    Column("correlation_id", String(64)),
    Column("is_held", Boolean),
    Column("replied_at", UtcDateTime),
    Column("sent_digest", String(64), nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Column("agent", String(63)),
    Column("epoch", Integer),
    Column("round", Integer),
    Column("k", Integer),
    Column("entry_seq", BigInteger),
    UniqueConstraint("session_uid", "idempotency_key"),
    Index(None, "session_uid", "entry_seq"),  # finds the queued ones among many
)
"""Messages to a session, in order, as they are now; `agent` and what follows name the turn that took it. A deleted one
has no content any more, and keeps its idempotency key. `kind` and what follows are of messages between sessions
(`mailbox`): one that is held begins no turn, a command is replied to once."""

observations: Final = Table(
    "observations",
    metadata,
    _session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("target_uid", String(64), primary_key=True),
    Column("call_id", String(128), nullable=False),
    Column("after_seq", BigInteger, nullable=False),
    Column("seen_seq", BigInteger, nullable=False),
)
"""What an observer's agent has seen of each session: its newest look was call `call_id`, which showed entries behind
`after_seq`, up to `seen_seq`."""

rounds: Final = Table(
    "rounds",
    metadata,
    _session_key(primary_key=True),
    Column("anchor_at", UtcDateTime, nullable=False),
    Column("number", Integer, nullable=False),
    Column("is_complete", Boolean, nullable=False),
    Column("next_number", Integer, nullable=False),
    Column("next_at", UtcDateTime),
    _count("completed"),
    _count("missed"),
)
"""Where each session of type Metrics is in its schedule. Only the newest round is here: the others are entries."""

model_calls: Final = Table(
    "model_calls",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    _session_key(),
    Column("agent", String(63), nullable=False),
    Column("round", Integer, nullable=False),
    Column("k", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("served_epoch", Integer, nullable=False),
    Column("owner", String(253), nullable=False),
    Column("state", String(16), nullable=False),
    Column("model", String(128), nullable=False),
    Column("prompt_digest", String(64), nullable=False),
    Column("request_bytes", BigInteger, nullable=False),
    Column("answer_bytes", BigInteger),
    Column("estimate_tokens", BigInteger, nullable=False),
    Column("cap_tokens", BigInteger),
    Column("capped_by", String(63)),
    Column("input_micro_usd_per_million", BigInteger),
    Column("output_micro_usd_per_million", BigInteger),
    Column("started_at", UtcDateTime, nullable=False),
    Column("duration_milliseconds", BigInteger),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_micro_usd", BigInteger),
    Column("estimated", Boolean),
    Column("answer", JSON(none_as_null=True)),
    Column("error_code", String(63)),
    Column("error_message", Text),
    Column("retry_at", UtcDateTime),
    UniqueConstraint("session_uid", "agent", "round", "k", "digest", "ordinal"),
    Index(None, "session_uid", "state"),
    Index(None, "session_uid", "agent", "prompt_digest"),
    Index("ix_model_calls_open", "owner", postgresql_where=text("state = 'open'"), sqlite_where=text("state = 'open'")),
)
"""Purchases, written before they are made. `owner` is the instance of the gateway that makes it."""

tool_calls: Final = Table(
    "tool_calls",
    metadata,
    _session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("call_id", String(128), primary_key=True),
    Column("original_id", Text, nullable=False),
    Column("k", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("side_effect", String(16)),
    Column("begun_epoch", Integer),
    Column("run_by", String(64)),
    Column("output", Text),
    Column("is_error", Boolean),
    Column("duration_milliseconds", BigInteger),
)
"""Tool calls of the answers; `output` is set once, by the first report."""

seals: Final = Table(
    "seals",
    metadata,
    _session_key(primary_key=True),
    Column("head", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("problem", Text, nullable=False),
    Column("sealed_at", UtcDateTime, nullable=False),
)
"""What was verified of a session whose type asks for it, once, with its last answer; `problem` is what did not fit."""
tool_pins: Final = Table(
    "tool_pins",
    metadata,
    _session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("server", String(253), primary_key=True),
    Column("tools", JSON, nullable=False),
)
"""Tools of servers as an agent was first offered them."""

spending: Final = Table(
    "spending",
    metadata,
    Column("namespace", String(63), primary_key=True),
    Column("day", Date, primary_key=True),
    _count("tokens"),
    _count("cost_micro_usd"),
)
"""What each namespace was charged on a UTC day: counted, as a call that is bought again overwrites its own row."""

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
    _count("beats"),
)
"""Gateways that have a shared journal open. One whose `beats` stand still is gone."""

changes: Final = Table(
    "changes",
    metadata,
    Column("session_uid", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False, index=True),
)
"""Of a shared journal: the commit that touched a session last. Commits are numbered in the order they come."""
