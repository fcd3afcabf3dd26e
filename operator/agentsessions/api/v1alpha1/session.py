"""AgentSession.spec: the contract of a session.

Only fields whose behaviour exists are here. The schema defaults `type`, `mode`, `role` and `operatingMode` alone;
`children.effective` resolves the rest, so that absent stays distinguishable from chosen.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.agent import Agent, Quantity
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.context import DataSources, SessionContext
from agentsessions.api.v1alpha1.life import Conversation, Limits, PausePolicy, Retry, Schedule, Shutdown
from agentsessions.api.v1alpha1.names import SUBDOMAIN, ObjectName
from agentsessions.api.v1alpha1.placement import Placement
from agentsessions.api.v1alpha1.role import (
    ROLE_RULES,
    Capability,
    ChildSessions,
    DirectorRef,
    SessionPattern,
    SessionRole,
)
from agentsessions.api.v1alpha1.source import ReplaySpec, Source
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.api.v1alpha1.team import MAX_AGENTS, TEAM_RULES, Coordination

MUTABLE_SPEC_FIELDS: Final = frozenset({
    "operatingMode", "title", "description", "metadata", "limits", "retry", "pausePolicy", "shutdown", "priority",
    "conversation", "expireAfterSeconds", "ttlSecondsAfterFinished", "monitors", "capabilities", "placement",
    "workspace",
})  # fmt: skip
"""JSON names of the spec fields that may change; rules in the CRD hold all others. Of `conversation` only `open` may,
to false, and of `workspace` its class and, upwards, its size."""

STAYS_CANCELLED: Final = "a cancelled session stays cancelled: create a new session instead"
"""What a rule of the CRD answers who wants to resume a cancelled session."""
FINISHED_BEFORE: Final = "session is finished ("
FINISHED_AFTER: Final = "): operatingMode cannot change; create a new session"
"""What another answers who wants to pause, resume or cancel a finished one, around its phase."""


class SessionType(StrEnum):
    """Kind of session: a set of defaults and rules."""

    CUSTOM = "Custom"
    METRICS = "Metrics"
    SIMULATION = "Simulation"
    AUDIT = "Audit"
    POLICY = "Policy"


class SessionMode(StrEnum):
    """Which classes of tools agents may use."""

    FULL_AUTONOMY = "FullAutonomy"
    ANALYSIS = "Analysis"
    QUERY = "Query"
    SCRIPT = "Script"


class OperatingMode(StrEnum):
    """What people want of the session now."""

    RUNNING = "Running"
    PAUSED = "Paused"
    CANCELLED = "Cancelled"


class TemplateRef(ApiModel):
    """An AgentSessionTemplate of the session's namespace."""

    name: Annotated[ObjectName, Field(max_length=63)]
    """Name of the AgentSessionTemplate."""


class PolicyRef(ApiModel):
    """An AgentPolicy of the session's namespace."""

    name: ObjectName
    """Name of the AgentPolicy."""


class WhenDeleted(StrEnum):
    """What becomes of the workspace's claim when the session is deleted."""

    DELETE = "Delete"
    RETAIN = "Retain"


class Workspace(ApiModel):
    """A volume for the agent's files that outlives its pods. Without it files are lost with the pod."""

    size: Quantity
    """Size of the claim, for example 1Gi. It may grow, where the storage class lets claims grow."""
    storage_class_name: Annotated[str, Field(max_length=253, pattern=f"^({SUBDOMAIN})?$")] | None = None
    """Storage class; the cluster's default when absent, and none when empty. A change copies the files to a volume of
    the new class at the end of the step under way; not for several agents."""
    when_deleted: WhenDeleted | None = None
    """Delete (default) or Retain the claim when the session is deleted."""


