"""Create the journal."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "sessions",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("namespace_uid", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("resource_version", sa.BigInteger(), nullable=True),
        sa.Column("template", sa.String(length=63), nullable=False),
        sa.Column("type", sa.String(length=63), nullable=False),
        sa.Column("role", sa.String(length=63), nullable=False),
        sa.Column("mode", sa.String(length=63), nullable=False),
        sa.Column("operating_mode", sa.String(length=63), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(length=253), nullable=False),
        sa.Column("session_id", sa.String(length=253), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("search", sa.Text(), nullable=False),
        sa.Column("goal", sa.Text(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("phase", sa.String(length=63), nullable=True),
        sa.Column("phase_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(length=63), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("stop_reason", sa.String(length=63), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("anchor_head", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("anchor_digest", sa.String(length=64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_sessions")),
    )
    _index_sessions()
    op.create_table(
        "session_labels",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=317), nullable=False),
        sa.Column("value", sa.String(length=63), nullable=False),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_session_labels_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "key", name=op.f("pk_session_labels")),
    )
    op.create_index(
        op.f("ix_session_labels_key_value_session_uid"), "session_labels", ["key", "value", "session_uid"], unique=False
    )
    op.create_table(
        "seals",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_seals_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", name=op.f("pk_seals")),
    )
    op.create_table(
        "spending",
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("namespace", "day", name=op.f("pk_spending")),
    )
    op.create_table(
        "changes",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_uid", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_number"), "changes", ["number"], unique=False)
    op.create_table(
        "instances",
        sa.Column("id", sa.String(length=253), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beats", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    op.create_table(
        "entries",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=63), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("body_digest", sa.String(length=64), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_entries_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "seq", name=op.f("pk_entries")),
        sa.UniqueConstraint(
            "session_uid", "round", "agent", "step", "index", name=op.f("uq_entries_session_uid_round_agent_step_index")
        ),
    )
    op.create_table(
        "epochs",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pod_uid", sa.String(length=64), nullable=False),
        sa.Column("fenced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("turns", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("outcome", sa.String(length=63), nullable=True),
        sa.Column("code", sa.String(length=63), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_egress_open", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_epochs_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "agent", "epoch", name=op.f("pk_epochs")),
        sa.UniqueConstraint("pod_uid", name=op.f("uq_epochs_pod_uid")),
    )
    op.create_table(
        "inbox",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=256), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("tool_call_id", sa.String(length=128), nullable=True),
        sa.Column("tool_name", sa.String(length=64), nullable=True),
        sa.Column("extra_data", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("sender_uid", sa.String(length=64), nullable=True),
        sa.Column("sender", sa.String(length=253), nullable=True),
        sa.Column("correlation_id", sa.String(length=64), nullable=True),
        sa.Column("is_held", sa.Boolean(), nullable=True),
        sa.Column("replied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_digest", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("agent", sa.String(length=63), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("round", sa.Integer(), nullable=True),
        sa.Column("k", sa.Integer(), nullable=True),
        sa.Column("entry_seq", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_inbox_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "ordinal", name=op.f("pk_inbox")),
        sa.UniqueConstraint("id", name=op.f("uq_inbox_id")),
        sa.UniqueConstraint("session_uid", "idempotency_key", name=op.f("uq_inbox_session_uid_idempotency_key")),
    )
    op.create_index(op.f("ix_inbox_session_uid_entry_seq"), "inbox", ["session_uid", "entry_seq"], unique=False)
    op.create_index(op.f("ix_inbox_sender_uid"), "inbox", ["sender_uid"], unique=False)
    op.create_table(
        "child_sessions",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("call_id", sa.String(length=128), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("child_uid", sa.String(length=64), nullable=True),
        sa.Column("replied_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_child_sessions_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "agent", "call_id", name=op.f("pk_child_sessions")),
        sa.UniqueConstraint("child_uid", name=op.f("uq_child_sessions_child_uid")),
        sa.UniqueConstraint("id", name=op.f("uq_child_sessions_id")),
    )
    op.create_table(
        "observations",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("target_uid", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=128), nullable=False),
        sa.Column("after_seq", sa.BigInteger(), nullable=False),
        sa.Column("seen_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_observations_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "agent", "target_uid", name=op.f("pk_observations")),
    )
    op.create_table(
        "model_calls",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("served_epoch", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=253), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("prompt_digest", sa.String(length=64), nullable=False),
        sa.Column("request_bytes", sa.BigInteger(), nullable=False),
        sa.Column("answer_bytes", sa.BigInteger(), nullable=True),
        sa.Column("estimate_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cap_tokens", sa.BigInteger(), nullable=True),
        sa.Column("capped_by", sa.String(length=63), nullable=True),
        sa.Column("input_micro_usd_per_million", sa.BigInteger(), nullable=True),
        sa.Column("output_micro_usd_per_million", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_milliseconds", sa.BigInteger(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost_micro_usd", sa.BigInteger(), nullable=True),
        sa.Column("estimated", sa.Boolean(), nullable=True),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error_code", sa.String(length=63), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_model_calls_session_uid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_calls")),
        sa.UniqueConstraint(
            "session_uid",
            "agent",
            "round",
            "k",
            "digest",
            "ordinal",
            name=op.f("uq_model_calls_session_uid_agent_round_k_digest_ordinal"),
        ),
    )
    op.create_index(
        op.f("ix_model_calls_session_uid_agent_prompt_digest"),
        "model_calls",
        ["session_uid", "agent", "prompt_digest"],
        unique=False,
    )
    is_open = sa.text("state = 'open'")
    op.create_index("ix_model_calls_open", "model_calls", ["owner"], postgresql_where=is_open, sqlite_where=is_open)
    op.create_index(op.f("ix_model_calls_session_uid_state"), "model_calls", ["session_uid", "state"], unique=False)
    op.create_table(
        "parts",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("is_due", sa.Boolean(), nullable=False),
        sa.Column("has_floor", sa.Boolean(), nullable=False),
        sa.Column("answer_seq", sa.BigInteger(), nullable=True),
        sa.Column("steps", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_parts_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "agent", name=op.f("pk_parts")),
    )
    op.create_table(
        "handoffs",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sender", sa.String(length=63), nullable=False),
        sa.Column("call_id", sa.String(length=128), nullable=False),
        sa.Column("receiver", sa.String(length=63), nullable=False),
        sa.Column("is_task", sa.Boolean(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_handoffs_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "number", name=op.f("pk_handoffs")),
        sa.UniqueConstraint("session_uid", "sender", "call_id", name=op.f("uq_handoffs_session_uid_sender_call_id")),
    )
    op.create_table(
        "rounds",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("anchor_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("next_number", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("missed", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_rounds_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", name=op.f("pk_rounds")),
    )
    op.create_table(
        "tool_calls",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("call_id", sa.String(length=128), nullable=False),
        sa.Column("original_id", sa.Text(), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("side_effect", sa.String(length=16), nullable=True),
        sa.Column("begun_epoch", sa.Integer(), nullable=True),
        sa.Column("run_by", sa.String(length=320), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("is_error", sa.Boolean(), nullable=True),
        sa.Column("duration_milliseconds", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_tool_calls_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "agent", "round", "call_id", name=op.f("pk_tool_calls")),
    )
    op.create_table(
        "tool_pins",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("server", sa.String(length=253), nullable=False),
        sa.Column("tools", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_tool_pins_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "agent", "server", name=op.f("pk_tool_pins")),
    )
    op.create_table(
        "approvals",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("call_id", sa.String(length=128), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("asked_epoch", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("used_epoch", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_approvals_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "agent", "round", "call_id", name=op.f("pk_approvals")),
    )
    op.create_index(op.f("ix_approvals_session_uid_outcome"), "approvals", ["session_uid", "outcome"], unique=False)
    op.create_table(
        "turns",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=63), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("k", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("history_seq", sa.BigInteger(), nullable=False),
        sa.Column("cut_seq", sa.BigInteger(), nullable=True),
        sa.Column("pinned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(length=63), nullable=True),
        sa.Column("answer_step", sa.Integer(), nullable=True),
        sa.Column("closed_seq", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_turns_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", "agent", "round", "k", name=op.f("pk_turns")),
    )
    op.create_table(
        "usage",
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("head", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("digest", sa.String(length=64), server_default="", nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("steps", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tool_calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("turns", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("has_goal", sa.Boolean(), nullable=False),
        sa.Column("limit_reached", sa.String(length=63), nullable=True),
        sa.Column("limit_message", sa.Text(), nullable=True),
        sa.Column("limit_needed", sa.BigInteger(), nullable=True),
        sa.Column("result_seq", sa.BigInteger(), nullable=True),
        sa.Column("idle_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("idle_milliseconds", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_usage_session_uid")),
        sa.PrimaryKeyConstraint("session_uid", name=op.f("pk_usage")),
    )
    op.create_index(op.f("ix_usage_last_at_session_uid"), "usage", ["last_at", "session_uid"], unique=False)
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("act", sa.String(length=63), nullable=False),
        sa.Column("by", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=63), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("actor_uid", sa.Text(), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("namespace_uid", sa.String(length=64), nullable=False),
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("session_name", sa.String(length=253), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=True),
        sa.Column("field_manager", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("once", sa.String(length=96), nullable=True),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit")),
        sa.UniqueConstraint("once", name=op.f("uq_audit_once")),
    )
    op.create_index(op.f("ix_audit_actor_number"), "audit", ["actor", "number"], unique=False)
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_namespace_number"), "audit", ["namespace", "number"], unique=False)
    op.create_index(op.f("ix_audit_session_uid_generation"), "audit", ["session_uid", "generation"], unique=False)
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.bulk_insert(head, [{"id": 1, "number": 0, "digest": ""}])
    op.create_table(
        "audit_pending",
        sa.Column("once", sa.String(length=96), nullable=False),
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("once", name=op.f("pk_audit_pending")),
    )
    op.create_index(op.f("ix_audit_pending_due_at"), "audit_pending", ["due_at"], unique=False)
    op.create_index(op.f("ix_audit_pending_session_uid"), "audit_pending", ["session_uid"], unique=False)
    _create_webhooks()


def _index_sessions() -> None:
    op.create_index(op.f("ix_sessions_namespace_uid_deleted_at"), "sessions", ["namespace", "uid", "deleted_at"])
    for value in ("created_at", "updated_at", "started_at", "finished_at", "name", "phase"):
        columns = [value, "uid", "deleted_at", "namespace"]
        op.create_index(op.f(f"ix_sessions_{value}_uid_deleted_at_namespace"), "sessions", columns)
    op.create_index(op.f("ix_sessions_owner"), "sessions", ["owner"], unique=False)
    op.create_index(op.f("ix_sessions_session_id"), "sessions", ["session_id"], unique=False)
    listed = (
        "namespace deleted_at created_at uid search type role mode phase owner "
        "session_id template started_at finished_at updated_at name namespace_uid"
    )
    op.create_index("ix_sessions_list", "sessions", listed.split(), unique=False)
    op.create_index("ix_sessions_texts", "sessions", ["namespace", "deleted_at", "search"])
    op.create_index(
        op.f("ix_sessions_namespace_name_created_at"), "sessions", ["namespace", "name", "created_at"], unique=False
    )


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("match_labels", sa.JSON(), nullable=False),
        sa.Column("phases", sa.JSON(), nullable=True),
        sa.Column("delivered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lost", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_webhooks")),
    )
    op.create_index(op.f("ix_webhooks_namespace"), "webhooks", ["namespace"], unique=False)
    op.create_table(
        "webhook_deliveries",
        sa.Column("webhook_uid", sa.String(length=64), nullable=False),
        sa.Column("session_uid", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.String(length=253), nullable=True),
        sa.ForeignKeyConstraint(["session_uid"], ["sessions.uid"], name=op.f("fk_webhook_deliveries_session_uid")),
        sa.ForeignKeyConstraint(["webhook_uid"], ["webhooks.uid"], name=op.f("fk_webhook_deliveries_webhook_uid")),
        sa.PrimaryKeyConstraint("webhook_uid", "session_uid", "seq", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(op.f("ix_webhook_deliveries_webhook_uid_next_at"), "webhook_deliveries", ["webhook_uid", "next_at"])
