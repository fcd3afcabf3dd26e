"""Bodies of the user routes' answers. What the OpenAPI document describes."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from agentsessions.api.levels import Level
from agentsessions.api.model import ApiModel
from agentsessions.api.reasons import LimitName, Phase, StopReason
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.journal.entries import EntryRow
from agentsessions.journal.rows import SessionRow, SessionUsage


class UsageAnswer(ApiModel):
    """What a session has spent, at this moment."""

    steps: int
    """Model answers bought."""
    input_tokens: int
    """Tokens sent to models."""
    output_tokens: int
    """Tokens that models answered."""
    total_tokens: int
    """Input plus output tokens."""
    tool_calls: int
    """Tool calls in the models' answers."""
    cost_micro_usd: int = Field(alias="costMicroUSD")
    """Cost in millionths of a US dollar, by the provider's prices at the time of each answer."""
    turns: int
    """Turns committed."""
    limit_reached: LimitName | None = None
    """A limit that stopped the session."""


class ErrorAnswer(ApiModel):
    """What went wrong."""

    code: str
    """Class of the error."""
    message: str
    """What failed, and what to do."""


class SessionDetail(ApiModel):
    """A session, of the cluster or of the past, with its whole contract."""

    uid: str
    """UID of the resource: good as an id in every route."""
    namespace: str
    """Its namespace."""
    name: str
    """Its name: good as an id for the newest session of that name."""
    type: str
    """Kind of session."""
    mode: str
    """Which classes of tools agents may use."""
    role: str
    """Part that the session plays among others."""
    session_id: str | None = None
    """An id of its owner's own."""
    owner: str | None = None
    """User name of the owner."""
    template: str | None = None
    """Template that it starts from."""
    title: str | None = None
    """Title for people."""
    description: str | None = None
    """Description for people."""
    metadata: dict[str, str] | None = None
    """Free data of people and programs."""
    labels: dict[str, str] | None = None
    """Labels of the resource."""
    goal: str
    """What the agents are to reach."""
    operating_mode: str
    """What people want of it: Running, Paused or Cancelled."""
    phase: Phase
    """Where it is, in one word."""
    phase_started_at: datetime | None = None
    """When it entered the phase (UTC)."""
    reason: str | None = None
    """Why it is there, in one word."""
    message: str | None = None
    """Why it is there, in one sentence."""
    stop_reason: StopReason | None = None
    """Why it stopped."""
    error: ErrorAnswer | None = None
    """What went wrong last."""
    result: str | None = None
    """Text of the newest final answer, the first 4 KiB; the messages have all of it."""
    result_truncated: bool | None = None
    """Whether the result is longer than what is shown; absent without one."""
    limits: EffectiveLimits
    """Limits in force."""
    usage: UsageAnswer
    """What was spent."""
    head: int
    """Sequence number of the newest journal entry."""
    created_at: datetime
    """When the resource was created (UTC)."""
    started_at: datetime | None = None
    """When its first pod ran (UTC)."""
    finished_at: datetime | None = None
    """When it reached a final phase (UTC)."""
    deleted_at: datetime | None = None
    """When the resource was deleted (UTC); the journal stays."""
    updated_at: datetime | None = None
    """When the resource last changed, as the journal saw it (UTC)."""
    last_activity: datetime | None = None
    """When the newest journal entry was written (UTC)."""
    spec: dict[str, Any]
    """The resource's spec."""


class EntryAnswer(ApiModel):
    """One entry of the journal; data of each event."""

    seq: int
    """Number in the session, 1..n without gap: the event's id."""
    type: str
    """Kind of entry: the event's name."""
    at: datetime
    """When it was written (UTC)."""
    agent: str | None = None
    """Agent it belongs to; absent for the session itself."""
    epoch: int | None = None
    """Incarnation of the agent's pod."""
    round: int
    """Round of the goal."""
    step: int | None = None
    """Number of the agent's model answer; absent outside of steps."""
    index: int
    """Place within the step."""
    body: dict[str, Any] | None = None
    """What it says, by type; absent once redacted."""