_BOTH: Final = "has(self.workspace) && has(oldSelf.workspace)"
_SIZES: Final = "[self.workspace.size, oldSelf.workspace.size]"
WORKSPACE_RULES: Final = (
    cel(
        "has(self.workspace) == has(oldSelf.workspace)",
        "spec.workspace cannot be added or removed after creation: create a new session",
        field="workspace",
    ),
    cel(
        f"!({_BOTH}) || !{_SIZES}.all(each, isQuantity(string(each))) || "
        "!quantity(string(self.workspace.size)).isLessThan(quantity(string(oldSelf.workspace.size)))",
        "spec.workspace.size can only grow: create a new session for a smaller one",
        field="workspace",
    ),
    cel(
        f"!({_BOTH}) || (has(self.workspace.whenDeleted) == has(oldSelf.workspace.whenDeleted) && "
        "(!has(self.workspace.whenDeleted) || self.workspace.whenDeleted == oldSelf.workspace.whenDeleted))",
        "spec.workspace.whenDeleted cannot change after creation: create a new session",
        field="workspace",
    ),
    cel(
        f"!has(self.agents) || self.agents.size() < 2 || !({_BOTH}) || "
        "(has(self.workspace.storageClassName) == has(oldSelf.workspace.storageClassName) && "
        "(!has(self.workspace.storageClassName) || "
        "self.workspace.storageClassName == oldSelf.workspace.storageClassName))",
        "spec.workspace.storageClassName cannot change in a session of several agents: create a new session",
        field="workspace",
    ),
)
"""What of a workspace may change."""


