"""What a runner and the gateway say to each other. All bodies are JSON, camelCase.

The runner proves its pod by a projected token; no request names a session or epoch. Which of several agents that share
the pod a request is for, `AGENT_HEADER` says. Answers that are not 2xx are problem+json (`Problem`). 412 and 403 are
final for this pod; 425, 429 and 503 pass.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.api.names import MAX_TOOL_ARGUMENT_CHARACTERS, MAX_TOOL_OUTPUT_BYTES
from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.agent import Builtin, ModelSettings

TURN_PATH: Final = "/runner/v1/turn"
COMMIT_PATH: Final = "/runner/v1/turn/commit"
TOOL_BEGIN_PATH: Final = "/runner/v1/tools/begin"
TOOL_SETTLE_PATH: Final = "/runner/v1/tools/settle"
TOOL_CALL_PATH: Final = "/runner/v1/tools/call"
AGENT_HEADER: Final = "X-Agentsessions-Agent"
"""The agent whose turn a request belongs to: that of the turn which the pod was given last. Without it, the agent that
the pod is named after."""
EGRESS_HEADER: Final = "X-Agentsessions-Egress"
"""With a question for a turn or a commit: what the pod found out about what it reaches. Only `EGRESS_OPEN` says
something."""
EGRESS_OPEN: Final = "open"
"""The pod connected to the API server, which its NetworkPolicy forbids."""
OPENAI_PATH: Final = "/openai/v1"
"""Base path of the OpenAI-compatible endpoint: `/chat/completions` and `/models` are below it."""


class Control(StrEnum):
    """What the runner is to do with the pinned turn."""

    GO = "go"
    PAUSE = "pause"
    STOP = "stop"
    WAIT = "wait"
    IDLE = "idle"


class Outcome(StrEnum):
    """How a turn ended."""

    CONTINUE = "continue"
    FINAL = "final"
    IDLE = "idle"
    """As final, in a session that waits for a message or its next round. Only the gateway says so."""
    ERROR = "error"
    WAITING = "waiting"
    """A call of the turn waits for a person: the epoch ends, the turn stays open for the next one."""
    HANDOFF = "handoff"
    """The work goes on with another agent: this one answered its part, or passed the conversation on. Only the gateway
    says so."""


class SideEffect(StrEnum):
    """How far a tool's effect reaches."""

    NONE = "none"
    INTERNAL = "internal"
    EXTERNAL = "external"


READING_OPERATIONS: Final = frozenset({"list", "read"})
"""Operations of the built-in tool Files that change nothing."""


class ToolOffer(ApiModel):
    """A tool that the model may ask for."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    """Name as the model sees it, unique in the turn."""
    builtin: Builtin | None = None
    """The runner's own tool that runs the calls, and knows its description and parameters. Absent: the gateway runs
    them, asked by `ToolCall`."""
    description: str = ""
    """What it does, for the model."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """JSON schema of the arguments."""
    side_effect: SideEffect
    """How far its effect reaches, at most."""
    is_read_only: bool = False
    """Whether only the part of a built-in tool that changes nothing is on offer: of Files, list and read."""


class Turn(ApiModel):
    """A pinned turn: the same for every epoch of the agent until it is committed. Answer to GET turn."""

    k: Annotated[int, Field(ge=1)]
    """Number of the turn in the agent's round, from 1."""
    round: Annotated[int, Field(ge=1)] = 1
    """Round of the session."""
    agent: str
    """Name of the agent whose turn it is. Of agents that share a pod another one's may come next."""
    epoch: Annotated[int, Field(ge=1)]
    """Epoch of this pod, for logs."""
    session: str
    """`namespace/name` of the session, for logs."""
    control: Control
    """go: play the turn. pause: exit 10 without playing it. stop: exit 20 or 143. wait: there is nothing to play yet;
    ask again, the gateway holds the answer back until there is. idle: there is nothing to play for a while, the epoch
    is closed: exit 11. With wait and idle nothing else is to be read."""
    instructions: str | None = None
    """System prompt."""
    model: str
    """Model's name to send in requests."""
    settings: ModelSettings = ModelSettings()
    """Sampling settings."""
    max_output_tokens: int | None = None
    """Sent as `max_tokens`; the gateway caps it in any case."""
    tools: tuple[ToolOffer, ...] = ()
    """Tools on offer, in a fixed order."""
    history: list[dict[str, Any]] = Field(default_factory=list)
    """Input items of the Responses form, as the Agents SDK takes them; ends with what the model is to answer."""


