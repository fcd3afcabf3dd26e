"""AgentSession.spec: the contract of a session.

Only fields whose behaviour exists are here. The schema defaults `type`, `mode`, `role` and `operatingMode` alone;
`children.effective` resolves the rest, so that absent stays distinguishable from chosen.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel, JsonObject
from agentsessions.api.names import (
    DEFAULT_PROVIDER,
    MAX_AGENT_NAME,
    MAX_CONTEXT_BYTES,
    RESERVED_ENV_NAMES,
    RESERVED_ENV_PREFIXES,
)
from agentsessions.api.v1alpha1.names import SUBDOMAIN, ConfigKey, ObjectName
from agentsessions.api.v1alpha1.script import cel
from agentsessions.api.v1alpha1.status import SessionStatus

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Quantity = Annotated[
    str,
    Field(
        max_length=32,
        coerce_numbers_to_str=True,  # `cpu: 1` is stored as a number
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "x-kubernetes-validations": [cel("isQuantity(string(self))", "must be a quantity such as 500m or 1Gi")],
        },
    ),
]
Resources = Annotated[
    dict[str, Quantity],
    Field(
        max_length=3,
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.all(k, k in ['cpu', 'memory', 'ephemeral-storage'])",
                    "only cpu, memory and ephemeral-storage can be set",
                )
            ]
        },
    ),
]

MUTABLE_SPEC_FIELDS: Final = frozenset({"operatingMode", "title", "description", "limits", "retry"})
"""JSON names of the spec fields that may change; rules in the CRD hold all others."""


class SessionType(StrEnum):
    """Kind of session: a set of defaults and rules."""

    CUSTOM = "Custom"


class SessionMode(StrEnum):
    """Which classes of tools agents may use."""

    FULL_AUTONOMY = "FullAutonomy"


class SessionRole(StrEnum):
    """Part that the session plays among others."""

    WORKER = "Worker"


class OperatingMode(StrEnum):
    """What people want of the session now."""

    RUNNING = "Running"
    PAUSED = "Paused"
    CANCELLED = "Cancelled"


class Builtin(StrEnum):
    """Tools that come with the runner."""

    SHELL = "Shell"
    FILES = "Files"


class ConfigMapKeyRef(ApiModel):
    """One key of a ConfigMap in the session's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: ConfigKey
    """Key in the ConfigMap."""


class ContextFile(ApiModel):
    """A file that the agent finds in its workspace."""

    path: Annotated[
        str,
        Field(
            min_length=1,
            max_length=255,
            json_schema_extra={
                "x-kubernetes-validations": [
                    cel(
                        "!self.startsWith('/') && !self.split('/').exists(p, p == '' || p == '.' || p == '..')",
                        "path must stay inside the workspace: relative, without '.', '..' or empty parts",
                    )
                ]
            },
        ),
    ]
    """Where in the workspace: a relative path without `..`."""
    config_map_key_ref: ConfigMapKeyRef
    """Where its content comes from; frozen when the session is accepted."""


class SessionContext(ApiModel):
    """What the agent is given besides the goal."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "[has(self.text), has(self.json), has(self.configMapKeyRef)].filter(p, p).size() <= 1",
                    "give at most one of text, json and configMapKeyRef",
                )
            ]
        }
    )

    text: Annotated[str, Field(min_length=1, max_length=MAX_CONTEXT_BYTES)] | None = None
    """Text shown to the model after the goal. At most 262,144 characters; larger data belongs in files."""
    json_value: JsonObject | None = Field(
        default=None, alias="json", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    """Object shown to the model as JSON after the goal. At most 262,144 bytes."""
    config_map_key_ref: ConfigMapKeyRef | None = None
    """Text from a ConfigMap, shown to the model after the goal."""
    files: (
        Annotated[
            list[ContextFile],
            Field(
                min_length=1,
                max_length=64,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["path"]},
            ),
        ]
        | None
    ) = None
    """Files put into the workspace before the first step. Together at most 1 MB."""


class ProviderRef(ApiModel):
    """A ModelProvider: of the session's namespace, else a shared one of the install namespace."""

    name: ObjectName = DEFAULT_PROVIDER
    """Name of the ModelProvider."""


class ModelSettings(ApiModel):
    """Sampling settings passed to the model."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sampling temperature."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Nucleus sampling."""
    seed: int | None = None
    """Seed for providers that know one."""


class AgentModel(ApiModel):
    """The model that an agent uses."""

    provider_ref: ProviderRef | None = None
    """Provider; `default` when absent."""
    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Model's name; the provider's first model when absent."""
    settings: ModelSettings | None = None
    """Sampling settings."""


class AgentTool(ApiModel):
    """A tool that the agent may use."""

    builtin: Builtin
    """Shell runs commands in the workspace; Files lists, reads and writes files there."""


class AgentResources(ApiModel):
    """Requests and limits of the agent's container."""

    requests: Resources | None = None
    """By default cpu 100m and memory 128Mi."""
    limits: Resources | None = None
    """By default memory 1Gi and no cpu limit."""


