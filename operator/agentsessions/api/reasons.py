"""Closed sets of words: phases, conditions, reasons, exit codes. Nothing else in the project spells them."""

from enum import IntEnum, StrEnum
from typing import Final


class Phase(StrEnum):
    """Where a session is, in one word. `lifecycle.phases` says which moves exist."""

    PENDING = "Pending"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    IDLE = "Idle"
    WAITING = "Waiting"
    PAUSING = "Pausing"
    PAUSED = "Paused"
    CANCELLING = "Cancelling"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"


class StopReason(StrEnum):
    """Why a session stopped."""

    GOAL_REACHED = "GoalReached"
    USER_PAUSED = "UserPaused"
    USER_CANCELLED = "UserCancelled"
    FORCE_TERMINATED = "ForceTerminated"
    EMERGENCY = "Emergency"
    STEP_LIMIT = "StepLimit"
    TOKEN_LIMIT = "TokenLimit"  # noqa: S105  # a word, not a secret
    COST_LIMIT = "CostLimit"
    TOOL_CALL_LIMIT = "ToolCallLimit"
    TIMEOUT = "Timeout"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    CONTEXT_TOO_LONG = "ContextTooLong"
    POLICY_REFUSED = "PolicyRefused"
    APPROVAL_EXPIRED = "ApprovalExpired"
    INACTIVE = "Inactive"
    START_FAILED = "StartFailed"
    IN_DOUBT = "InDoubt"
    JOURNAL_INVALID = "JournalInvalid"


class ConditionType(StrEnum):
    """States that hold or do not; kstatus reads the first three."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    ACCEPTED = "Accepted"
    PAUSED = "Paused"
    COMPLETE = "Complete"
    BUDGET_AVAILABLE = "BudgetAvailable"
    TEMPLATE_CURRENT = "TemplateCurrent"
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    MIGRATED = "Migrated"
    WORKSPACE_RESIZED = "WorkspaceResized"
    EGRESS_OPEN = "EgressOpen"


class Reason(StrEnum):
    """Reasons of conditions and Events that are neither a phase nor a stop reason."""

    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    PROVIDER_NOT_FOUND = "ProviderNotFound"
    PROVIDER_INVALID = "ProviderInvalid"
    MODEL_NOT_FOUND = "ModelNotFound"
    SERVER_NOT_FOUND = "ServerNotFound"
    SERVER_NOT_READY = "ServerNotReady"
    TOOL_NOT_FOUND = "ToolNotFound"
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    CONFIG_MAP_KEY_NOT_FOUND = "ConfigMapKeyNotFound"
    CONTEXT_TOO_LARGE = "ContextTooLarge"
    DATA_SOURCE_INVALID = "DataSourceInvalid"
    TEMPLATE_NOT_FOUND = "TemplateNotFound"
    TEMPLATE_INVALID = "TemplateInvalid"
    OVERRIDE_NOT_ALLOWED = "OverrideNotAllowed"
    NEWER_TEMPLATE = "NewerTemplate"
    AWAITING_SEAL = "AwaitingSeal"
    AWAITING_JOURNAL = "AwaitingJournal"
    AWAITING_POD = "AwaitingPod"
    POD_REFUSED = "PodRefused"
    RETRYING = "Retrying"
    NOT_STALLED = "NotStalled"
    NOT_PAUSED = "NotPaused"
    SETTLED = "Settled"
    IN_PROGRESS = "InProgress"
    SCRIPT_INVALID = "ScriptInvalid"
    PRICE_NOT_FOUND = "PriceNotFound"
    DUPLICATE_ID = "DuplicateId"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_INVALID = "SourceInvalid"
    DIRECTOR_NOT_FOUND = "DirectorNotFound"
    QUOTA_EXCEEDED = "QuotaExceeded"
    NAMESPACE_HELD = "NamespaceHeld"
    USAGE_UNKNOWN = "UsageUnknown"
    IDLE = "Idle"
    BUDGET_LEFT = "BudgetLeft"
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    NOTHING_PENDING = "NothingPending"
    POLICY_INVALID = "PolicyInvalid"
    MIGRATING = "Migrating"
    MIGRATED = "Migrated"
    ROLLED_BACK = "RolledBack"
    RESIZED = "Resized"
    RESIZE_REFUSED = "ResizeRefused"
    API_SERVER_REACHED = "APIServerReached"
    SUSPENDED = "Suspended"
    SECRET_NOT_READABLE = "SecretNotReadable"  # noqa: S105  # a word, not a secret
    DELIVERY_FAILING = "DeliveryFailing"
    DELIVERY_GIVEN_UP = "DeliveryGivenUp"


class LimitName(StrEnum):
    """A limit that the gateway found reached."""

    STEPS = "steps"
    TOKENS = "tokens"
    TOOL_CALLS = "toolCalls"
    COST = "cost"


class ErrorCode(StrEnum):
    """Classes of what went wrong in an epoch; `lifecycle.retry` has one rule for each."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    NETWORK = "network"
    MODEL_ERROR = "model_error"
    CONTEXT_TOO_LONG = "context_too_long"
    EMPTY_ANSWER = "empty_answer"
    POD_LOST = "pod_lost"
    NODE_LOST = "node_lost"
    START_FAILED = "start_failed"
    RUNNER_ERROR = "runner_error"
    POLICY = "policy"


class RefusalCode(StrEnum):
    """Codes of what the gateway refuses a pod, besides `ErrorCode`."""

    NOT_FENCED = "not_fenced"
    STALE_EPOCH = "stale_epoch"
    OTHER_AGENT = "other_agent"
    SESSION_FINISHED = "session_finished"
    SESSION_CANCELLED = "session_cancelled"
    SESSION_PAUSED = "session_paused"
    NOTHING_TO_PLAY = "nothing_to_play"
    TURN_MISMATCH = "turn_mismatch"
    UNKNOWN_CALL = "unknown_call"
    STEP_LIMIT = "step_limit"
    TOKEN_LIMIT = "token_limit"  # noqa: S105  # a word, not a secret
    TOOL_CALL_LIMIT = "tool_call_limit"
    COST_LIMIT = "cost_limit"


FENCE_CODES: Final = frozenset({
    RefusalCode.STALE_EPOCH, RefusalCode.SESSION_FINISHED, RefusalCode.SESSION_CANCELLED, RefusalCode.SESSION_PAUSED,
})  # fmt: skip
"""The pod must end."""
LIMIT_CODES: Final = {
    LimitName.STEPS: RefusalCode.STEP_LIMIT,
    LimitName.TOKENS: RefusalCode.TOKEN_LIMIT,
    LimitName.TOOL_CALLS: RefusalCode.TOOL_CALL_LIMIT,
    LimitName.COST: RefusalCode.COST_LIMIT,
}


class ExitCode(IntEnum):
    """What a runner's exit code claims. The journal's closing record is what counts."""

    DONE = 0
    ERROR = 1
    PAUSED = 10
    IDLE = 11
    LIMIT = 20
    REFUSED = 30
    APPROVAL = 40
    TERMINATED = 143
