"""Values that go in and out of the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

from agentsessions.api.reasons import LimitName, Phase, StopReason
from agentsessions.api.v1alpha1.provider import ModelPrices
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.journal.refusals import LimitReached
from agentsessions.lifecycle.teams import Team

Columns = Mapping[Any, Any]
"""A row of the database, by the names of its columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUsage:
    """What a session has spent, as the journal counted it."""

    head: int = 0
    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    cost_micro_usd: int = 0
    turns: int = 0
    limit_reached: LimitName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session as the cluster last showed it. `usage` is filled when read and ignored when written."""

    uid: str
    namespace: str
    name: str
    namespace_uid: str = ""
    generation: int = 1
    resource_version: int | None = None
    """Of two views of a session the later one has the higher; None where versions are no numbers."""
    template: str = ""
    """Name of the template that it starts from."""
    type: str = "Custom"
    role: str = "Worker"
    mode: str = "FullAutonomy"
    operating_mode: OperatingMode = OperatingMode.RUNNING
    title: str = ""
    description: str = ""
    owner: str = ""
    session_id: str = ""
    """An id of its owner's own."""
    labels: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    goal: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    """The resource's spec, JSON form."""
    phase: Phase | None = None
    phase_started_at: datetime | None = None
    reason: str = ""
    """One word why it is in the phase; goes into the phase's `state` entry."""
    message: str = ""
    """One sentence to it."""
    stop_reason: StopReason | None = None
    error: dict[str, Any] | None = None
    """What went wrong last, as the status tells it: code and message."""
    limits: EffectiveLimits = field(default_factory=EffectiveLimits)
    """status.effective."""
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deleted_at: datetime | None = None
    anchor_head: int = 0
    """status.journal: where the chain was when the status was written, and the hash of that entry."""
    anchor_digest: str = ""
    updated_at: datetime | None = field(default=None, compare=False)
    """When the journal last saw it change; set by the journal."""
    last_at: datetime | None = field(default=None, compare=False)
    """When its newest entry was written; set when read."""
    usage: SessionUsage = field(default_factory=SessionUsage, compare=False)


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Whom a pod speaks for, from the fence table."""

    session_uid: str
    namespace: str
    name: str
    """The session's name."""
    agent: str
    """The agent that it plays."""
    epoch: int
    pod_uid: str
    is_current: bool
    """Whether it is its agent's newest epoch. Every write checks it again."""
    shared_with: str = ""
    """Of a pod that several agents share: the one under whose name the fence has it, when that is another one."""

    @property
    def host(self) -> str:
        """The agent under whose name the fence has the pod."""
        return self.shared_with or self.agent

    def playing(self, agent: str) -> "PodIdentity":
        """Return the pod as one that plays `agent`, which shares it. Whether it does, the caller knows."""
        return replace(self, agent=agent, shared_with="" if agent == self.host else self.host)


class TurnKind(StrEnum):
    """What a turn is for."""

    PLAY = "play"
    COMPACT = "compact"
    """Summarise the older part of the conversation, which is too long for the model."""
    COPIED = "copied"
    """Played by the session that this one was forked from."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When rounds of the goal are due: at the first one's start, and every `interval` after it."""

    interval: timedelta
    duration: timedelta
    """Rounds begin before this is over, counted from the first one's start."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a session goes on after an answer, by its spec. The default ends it, unless there are messages."""

    is_open: bool = False
    """Whether it waits for a message."""
    idle: timedelta = timedelta(seconds=60)
    """How long an epoch waits for one before it is closed."""
    max_history: int | None = None
    """Most messages in the history of a turn; None: all."""
    schedule: Schedule | None = None
    """With it the session runs its goal in rounds."""
    team: Team | None = None
    """With it the session has several agents."""
    delegates: bool = False
    """Whether it waits for what comes of its commands."""


