"""Tables of what sessions did, for SQLite and PostgreSQL alike. `migrations/` creates them; a test compares the two."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)

from agentsessions.journal.columns import RowId, Text, UtcDateTime
from agentsessions.journal.schema import count, metadata, session_key

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
    Column("error", JSON(none_as_null=True)),
    Column("limits", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("anchor_head", BigInteger, nullable=False, server_default="0"),
    Column("anchor_digest", String(64), nullable=False, server_default=""),
    Index(None, "namespace", "name", "created_at"),
    Index(None, "owner"),
    Index(None, "session_id"),
    Index(None, "namespace", "uid", "deleted_at"),
    *(
        Index(None, value, "uid", "deleted_at", "namespace")  # an order of lists, and what most ask for
        for value in ("created_at", "updated_at", "started_at", "finished_at", "name", "phase")
    ),
)
"""Read model of the resources; rows outlive them. `search` is what a list looks for texts in, in lower case; the anchor
is the journal's head as the session's status last told it."""

_LISTED: Final = (
    *("namespace", "deleted_at", "created_at", "uid", "search", "type", "role", "mode", "phase", "owner"),
    *("session_id", "template", "started_at", "finished_at", "updated_at", "name", "namespace_uid"),
)
Index("ix_sessions_list", *(sessions.c[name] for name in _LISTED))
"""All that lists filter and sort by: they scan this, a tenth of the table, and read rows of one page alone."""
Index("ix_sessions_texts", sessions.c.namespace, sessions.c.deleted_at, sessions.c.search)
"""Where texts are counted, which takes half the time of that."""

session_labels: Final = Table(
    "session_labels",
    metadata,
    session_key(primary_key=True),
    Column("key", String(317), primary_key=True),
    Column("value", String(63), nullable=False),
    Index(None, "key", "value", "session_uid"),
)
"""Labels of the resources, to find sessions by; `sessions.labels` has them to show."""

usage: Final = Table(
    "usage",
    metadata,
    session_key(primary_key=True),
    count("head"),
    Column("digest", String(64), nullable=False, server_default=""),
    Column("last_at", UtcDateTime),
    count("steps"),
    count("input_tokens"),
    count("output_tokens"),
    count("tool_calls"),
    count("cost_micro_usd"),
    count("turns"),
    Column("has_goal", Boolean, nullable=False),
    Column("limit_reached", String(63)),
    Column("limit_message", Text),
    Column("limit_needed", BigInteger),
    Column("result_seq", BigInteger),
    Column("idle_since", UtcDateTime),
    count("idle_milliseconds"),
    Index(None, "last_at", "session_uid"),
)
"""Head of each session's chain and its counters: one small row, because each write changes it."""

entries: Final = Table(
    "entries",
    metadata,
    session_key(primary_key=True),
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
    session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("pod_uid", String(64), nullable=False, unique=True),
    Column("fenced_at", UtcDateTime, nullable=False),
    count("turns"),
    Column("outcome", String(63)),
    Column("code", String(63)),
    Column("message", Text),
    Column("retry_at", UtcDateTime),
    Column("is_egress_open", Boolean),
)
"""The fence: which pod speaks for which epoch; and how that epoch ended (its closing record), once it did.
`is_egress_open` is set once its pod was seen to reach what it must not."""

turns: Final = Table(
    "turns",
    metadata,
    session_key(primary_key=True),
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
    session_key(primary_key=True),
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
    session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("target_uid", String(64), primary_key=True),
    Column("call_id", String(128), nullable=False),
    Column("after_seq", BigInteger, nullable=False),
    Column("seen_seq", BigInteger, nullable=False),
)
"""What an observer's agent has seen of each session: its newest look was call `call_id`, which showed entries behind
`after_seq`, up to `seen_seq`."""

parts: Final = Table(
    "parts",
    metadata,
    session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("is_due", Boolean, nullable=False),
    Column("has_floor", Boolean, nullable=False),
    Column("answer_seq", BigInteger),
    count("steps"),
    count("tokens"),
)
"""Agents of sessions that have several, and what each has to do; `answer_seq` is the entry with its part's answer."""

handoffs: Final = Table(
    "handoffs",
    metadata,
    session_key(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sender", String(63), nullable=False),
    Column("call_id", String(128), nullable=False),
    Column("receiver", String(63), nullable=False),
    Column("is_task", Boolean, nullable=False),
    Column("answered_at", UtcDateTime),
    UniqueConstraint("session_uid", "sender", "call_id"),
)
"""Work that one agent passed to another by a call: the conversation, or a task whose answer is the call's result."""

rounds: Final = Table(
    "rounds",
    metadata,
    session_key(primary_key=True),
    Column("anchor_at", UtcDateTime, nullable=False),
    Column("number", Integer, nullable=False),
    Column("is_complete", Boolean, nullable=False),
    Column("next_number", Integer, nullable=False),
    Column("next_at", UtcDateTime),
    count("completed"),
    count("missed"),
)
"""Where each session of type Metrics is in its schedule. Only the newest round is here: the others are entries."""

model_calls: Final = Table(
    "model_calls",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    session_key(),
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
    session_key(primary_key=True),
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
    Column("run_by", String(320)),
    Column("output", Text),
    Column("is_error", Boolean),
    Column("duration_milliseconds", BigInteger),
)
"""Tool calls of the answers; `output` is set once, by the first report."""

child_sessions: Final = Table(
    "child_sessions",
    metadata,
    session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("call_id", String(128), primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("name", String(253), nullable=False),
    Column("request", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("child_uid", String(64), unique=True),
    Column("replied_at", UtcDateTime),
)
"""Sessions that agents of a director asked for. The goal is in `request` until the session is made; what it may spend
stays. `replied_at` is set with the last word on it: what came of it, or why there is none."""

seals: Final = Table(
    "seals",
    metadata,
    session_key(primary_key=True),
    Column("head", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("problem", Text, nullable=False),
    Column("sealed_at", UtcDateTime, nullable=False),
)
"""What was verified of a session whose type asks for it, once, with its last answer; `problem` is what did not fit."""
tool_pins: Final = Table(
    "tool_pins",
    metadata,
    session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("server", String(253), primary_key=True),
    Column("tools", JSON, nullable=False),
)
"""Tools of servers as an agent was first offered them."""
approvals: Final = Table(
    "approvals",
    metadata,
    session_key(primary_key=True),
    Column("agent", String(63), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("call_id", String(128), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("k", Integer, nullable=False),
    Column("asked_epoch", Integer, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("request", JSON, nullable=False),
    Column("outcome", String(16)),
    Column("reason", Text),
    Column("output", Text),
    Column("used_epoch", Integer),
    Index(None, "session_uid", "outcome"),
)
"""Calls that a person must decide, or did: the newest question about each. `outcome` is absent while it waits;
`used_epoch` is the epoch that ran the call by it."""

spending: Final = Table(
    "spending",
    metadata,
    Column("namespace", String(63), primary_key=True),
    Column("day", Date, primary_key=True),
    count("tokens"),
    count("cost_micro_usd"),
)
"""What each namespace was charged on a UTC day: counted, as a call that is bought again overwrites its own row."""