class TurnError(ApiModel):
    """Why a turn failed, as the runner saw it. A claim: the gateway's own record of model errors wins."""

    code: ErrorCode
    """Class of the error."""
    message: Annotated[str, Field(max_length=1024)]
    """What failed."""


class Commit(ApiModel):
    """Close the pinned turn; the same commit again is answered alike. Answer: the next turn, or 204 after the last."""

    k: Annotated[int, Field(ge=1)]
    """Turn that is closed."""
    round: Annotated[int, Field(ge=1)] = 1
    """Its round: turns of a later round have the same numbers."""
    outcome: Outcome
    """continue: tools ran, ask the model again. final: the last answer is the result. error: the epoch ends. waiting:
    the epoch ends, and the turn is played again once a person has decided about its calls."""
    error: TurnError | None = None
    """With outcome error."""


class ToolBegin(ApiModel):
    """Ask whether to run a tool call of the current turn."""

    call_id: Annotated[str, Field(min_length=1, max_length=128)]
    """Id of the call in the model's answer."""
    name: Annotated[str, Field(min_length=1, max_length=64)]
    """Tool's name."""
    arguments: Annotated[str, Field(max_length=MAX_TOOL_ARGUMENT_CHARACTERS)]
    """Arguments as the model wrote them."""
    side_effect: SideEffect
    """How far the effect reaches."""


class Verdict(StrEnum):
    """What becomes of a tool call."""

    RUN = "run"
    RECORDED = "recorded"
    ASK = "ask"
    DENY = "deny"
    IN_DOUBT = "in_doubt"


class ToolVerdict(ApiModel):
    """Answer to `ToolBegin`."""

    verdict: Verdict
    """run: execute it. recorded: it was executed before; use `output`. deny: it must not run, and `output`, which the
    journal has as its result, says why. ask: a person must approve it first; in_doubt: a person must say whether it
    happened in an earlier epoch. With both the other calls of the turn go on, and the epoch ends with `waiting`."""
    output: str | None = None
    """The recorded result."""


class ToolSettle(ApiModel):
    """Report a tool's result, before the model sees it. The same report again is answered alike."""

    call_id: Annotated[str, Field(min_length=1, max_length=128)]
    """Id of the call."""
    output: Annotated[str, Field(max_length=MAX_TOOL_OUTPUT_BYTES)]
    """Result text; the runner shortens longer ones and says so in the text."""
    is_error: bool = False
    """Whether the tool failed; the text then says how."""
    duration_milliseconds: Annotated[int, Field(ge=0)]
    """Time it took."""


class ToolCall(ApiModel):
    """Have the gateway run a call of a tool that is not the runner's: begun, run, settled. The same again joins it."""

    call_id: Annotated[str, Field(min_length=1, max_length=128)]
    """Id of the call in the model's answer."""
    name: Annotated[str, Field(min_length=1, max_length=64)]
    """Tool's name."""
    arguments: Annotated[str, Field(max_length=MAX_TOOL_ARGUMENT_CHARACTERS)]
    """Arguments as the model wrote them."""


class ToolAnswer(ApiModel):
    """Answer to `ToolCall`."""

    verdict: Verdict
    """run: it was run just now. recorded: it was settled before. In both cases the journal has the result."""
    output: str = ""
    """The result."""
    is_error: bool = False
    """Whether the tool failed; the text then says how."""


class Problem(ApiModel):
    """RFC 9457 problem, with what OpenAI clients look for under `error`."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    """What failed, on what, what was allowed, what to do."""
    code: str
    """Stable code."""
    request_id: str | None = None
    """Id of the request, as in the gateway's log and in the header X-Request-Id."""
    error: dict[str, Any] | None = None
    """`{message, type, code}` on model routes."""