class SessionSpec(ApiModel):
    """What a session is to do, with what, and how far it may go."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "oldSelf.operatingMode != 'Cancelled' || self.operatingMode == 'Cancelled'",
                    STAYS_CANCELLED,
                ),
                cel(
                    "has(self.goal) || has(self.replay) || has(self.templateRef) || "
                    "(has(self.conversation) && has(self.conversation.open))",
                    "give spec.goal, or set spec.conversation.open to true, or name a template in spec.templateRef",
                ),
                cel(
                    "has(self.conversation) == has(oldSelf.conversation)",
                    "spec.conversation cannot be added or removed after creation: create a new session",
                    field="conversation",
                ),
                *WORKSPACE_RULES,
                cel(
                    "self.type != 'Policy' || has(self.policyRef) || has(self.templateRef)",
                    "type Policy needs spec.policyRef: the policy whose violations it is to list",
                    field="policyRef",
                ),
                cel(
                    "has(self.schedule) == (self.type == 'Metrics')",
                    "spec.schedule belongs to type Metrics, and type Metrics needs it",
                ),
                cel(
                    "self.type != 'Metrics' || ((has(self.goal) || has(self.templateRef)) && !has(self.conversation))",
                    "type Metrics needs spec.goal and takes no spec.conversation",
                ),
                cel(
                    "!has(self.source) || !has(self.source.workspace) || self.source.workspace == 'Empty' || "
                    "has(self.workspace) || has(self.templateRef)",
                    "spec.source.workspace Copy needs spec.workspace: a volume to copy to",
                    field="workspace",
                ),
                *ROLE_RULES,
                cel(
                    "self.type != 'Metrics' || !has(self.replay) && (!has(self.source) || "
                    "has(self.source.history) && self.source.history == 'Reset')",
                    "type Metrics takes no spec.replay, and of spec.source only history Reset: rounds begin anew",
                ),
                cel(
                    "!has(self.replay) || (!has(self.source) && !has(self.conversation))",
                    "spec.replay says what happens: leave out spec.source and spec.conversation",
                ),
                cel(
                    "self.type != 'Audit' || !has(self.conversation)",
                    "type Audit takes no spec.conversation: its journal is sealed after the last answer",
                ),
                cel(
                    "self.mode != 'Query' || has(self.dataSources) || has(self.templateRef)",
                    "mode Query needs spec.dataSources: they are all that its agents can read",
                ),
                *TEAM_RULES,
            ]
        }
    )

    type: SessionType = SessionType.CUSTOM
    """Kind of session."""
    mode: SessionMode = SessionMode.FULL_AUTONOMY
    """Which classes of tools agents may use."""
    role: SessionRole = SessionRole.WORKER
    """Part that the session plays among others: a Director sends commands to departments, a Department carries them
    out, an Observer sees what `monitors` names and changes nothing, a Worker works for itself."""
    director_ref: DirectorRef | None = None
    """The one director that this department or worker takes commands from, and ends with; of the same owner. Without
    it a department serves every director of its namespace and owner, and a worker none."""
    child_sessions: ChildSessions | None = None
    """For directors: lets its agents start sessions of their own, which end with this one. Off when absent."""
    capabilities: Annotated[list[Capability], Field(min_length=1, max_length=32)] | None = None
    """What it is good for, in words of your own: directors find departments by them."""
    monitors: Annotated[list[SessionPattern], Field(min_length=1, max_length=32)] | None = None
    """For observers: names of the sessions that they see, all of the same namespace. `*` stands for any characters, as
    in `department-*`. Who writes them must be able to read those sessions and their events."""
    title: Annotated[str, Field(max_length=256)] | None = None
    """Title for people."""
    description: Annotated[str, Field(max_length=4096)] | None = None
    """Description for people."""
    session_id: (
        Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")] | None
    ) = None
    """An id of your own, unique for each owner in the namespace."""
    owner: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """User name of the owner, who must be its creator. Without it RBAC alone says who may change the session."""
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=32)] | None = None
    """Words of your own about the session; nothing acts on them."""
    goal: Annotated[str, Field(min_length=1, max_length=32_768)] | None = None
    """What the agents are to reach: the first message of the conversation."""
    context: SessionContext | None = None
    """What they are given besides."""
    data_sources: DataSources | None = None
    """Tables that they may query with the tool Sql. Together with the files of the context at most 1 MB."""
    template_ref: TemplateRef | None = None
    """A template to start from: it says what this spec leaves open. Its revision is pinned when the session is
    accepted."""
    agents: (
        Annotated[
            list[Agent],
            Field(
                min_length=1,
                max_length=MAX_AGENTS,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """Agents of the session, at most 8: each may hold a pod, and quotas count sessions. One named `agent` with the
    default model and tools when absent."""
    coordination: Coordination | None = None
    """How several agents work together."""
    operating_mode: OperatingMode = OperatingMode.RUNNING
    """Running, Paused (at the next step's end, state kept) or Cancelled (for good)."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    """Place in the namespace's queue when there is no room: higher goes first. Default 0."""
    pause_policy: PausePolicy | None = None
    """How it is paused."""
    shutdown: Shutdown | None = None
    """How it is ended by a cancel."""
    source: Source | None = None
    """For a clone or fork: the session whose conversation this one begins with."""
    replay: ReplaySpec | None = None
    """For a session that does another one once more and tells what differs."""
    conversation: Conversation | None = None
    """For a session that people talk with."""
    schedule: Schedule | None = None
    """For type Metrics: when the goal is run."""
    limits: Limits | None = None
    """What the session may spend."""
    retry: Retry | None = None
    """What happens when an epoch fails for a passing reason."""
    policy_ref: PolicyRef | None = None
    """An AgentPolicy that binds the session besides those that select it. It can only add. While it does not exist,
    every call of a tool is denied."""
    workspace: Workspace | None = None
    """Volume for the agent's files. Without it they are lost with the pod, and limited to 1Gi."""
    placement: Placement | None = None
    """Where pods run. A change moves the session at the end of the step under way."""
    expire_after_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """Seconds without anything happening after which the session ends as Expired, unless a person paused it. No
    default."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds after the end until this resource is deleted; the journal stays. No default: it is kept."""


class AgentSession(ApiModel):
    """One session of AI agents: its contract in spec, its summary in status, its conversation in the journal."""

    spec: SessionSpec
    """What the session is to do."""
    status: SessionStatus | None = None
    """What became of it."""
