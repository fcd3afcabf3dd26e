"""What the gateway answers, as values. Fields have the API's names in snake case; docs/api.md describes them.

Unknown fields of a newer gateway are ignored, and words of closed sets are plain strings: they compare equal to the
members of `agentsessions.api.reasons`, and a newer gateway's words do no harm.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from agentsessions.api.reasons import Phase

FINAL_PHASES: Final = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED, Phase.EXPIRED})
"""Phases that no session leaves."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a session has spent."""

    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    tool_calls: int = 0
    cost_micro_usd: int = 0
    turns: int = 0
    limit_reached: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a session wherever it is shown."""

    uid: str
    namespace: str
    name: str
    session_id: str | None = None
    owner: str | None = None
    template: str | None = None
    type: str
    mode: str
    role: str
    title: str | None = None
    goal: str
    phase: str
    reason: str | None = None
    created_at: datetime
    updated_at: datetime | None = None
    last_activity: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deleted_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens: it is in a phase that it will not leave, or was deleted."""
        return self.phase in FINAL_PHASES or self.deleted_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionItem(_Known):
    """A session in a list."""

    limit_reached: str | None = None
    steps: int
    total_tokens: int
    cost_micro_usd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(_Known):
    """A session with its contract and what it has spent."""

    description: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    operating_mode: str
    phase_started_at: datetime | None = None
    message: str | None = None
    stop_reason: str | None = None
    error: Failure | None = None
    result: str | None = None
    """Text of the newest final answer, its beginning when `result_truncated`."""
    result_truncated: bool = False
    limits: Json
    usage: Usage
    head: int
    spec: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """One page of sessions."""

    items: list[SessionItem]
    total: int
    limit: int = 0
    offset: int = 0
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that an agent thought, said or did in a step."""

    seq: int
    number: int | None = None
    agent: str | None = None
    epoch: int | None = None
    round: int = 1
    type: str
    input: Json | None = None
    output: str | None = None
    is_error: bool | None = None
    code: str | None = None
    duration_milliseconds: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_micro_usd: int | None = None
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPage:
    """One page of steps."""

    items: list[Step]
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation."""

    id: str
    number: int | None = None
    role: str
    content: str = ""
    tool_call_id: str | None = None
    tool_name: str | None = None
    extra_data: Json | None = None
    kind: str | None = None
    priority: int | None = None
    sender: str | None = None
    correlation_id: str | None = None
    actor: str | None = None
    created_at: datetime
    updated_at: datetime | None = None
    state: str | None = None
    agent: str | None = None
    round: int | None = None
    turn: int | None = None
    seq: int | None = None


Steps = list[Step]
Messages = list[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePage:
    """One page of messages."""

    items: list[Message]
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened in a session, as its stream tells it."""

    type: str
    seq: int | None = None
    """Number of the journal's entry; None for what is not stored (`delta`, `gap`)."""
    at: datetime | None = None
    agent: str | None = None
    epoch: int | None = None
    round: int = 1
    step: int | None = None
    body: Json = field(default_factory=dict)
    """What it says, by type; empty once redacted."""

    @property
    def text(self) -> str:
        """What it says to people; empty when it says nothing."""
        return str(next((self.body[key] for key in ("text", "content", "output", "message") if self.body.get(key)), ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of something that was said."""

    session_id: str | None = None
    session: str
    uid: str
    namespace: str
    message_id: str
    reply: str | None = None
    """The answer; None as long as there is none."""
    messages_count: int = 0
    phase: str
    usage: Usage

    @property
    def output(self) -> str:
        """The answer; empty as long as there is none."""
        return self.reply or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether a session's journal is whole and unchanged."""

    ok: bool
    head: int
    digest: str
    problems: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a session ended."""

    session: Session
    output: str
    """Last thing that an agent said."""
    steps: list[Step]

    @property
    def status(self) -> str:
        """Its phase, in the lower case of other session APIs."""
        return self.session.phase.lower()

    @property
    def is_success(self) -> bool:
        """Whether it completed."""
        return self.session.phase == Phase.COMPLETED