class MessageRole(StrEnum):
    """Who says a message."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class MessageState(StrEnum):
    """How far a message came that was sent to a session."""

    QUEUED = "queued"
    TAKEN = "taken"
    """A turn has it in its history."""
    ANSWERED = "answered"
    """That turn, or one after it, ended with a text."""
    DELETED = "deleted"
    """Its content is gone."""


class MailKind(StrEnum):
    """What one session says to another."""

    COMMAND = "COMMAND"
    PROGRESS_REPORT = "PROGRESS_REPORT"
    """How a command goes on, and in the end what came of it."""
    ERROR = "ERROR"
    """Why nothing comes of a command."""


class MailPriority(IntEnum):
    """Whose turn is first where several senders wait."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What makes a message one between sessions."""

    kind: MailKind
    priority: MailPriority
    sender_uid: str
    sender: str
    """Name of the session that sent it."""
    correlation_id: str | None = None
    """Of a report or an error: the command."""
    is_held: bool | None = None
    """Whether it begins no turn, but waits for a message that does."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What somebody says to a session."""

    id: str
    """Unique among all messages."""
    content: str
    actor: str
    """Name of the user who says it."""
    idempotency_key: str | None = None
    """The same key with the same content means the same message."""
    role: MessageRole = MessageRole.USER
    """Those of a user begin a turn; others wait for the next one, and stand in front of it."""
    tool_call_id: str | None = None
    """With role tool: the call that it is the result of."""
    tool_name: str | None = None
    """With role tool: the tool."""
    extra_data: dict[str, Any] | None = None
    """The sender's own; nothing acts on it."""
    mail: Mail | None = None
    """Of a message between sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """A message to a session, and what became of it."""

    id: str
    ordinal: int
    """Its place among the messages to the session, from 1."""
    role: MessageRole
    content: str
    """Empty once deleted."""
    tool_call_id: str | None = None
    tool_name: str | None = None
    extra_data: dict[str, Any] | None = None
    kind: str | None = None
    """Of a message between sessions: a `MailKind`; with what follows."""
    priority: int | None = None
    sender_uid: str | None = None
    sender: str | None = None
    correlation_id: str | None = None
    is_held: bool | None = None
    replied_at: datetime | None = None
    """When a command got its last word."""
    actor: str
    created_at: datetime
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    state: MessageState
    agent: str | None = None
    """Who took it, and so on; None while it is queued."""
    epoch: int | None = None
    round: int | None = None
    k: int | None = None
    entry_seq: int | None = None
    """Its entry in the journal."""


@dataclass(frozen=True, slots=True)
class PinnedTurn:
    """A turn that is to be played; the same for every epoch until it is committed."""

    session_uid: str
    agent: str
    round: int
    k: int
    history_seq: int
    """The history of the turn ends with this entry."""
    kind: TurnKind = TurnKind.PLAY
    cut_seq: int | None = None
    """With kind compact: last entry that the summary is to stand for."""


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a commit led to."""

    k: int
    is_last: bool
    """True after an error that closed its epoch, and after a final answer that ends the session: no turn follows."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one answer."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class PartialAnswer:
    """What came of a request to a provider before it was broken off."""

    received_bytes: int
    reported: TokenUsage | None = None
    """What the provider said until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailure:
    """A purchase that brought no answer."""

    code: str
    message: str
    charged: bool
    """Whether it is to be paid."""
    usage: TokenUsage | None = None
    """What it cost, when charged; else the whole reservation, marked as estimated."""
    retry_at: datetime | None = None
    """Time before which the provider does not want to be asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """A model call that a pod asks for."""

    digest: str
    """`digests.request_digest` of the body: equal requests have the same."""
    model: str
    request_bytes: int
    asked_output_tokens: int | None = None
    prompt_digest: str = ""
    """Last one of `digests.prompt_digests`."""
    prefix_digests: tuple[str, ...] = ()
    """All of `digests.prompt_digests`: how an answer that this request continues is found."""
    prices: ModelPrices | None = None
    """Of the model, now: the answer is paid by them whatever they become meanwhile."""
    owner: str = ""
    """Instance of the gateway that is to buy it; the store fills it in."""
    parts: dict[str, str] = field(default_factory=dict)
    """`digests.part_digests` of the body: what of it differs from another request."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer was bought before; relay it. Costs nothing."""

    call_id: int
    step: int
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reserved:
    """Room for the call is reserved; buy it, then settle or fail it."""

    call_id: int
    step: int
    attempt: int
    cap_output_tokens: int | None
    """Most tokens the answer may have; None without any limit."""
    capped: bool
    """Whether `cap_output_tokens` is what a limit of the session left, not what was asked for."""
    is_text_only: bool = False
    """Whether the answer must be a text: it is to be a summary."""


Reservation = Replay | Reserved | LimitReached