class EnvVar(ApiModel):
    """An environment variable of the agent's container. Values are visible to whoever can read the session."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            json_schema_extra={
                "x-kubernetes-validations": [
                    cel(
                        "".join(f"!self.startsWith('{prefix}') && " for prefix in RESERVED_ENV_PREFIXES)
                        + f"!self.upperAscii().endsWith('_PROXY') && !(self in {list(RESERVED_ENV_NAMES)})",
                        "this name is reserved: AGENTSESSIONS_*, OPENAI_*, SSL_CERT_*, PYTHON*, LD_*, *_PROXY, PATH "
                        "and HOME cannot be set",
                    )
                ]
            },
        ),
    ]
    """Name of the variable. Names that could redirect the agent's traffic are reserved."""
    value: Annotated[str, Field(max_length=32_768)] = ""
    """Its value."""


class Agent(ApiModel):
    """One agent of the session; it runs in a pod of its own."""

    name: Annotated[DnsLabel, Field(min_length=1, max_length=MAX_AGENT_NAME)]
    """Name, unique in the session."""
    instructions: Annotated[str, Field(max_length=65_536)] | None = None
    """The agent's system prompt."""
    model: AgentModel | None = None
    """Model to use."""
    tools: (
        Annotated[
            list[AgentTool],
            Field(
                max_length=16,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["builtin"]},
            ),
        ]
        | None
    ) = None
    """Tools it may use; Shell and Files when absent, none when empty."""
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Container image other than the runner's: it gets an OpenAI-compatible endpoint in OPENAI_BASE_URL and is
    limited and journaled alike."""
    resources: AgentResources | None = None
    """What the container asks for and may use."""
    env: (
        Annotated[
            list[EnvVar],
            Field(
                max_length=64,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """Environment of the container."""


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
    timeout_seconds: Annotated[int, Field(ge=1, le=2_592_000)] | None = None
    """Seconds in phase Running. Default 120."""


class Retry(ApiModel):
    """What happens when an epoch fails for a passing reason."""

    max_retries: Annotated[int, Field(ge=0, le=100)] | None = None
    """Failed epochs in a row, each without a committed turn, before the session fails. Default 3."""
    initial_backoff_seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    """Seconds before the first retry; doubles each time. Default 4."""
    max_backoff_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    """Longest wait before a retry, in seconds. Default 60."""


class WhenDeleted(StrEnum):
    """What becomes of the workspace's claim when the session is deleted."""

    DELETE = "Delete"
    RETAIN = "Retain"


class Workspace(ApiModel):
    """A volume for the agent's files that outlives its pods. Without it files are lost with the pod."""

    size: Quantity
    """Size of the claim, for example 1Gi."""
    storage_class_name: Annotated[str, Field(max_length=253, pattern=f"^({SUBDOMAIN})?$")] | None = None
    """Storage class; the cluster's default when absent, and none when empty."""
    when_deleted: WhenDeleted | None = None
    """Delete (default) or Retain the claim when the session is deleted."""


class SessionSpec(ApiModel):
    """What a session is to do, with what, and how far it may go."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "oldSelf.operatingMode != 'Cancelled' || self.operatingMode == 'Cancelled'",
                    "a cancelled session stays cancelled: create a new session instead",
                )
            ]
        }
    )

    type: SessionType = SessionType.CUSTOM
    """Kind of session."""
    mode: SessionMode = SessionMode.FULL_AUTONOMY
    """Which classes of tools agents may use."""
    role: SessionRole = SessionRole.WORKER
    """Part that the session plays among others."""
    title: Annotated[str, Field(max_length=256)] | None = None
    """Title for people."""
    description: Annotated[str, Field(max_length=4096)] | None = None
    """Description for people."""
    goal: Annotated[str, Field(min_length=1, max_length=32_768)]
    """What the agents are to reach: the first message of the conversation."""
    context: SessionContext | None = None
    """What they are given besides."""
    agents: (
        Annotated[
            list[Agent],
            Field(
                min_length=1,
                max_length=1,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """Agents of the session; one named `agent` with the default model and tools when absent."""
    operating_mode: OperatingMode = OperatingMode.RUNNING
    """Running, Paused (at the next step's end, state kept) or Cancelled (for good)."""
    limits: Limits | None = None
    """What the session may spend."""
    retry: Retry | None = None
    """What happens when an epoch fails for a passing reason."""
    workspace: Workspace | None = None
    """Volume for the agent's files. Without it they are lost with the pod, and limited to 1Gi."""


class AgentSession(ApiModel):
    """One session of AI agents: its contract in spec, its summary in status, its conversation in the journal."""

    spec: SessionSpec
    """What the session is to do."""
    status: SessionStatus | None = None
    """What became of it."""
