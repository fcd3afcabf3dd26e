"""How several agents of one session work together."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field
from pydantic.config import JsonDict

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.cel import cel

MAX_AGENTS: Final = 8
"""Agents of one session: each may hold a pod, and a SessionQuota counts sessions, not pods."""


class Strategy(StrEnum):
    """Who works when, and what each agent is told."""

    SINGLE = "Single"
    SEQUENTIAL = "Sequential"
    PARALLEL = "Parallel"
    HANDOFF = "Handoff"
    DIRECTOR = "Director"


class OnFailure(StrEnum):
    """What becomes of the session when one of its agents cannot go on."""

    FAIL = "Fail"
    CONTINUE = "Continue"


class Coordination(ApiModel):
    """How the agents of the session work together."""

    strategy: Strategy
    """Single: one agent. Sequential: one after the other, each is told what the former answered. Parallel: all at once,
    as far as dependsOn lets them; the result joins their answers. Handoff: the first one begins, and passes the
    conversation on with the tool transfer_to_<agent>. Director: the first one gives tasks to the others with the tool
    delegate."""
    max_handoffs: Annotated[int, Field(ge=1, le=1000)] | None = None
    """With Handoff and Director: how often work may be passed on. Default 8; a call beyond it is answered with an
    error, and the agent goes on by itself."""
    on_failure: OnFailure | None = None
    """When the retries of one agent are used up: Fail (default) the session, or Continue without it. The others are
    then told what failed in the place of its answer. With Sequential, Parallel and Director; a director's own failure
    is always the session's."""


_SEVERAL: Final = "has(self.agents) && self.agents.size() > 1"
_STRATEGY: Final = "has(self.coordination) && self.coordination.strategy"
TEAM_RULES: Final[tuple[JsonDict, ...]] = (
    cel(
        f"!({_SEVERAL}) || ({_STRATEGY} != 'Single')",
        "several agents need spec.coordination.strategy: Sequential, Parallel, Handoff or Director",
        field="agents",
    ),
    cel(
        f"!has(self.coordination) || self.coordination.strategy == 'Single' || ({_SEVERAL}) || has(self.templateRef)",
        "spec.coordination.strategy is for several agents: name at least two in spec.agents, or leave it out",
        field="coordination",
    ),
    cel(
        "!has(self.coordination) || !has(self.coordination.maxHandoffs) || "
        "self.coordination.strategy in ['Handoff', 'Director']",
        "spec.coordination.maxHandoffs belongs to the strategies Handoff and Director",
        field="coordination",
    ),
    cel(
        "!has(self.coordination) || !has(self.coordination.onFailure) || "
        "self.coordination.strategy in ['Sequential', 'Parallel', 'Director']",
        "spec.coordination.onFailure belongs to the strategies Sequential, Parallel and Director",
        field="coordination",
    ),
    cel(
        "!has(self.agents) || self.agents.all(a, !has(a.dependsOn) || "
        "a.dependsOn.all(d, d != a.name && self.agents.exists(b, b.name == d)))",
        "spec.agents[].dependsOn names other agents of the session",
        field="agents",
    ),
    cel(
        f"!has(self.agents) || !self.agents.exists(a, has(a.dependsOn)) || ({_STRATEGY} in ['Sequential', 'Parallel'])",
        "spec.agents[].dependsOn belongs to the strategies Sequential and Parallel",
        field="agents",
    ),
    cel(
        f"!({_SEVERAL}) || !self.agents.exists(a, has(a.image))",
        "an agent with an image of its own works alone: only the runner of the installation takes part in several",
        field="agents",
    ),
    cel(
        f"!({_SEVERAL}) || self.type != 'Metrics'",
        "type Metrics runs its goal in rounds, with one agent: leave one in spec.agents",
        field="agents",
    ),
    cel(
        f"!({_SEVERAL}) || !has(self.conversation) || ({_STRATEGY} in ['Handoff', 'Director'])",
        "spec.conversation with several agents needs the strategy Handoff or Director",
        field="conversation",
    ),
)
"""Rules of the spec about its agents."""
