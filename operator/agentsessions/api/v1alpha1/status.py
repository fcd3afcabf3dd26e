"""AgentSession.status: the summary of a session. Under 16 KiB, written by the operator alone."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.placement import MigrationStatus, Site

Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


class Condition(ApiModel):
    """A Kubernetes condition."""

    type: Annotated[str, Field(max_length=63)]
    """State that holds or does not."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(max_length=63)]
    """One word why."""
    message: Annotated[str, Field(max_length=1024)]
    """One sentence for people: what, and what to do."""
    last_transition_time: datetime
    """When `status` last changed (UTC)."""
    observed_generation: int | None = None
    """Generation of the spec it speaks of."""


class ChildSessionsUsage(ApiModel):
    """What the sessions have spent that a director's agents started."""

    started: Count
    """How many there are or were."""
    steps: Count = 0
    """Model answers bought."""
    total_tokens: Count = 0
    """Input plus output tokens."""
    tool_calls: Count = 0
    """Tool calls in the models' answers."""
    cost_micro_usd: Count = Field(default=0, alias="costMicroUSD")
    """Cost in millionths of a US dollar."""


class Usage(ApiModel):
    """What a session has spent, as the journal counted it."""

    steps: Count = 0
    """Model answers bought."""
    input_tokens: Count = 0
    """Tokens sent to models."""
    output_tokens: Count = 0
    """Tokens that models answered."""
    total_tokens: Count = 0
    """Input plus output tokens."""
    tool_calls: Count = 0
    """Tool calls in the models' answers."""
    cost_micro_usd: Count = Field(default=0, alias="costMicroUSD")
    """Cost in millionths of a US dollar, by the provider's prices at the time of each answer."""
    active_seconds: Count = 0
    """Seconds of work in phase Running."""
    idle_seconds: Count = 0
    """Seconds in phase Running with nothing to do: they count for no limit."""
    child_sessions: ChildSessionsUsage | None = None
    """What the sessions that it started spent besides; `remaining` is without it, and without what they may spend."""


class Remaining(ApiModel):
    """What is left of the limits; a field is absent where there is no limit."""

    steps: Count | None = None
    """Model answers."""
    tokens: Count | None = None
    """Input plus output tokens."""
    tool_calls: Count | None = None
    """Tool calls."""
    cost_micro_usd: Count | None = Field(default=None, alias="costMicroUSD")
    """Cost in millionths of a US dollar."""
    active_seconds: Count | None = None
    """Seconds of work in phase Running."""


class EffectiveLimits(ApiModel):
    """The limits in force after defaults."""

    max_steps: int | None = None
    """Model answers."""
    max_tokens: int | None = None
    """Input plus output tokens."""
    max_output_tokens: int | None = None
    """Output tokens of one answer."""
    max_tool_calls: int | None = None
    """Tool calls."""
    recursion_limit: int | None = None
    """How deep calls may nest."""
    timeout_seconds: int | None = None
    """Seconds of work in phase Running."""
    max_cost_micro_usd: int | None = Field(default=None, alias="maxCostMicroUSD")
    """Cost in millionths of a US dollar."""


class AgentStatus(ApiModel):
    """One agent. This row alone tells the gateway which pod may speak for the agent.

    Agents that share a pod have the same epoch and pod.
    """

    name: Annotated[str, Field(max_length=20)]
    """Name of the agent."""
    epoch: Annotated[int, Field(ge=1)]
    """Incarnation of the agent's pod; raised on every replacement."""
    pod_name: Annotated[str, Field(max_length=253)] | None = None
    """Name of the pod of this epoch."""
    pod_uid: Annotated[str, Field(max_length=64)] | None = Field(default=None, alias="podUID")
    """UID of the pod of this epoch."""
    state: Annotated[str, Field(max_length=63)] | None = None
    """What the pod does: Starting, Running, Ended, Lost; Failed when the session goes on without the agent; Standby
    while another agent works that shares the pod."""
    steps: Count | None = None
    """Model answers bought for the agent."""
    tokens: Count | None = None
    """Tokens, in and out, of these answers."""
    retries: Count | None = None
    """Of one among several: epochs in a row that committed no turn."""
    next_retry_at: datetime | None = None
    """Of one among several: when its next epoch starts after a failure (UTC)."""


