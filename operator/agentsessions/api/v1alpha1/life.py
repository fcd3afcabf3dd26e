"""How far a session may go, and how it is paused, ended, talked with, repeated and tried again."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.cel import cel


class OnLimit(StrEnum):
    """What becomes of a session that reached a limit."""

    PAUSE = "Pause"
    FAIL = "Fail"
    COMPLETE = "Complete"


class LimitActions(ApiModel):
    """What becomes of the session when a limit is reached, per limit."""

    default: OnLimit | None = None
    """For limits that are not named here. Fail when absent."""
    steps: OnLimit | None = None
    """For maxSteps."""
    tokens: OnLimit | None = None
    """For maxTokens."""
    tool_calls: OnLimit | None = None
    """For maxToolCalls."""
    cost: OnLimit | None = None
    """For maxCostMicroUSD."""
    timeout: OnLimit | None = None
    """For timeoutSeconds."""


class Limits(ApiModel):
    """What a session may spend. Enforced by the gateway and the operator, never by the agent."""

    max_steps: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Model answers over all agents. Default 10."""
    max_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Input plus output tokens over all agents. Default 200,000."""
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Output tokens of one answer. Default 4,000."""
    max_tool_calls: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Tool calls in the models' answers. Default 100."""
    recursion_limit: Annotated[int, Field(ge=1, le=500)] | None = None
    """How deep calls may nest: an agent is one deeper than who called it, and so is a tool. Default 100; a call beyond
    it is answered with an error."""
    timeout_seconds: Annotated[int, Field(ge=1, le=2_592_000)] | None = None
    """Seconds of work in phase Running. Default 120."""
    max_cost_micro_usd: Annotated[int, Field(ge=1, le=10**15)] | None = Field(default=None, alias="maxCostMicroUSD")
    """Cost over all agents in millionths of a US dollar, by the prices of the ModelProvider. No default."""
    on_limit: LimitActions | None = None
    """What becomes of the session when one is reached: Pause (raising it goes on), Fail or Complete."""


class PauseBoundary(StrEnum):
    """Where a pause may fall."""

    STEP = "Step"
    IMMEDIATE = "Immediate"


class PausePolicy(ApiModel):
    """How the session is paused."""

    boundary: PauseBoundary | None = None
    """Step (default): the step under way is finished first. Immediate: it is broken off, and played again on resume."""
    grace_period_seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    """Seconds that the step under way may take before it is broken off. Default 60."""


class Shutdown(ApiModel):
    """How the session is ended by a cancel."""

    grace_period_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """Seconds that agents get to end by themselves. Default 30; 0 ends them by force."""
    reason: Annotated[str, Field(max_length=256)] | None = None
    """Why, for people; shown in status."""


class Conversation(ApiModel):
    """A session that people talk with."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.idleSeconds) == has(oldSelf.idleSeconds) && "
                    "(!has(self.idleSeconds) || self.idleSeconds == oldSelf.idleSeconds)",
                    "spec.conversation.idleSeconds cannot change after creation: create a new session",
                    field="idleSeconds",
                ),
                cel(
                    "has(self.maxHistory) == has(oldSelf.maxHistory) && "
                    "(!has(self.maxHistory) || self.maxHistory == oldSelf.maxHistory)",
                    "spec.conversation.maxHistory cannot change after creation: create a new session",
                    field="maxHistory",
                ),
                cel(
                    "!has(self.open) || !self.open || (has(oldSelf.open) && oldSelf.open)",
                    "spec.conversation.open can only change to false: create a new session to talk on",
                    field="open",
                ),
            ]
        }
    )

    open: bool | None = None
    """Whether the session waits for the next message after an answer. Set to false to end it."""
    idle_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Seconds without anything to do until the pod is released. Default 60."""
    max_history: Annotated[int, Field(ge=2, le=10_000)] | None = None
    """Messages shown to the model: the first and the newest ones, cut between turns. Default 50."""


class Schedule(ApiModel):
    """When a session of type Metrics runs its goal."""

    interval_seconds: Annotated[int, Field(ge=1, le=86_400)]
    """Seconds from the start of one round to the start of the next."""
    duration_seconds: Annotated[int, Field(ge=1, le=31_536_000)]
    """Seconds from the start of the first round in which rounds begin."""


class Retry(ApiModel):
    """What happens when an epoch fails for a passing reason."""

    max_retries: Annotated[int, Field(ge=0, le=100)] | None = None
    """Failed epochs in a row, each without a committed turn, before the session fails. Default 3."""
    initial_backoff_seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    """Seconds before the first retry; doubles each time. Default 4."""
    max_backoff_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    """Longest wait before a retry, in seconds. Default 60."""
