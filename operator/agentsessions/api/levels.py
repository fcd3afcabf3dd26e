"""What the gateway tells the operator of a session: levels, never events. A newer level replaces an older one whole.

`GET /internal/v1/levels` streams one JSON object a line: first a level for each session that is not final, then
`{"synced": true}`, then levels as they change, and `{"ping": true}` every 10 s.
`GET /internal/v1/levels/{uid}` reads one from the store at that moment.
`POST /internal/v1/levels/{uid}/source` has a session take over what its spec.source or spec.replay names.
`POST /internal/v1/levels/{uid}/children/{id}` says what became of a session that its agents asked for.
"""

from datetime import datetime
from typing import Annotated, Final

from pydantic import Field

from agentsessions.api.child_sessions import ChildSessionsLevel
from agentsessions.api.model import ApiModel
from agentsessions.api.reasons import ErrorCode, LimitName, Reason
from agentsessions.api.v1alpha1.approval import ApprovalRequest
from agentsessions.api.v1alpha1.status import RoundStatus
from agentsessions.api.wire import Outcome

LEVELS_PATH: Final = "/internal/v1/levels"


class Closing(ApiModel):
    """The journal's record of how an epoch ended. One for each pod at most."""

    agent: str
    """Agent's name."""
    epoch: int
    """Its epoch."""
    pod_uid: str = Field(alias="podUID")
    """Its pod."""
    outcome: Outcome
    """final, idle, handoff, waiting or error (never continue)."""
    code: ErrorCode | None = None
    """With error: its class."""
    message: str | None = None
    """With error: what failed."""
    retry_at: datetime | None = None
    """With error: time before which the model's provider does not want to be asked again (UTC)."""


class Seal(ApiModel):
    """What the gateway found when it verified a session's journal after the last answer."""

    head: int
    """The newest entry then."""
    digest: str
    """Its hash."""
    sealed_at: datetime
    """When (UTC)."""
    problem: str = ""
    """What does not fit; empty when the chain is sound."""


class AgentLevel(ApiModel):
    """How one agent among several stands."""

    name: str
    is_due: bool
    """Whether it has something to do now, and so is to have a pod."""
    epoch_turns: int = 0
    """Turns that its newest fenced epoch committed."""
    closing: Closing | None = None
    """Closing record of its newest fenced epoch."""
    steps: int = 0
    """Model answers bought for it."""
    tokens: int = 0
    """Tokens, in and out, of these answers."""


class Level(ApiModel):
    """How one session stands in the journal."""

    session_uid: str = Field(alias="sessionUID")
    """UID of the session."""
    namespace: str
    name: str
    head: Annotated[int, Field(ge=0)] = 0
    """Sequence number of its newest entry."""
    digest: str = ""
    """Hash of that entry."""
    steps: int = 0
    """Model answers bought."""
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    cost_micro_usd: int = Field(default=0, alias="costMicroUSD")
    """Cost in millionths of a US dollar."""
    open_calls: int = 0
    """Purchases of answers under way: what they cost is not counted yet."""
    inbox_pending: int = 0
    """Messages that no turn has taken yet."""
    open_commands: int = 0
    """Commands that it sent to other sessions, and sessions that it started, that have no last word yet."""
    child_sessions: ChildSessionsLevel | None = None
    """What the sessions come to that its agents started; None when they started none."""
    idle_seconds: int = 0
    """Closed gaps in which an epoch waited with nothing to do."""
    idle_since: datetime | None = None
    """When the present gap began (UTC); None while there is something to do."""
    round: RoundStatus | None = None
    """For type Metrics: the rounds so far."""
    seal: Seal | None = None
    """For a type whose journal is sealed, once the last answer is there."""
    turns: int = 0
    """Turns committed, over all epochs."""
    epoch_turns: int = 0
    """Turns that the newest fenced epoch committed (for a foreign image: its accounted model calls)."""
    limit_reached: LimitName | None = None
    """A limit that stopped a model call, as long as the limits in force still forbid it."""
    limit_message: str | None = None
    """What was asked and what was left."""
    closing: Closing | None = None
    """Closing record of the newest fenced epoch."""
    is_egress_open: bool = False
    """Whether a pod of a newest fenced epoch connected to what the agents' NetworkPolicy forbids."""
    approval_pending: list[ApprovalRequest] = Field(default_factory=list)
    """Calls that wait for a person, oldest first; of very many the first ones."""
    agents: tuple[AgentLevel, ...] = ()
    """Of a session with several agents: each of them, in the order of the spec."""
    result: str | None = None
    """First 4 KiB of the last answer without tool calls; None before the first."""
    result_truncated: bool = False
    """Whether the answer is longer."""


class LevelLine(ApiModel):
    """One line of the stream; exactly one field is set."""

    level: Level | None = None
    synced: bool | None = None
    ping: bool | None = None


class SourceAnswer(ApiModel):
    """Whether a session has what its spec.source or spec.replay names. Asking again changes nothing."""

    reason: Reason | None = None
    """Why it does not, in a word; None when it does."""
    message: str = ""
    """Why it does not: what is missing, and what to do."""