class StepAnswer(ApiModel):
    """One thing that an agent thought, said or did in a step."""

    seq: int
    """Number of its journal entry."""
    number: int | None = None
    """Number of the agent's model answer; absent for errors outside of steps."""
    agent: str | None = None
    """Agent."""
    epoch: int | None = None
    """Incarnation of the agent's pod."""
    round: int
    """Round of the goal."""
    type: str
    """thinking, tool_call, tool_result, output, compaction (a summary of older steps) or error."""
    input: dict[str, Any] | None = None
    """With tool_call: callId, name and arguments. With tool_result: callId and name. With thinking and output: `new`,
    what the model was told in this step and in none before: of each message and result seq, role and 500 characters."""
    output: str | None = None
    """Text; absent for tool_call and once redacted."""
    is_error: bool | None = None
    """With tool_result and error: whether it failed."""
    code: str | None = None
    """With error: its class."""
    duration_milliseconds: int | None = None
    """With tool_result: time of the tool. Otherwise: time of the step's model answer, once complete."""
    input_tokens: int | None = None
    """Tokens sent for the whole step; the same on each of its items."""
    output_tokens: int | None = None
    """Tokens answered in the whole step; the same on each of its items."""
    cost_micro_usd: int | None = Field(default=None, alias="costMicroUSD")
    """Cost of the whole step in millionths of a US dollar; the same on each of its items. Absent without prices."""
    started_at: datetime
    """When the step began, or the entry was written (UTC)."""


class StepList(ApiModel):
    """Steps in order of the journal."""

    items: list[StepAnswer]
    """The page."""
    next: int | None = None
    """Pass it as `after` for the next page; absent on the last one."""


class Verification(ApiModel):
    """Whether the session's journal is whole and unchanged."""

    ok: bool
    """True when the hash chain holds."""
    head: Annotated[int, Field(ge=0)]
    """Entries that were checked."""
    digest: str
    """Hash of the newest entry."""
    problems: list[str]
    """One sentence for each thing that does not fit."""


def to_entry(entry: EntryRow) -> EntryAnswer:
    """Return an entry as events show it."""
    return EntryAnswer(
        seq=entry.seq,
        type=entry.type,
        at=entry.at,
        agent=entry.agent or None,
        epoch=entry.epoch or None,
        round=entry.round,
        step=entry.step or None,
        index=entry.index,
        body=entry.body,
    )


def to_detail(row: SessionRow, level: Level | None) -> SessionDetail:
    """Return a session with its spec, and with the result that its level has."""
    has_result = level is not None and level.result is not None
    return SessionDetail(
        uid=row.uid,
        namespace=row.namespace,
        name=row.name,
        type=row.type,
        mode=row.mode,
        role=row.role,
        session_id=row.session_id or None,
        owner=row.owner or None,
        template=row.template or None,
        title=row.title or None,
        description=row.description or None,
        metadata=row.metadata or None,
        labels=row.labels or None,
        goal=row.goal,
        operating_mode=row.operating_mode,
        phase=row.phase or Phase.PENDING,
        phase_started_at=row.phase_started_at,
        reason=row.reason or None,
        message=row.message or None,
        stop_reason=row.stop_reason,
        error=ErrorAnswer(code=row.error["code"], message=row.error["message"]) if row.error else None,
        result=level.result if level else None,
        result_truncated=level.result_truncated if level and has_result else None,
        limits=row.limits,
        usage=to_usage(row.usage),
        head=row.usage.head,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        deleted_at=row.deleted_at,
        updated_at=row.updated_at,
        last_activity=row.last_at,
        spec=row.spec,
    )


def to_usage(usage: SessionUsage) -> UsageAnswer:
    """Return what a session spent, as it is shown."""
    return UsageAnswer(
        steps=usage.steps,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        tool_calls=usage.tool_calls,
        cost_micro_usd=usage.cost_micro_usd,
        turns=usage.turns,
        limit_reached=usage.limit_reached,
    )
