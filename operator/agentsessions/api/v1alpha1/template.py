"""AgentSessionTemplate: a spec to start from, what of it sessions may override, and an environment for their agents."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.agent import Agent, EnvVars
from agentsessions.api.v1alpha1.context import DataSources, SessionContext
from agentsessions.api.v1alpha1.life import Limits, PausePolicy, Retry, Shutdown
from agentsessions.api.v1alpha1.placement import Placement
from agentsessions.api.v1alpha1.session import PolicyRef, Workspace


class Overridable(StrEnum):
    """A field of `spec.session` that a session may set as well."""

    GOAL = "goal"
    CONTEXT = "context"
    DATA_SOURCES = "dataSources"
    AGENTS = "agents"
    LIMITS = "limits"
    RETRY = "retry"
    PAUSE_POLICY = "pausePolicy"
    SHUTDOWN = "shutdown"
    POLICY_REF = "policyRef"
    WORKSPACE = "workspace"
    PLACEMENT = "placement"
    EXPIRE_AFTER_SECONDS = "expireAfterSeconds"
    TTL_SECONDS_AFTER_FINISHED = "ttlSecondsAfterFinished"


FREE_FIELDS: Final = frozenset({"title", "description", "metadata"})
"""Words for people: every session may have its own."""


class TemplateSession(ApiModel):
    """What sessions start from.

    Type, mode, role and operatingMode are each session's own, as are its ids, its owner, its conversation, its schedule
    and its place in the queue.
    """

    title: Annotated[str, Field(max_length=256)] | None = None
    """Title for people, where the session has none of its own."""
    description: Annotated[str, Field(max_length=4096)] | None = None
    """Description for people, where the session has none of its own."""
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=32)] | None = None
    """Words about the session; those of the session are added, and win."""
    goal: Annotated[str, Field(min_length=1, max_length=32_768)] | None = None
    """What the agents are to reach."""
    context: SessionContext | None = None
    """What they are given besides. A session's own replaces all of it."""
    data_sources: DataSources | None = None
    """Tables that they may query. A session's own replace all of them."""
    agents: (
        Annotated[
            list[Agent],
            Field(
                min_length=1,
                max_length=16,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """Agents of the session. A session's own agent of the same name wins field by field; others are added."""
    pause_policy: PausePolicy | None = None
    """How it is paused."""
    shutdown: Shutdown | None = None
    """How it is ended by a cancel."""
    limits: Limits | None = None
    """What the session may spend. Those of the session win, limit by limit."""
    retry: Retry | None = None
    """What happens when an epoch fails for a passing reason."""
    policy_ref: PolicyRef | None = None
    """An AgentPolicy that binds the session besides those that select it. Type Policy needs one, here or there."""
    workspace: Workspace | None = None
    """Volume for the agent's files."""
    placement: Placement | None = None
    """Where pods run. What the session says itself is added, and wins."""
    expire_after_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """Seconds without anything happening after which the session ends as Expired."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds after the end until the session is deleted."""


class AgentSessionTemplateSpec(ApiModel):
    """What sessions that name the template start from."""

    session: TemplateSession
    """Fields of the sessions' spec."""
    overridable: (
        Annotated[list[Overridable], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})] | None
    ) = None
    """Fields that a session may set although the template sets them. A session that sets another of them is not
    accepted."""
    env: EnvVars | None = None
    """Environment of every agent; a variable of an agent's own wins."""


class AgentSessionTemplate(ApiModel):
    """A spec to start sessions from. Sessions keep to the revision that they were accepted with."""

    spec: AgentSessionTemplateSpec
    """What sessions start from."""