class SessionError(ApiModel):
    """What went wrong last."""

    code: Annotated[str, Field(max_length=63)]
    """Class of the error."""
    message: Annotated[str, Field(max_length=1024)]
    """What failed, and what to do."""


class JournalPosition(ApiModel):
    """Where the journal stood when the status was written."""

    head: Count
    """Sequence number of the newest entry."""
    digest: Annotated[str, Field(max_length=64)]
    """Hash of that entry (SHA-256, hex): anchors the whole chain."""


class DataSourceStatus(ApiModel):
    """A data source as it was frozen."""

    name: Annotated[str, Field(max_length=32)]
    """Name of the table."""
    digest: Annotated[str, Field(max_length=64)]
    """SHA-256 (hex) of its content."""
    rows: Count
    """Rows of the table."""


class JournalSeal(ApiModel):
    """For type Audit: what was verified before the session was completed."""

    head: Count
    """Sequence number of the last entry under the seal."""
    digest: Annotated[str, Field(max_length=64)]
    """Hash of that entry (SHA-256, hex): stands for all entries up to it."""
    sealed_at: datetime
    """When the chain was verified and sealed (UTC)."""


class RoundStatus(ApiModel):
    """Where a session of type Metrics is in its schedule."""

    number: Annotated[int, Field(ge=1)]
    """The newest round, from 1."""
    completed: Count = 0
    """Rounds with a result."""
    missed: Count = 0
    """Rounds that did not begin in their time: the one before took too long, or the session was stopped."""
    next_at: datetime | None = None
    """When the next round is due (UTC)."""


class SessionStatus(ApiModel):
    """What the operator knows of a session. Usage is written with transitions; the gateway has live figures."""

    phase: Phase | None = None
    """Where the session is, in one word."""
    phase_started_at: datetime | None = None
    """When it entered the phase (UTC)."""
    observed_generation: int | None = None
    """Generation of the spec that this status answers."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Ready, Reconciling, Stalled (as kstatus reads them), Accepted, Paused, Complete, BudgetAvailable,
    WaitingForApproval; TemplateCurrent with a template, Migrated after a move, WorkspaceResized when its size grew,
    EgressOpen once a pod was seen to reach what it must not."""
    effective: EffectiveLimits | None = None
    """Limits in force after defaults."""
    spec_digest: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 (hex) of what the session runs with: its spec after defaults, and the content of its context."""
    data_sources: Annotated[list[DataSourceStatus], Field(max_length=16)] | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Data sources as they were frozen when the session was accepted."""
    template_revision: Annotated[str, Field(max_length=253)] | None = None
    """ControllerRevision that holds the template as it was when the session was accepted."""
    agents: Annotated[list[AgentStatus], Field(max_length=16)] | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """One row for each agent."""
    site: Site | None = None
    """Where its pods start, for a session with a placement or a workspace."""
    migration: MigrationStatus | None = None
    """The newest move to another place or storage class."""
    round: RoundStatus | None = None
    """For type Metrics: the rounds so far."""
    retries: Count | None = None
    """Epochs in a row that committed no turn."""
    next_retry_at: datetime | None = None
    """When the next epoch starts after a failure (UTC)."""
    usage: Usage | None = None
    """What was spent."""
    remaining: Remaining | None = None
    """What is left."""
    result: Annotated[str, Field(max_length=4096)] | None = None
    """The agent's last answer; the first 4 KiB of it, the gateway has the rest."""
    result_truncated: bool | None = None
    """True when `result` is only the beginning."""
    error: SessionError | None = None
    """What went wrong last."""
    stop_reason: StopReason | None = None
    """Why the session stopped."""
    stopped_at: datetime | None = None
    """When its last pod was gone after a cancel (UTC)."""
    pods_remaining: Count | None = None
    """Pods of the session that still exist after a cancel; 0 proves that it stopped."""
    started_at: datetime | None = None
    """When its first pod ran (UTC)."""
    finished_at: datetime | None = None
    """When it reached a final phase (UTC)."""
    journal: JournalPosition | None = None
    """Where the journal stood."""
    seal: JournalSeal | None = None
    """For type Audit: the journal as it was verified and sealed."""
