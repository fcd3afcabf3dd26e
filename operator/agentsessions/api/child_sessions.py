"""Child sessions as gateway and operator speak of them: asked for by a director's agents, made by the operator."""

from typing import Annotated

from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.life import Limits


class ChildRequest(ApiModel):
    """A session that an agent of a director asked for, and of which the journal has seen nothing yet."""

    id: str
    """Of the request: reports of the child name it."""
    name: str
    """Name of the child; it follows from the call, so that a second try makes no second child."""
    agent: str
    """The agent that asked."""
    goal: str | None = None
    """What the child is to reach; None: what its template says."""
    template: str | None = None
    """AgentSessionTemplate that it starts from; None: it has the agent that asked."""
    limits: Limits = Limits()
    """What it may spend, taken out of what its director has left."""
    child_uid: str | None = Field(default=None, alias="childUID")
    """UID of the session that was made; None as long as the operator did not say that it made one."""


class ChildSessionsLevel(ApiModel):
    """What a session's children come to."""

    started: int
    """How many were asked for, and not refused."""
    steps: int = 0
    """What they used so far, and so on."""
    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    cost_micro_usd: int = Field(default=0, alias="costMicroUSD")
    kept_steps: int = 0
    """What is no longer the director's: what they used, and what those under way may still use; and so on."""
    kept_tokens: int = 0
    kept_tool_calls: int = 0
    kept_cost_micro_usd: int = Field(default=0, alias="keptCostMicroUSD")
    pending: tuple[ChildRequest, ...] = ()
    """Those that the journal has not seen, oldest first; of many the first ones."""


class ChildReport(ApiModel):
    """What the operator has to say of a request: that a session was made, or why there is none."""

    child_uid: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(default=None, alias="childUID")
    """UID of the session."""
    problem: Annotated[str, Field(max_length=2048)] | None = None
    """Why there is none, or no more; the director is told."""
