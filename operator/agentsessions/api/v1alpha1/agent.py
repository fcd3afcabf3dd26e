"""One agent of a session: its model, its tools, its container."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel
from agentsessions.api.names import DEFAULT_PROVIDER, MAX_AGENT_NAME, RESERVED_ENV_NAMES, RESERVED_ENV_PREFIXES
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.names import ObjectName, ToolName

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


class Builtin(StrEnum):
    """Tools that need no server: Shell and Files are the runner's own, Http is the gateway's."""

    SHELL = "Shell"
    FILES = "Files"
    SQL = "Sql"
    HTTP = "Http"


class HttpMethod(StrEnum):
    """What the tool Http may do."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


HostPattern = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$")
]
"""A host, `*.` before it for all below it, with its port where that is not the scheme's own."""


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


class ServerRef(ApiModel):
    """A ToolServer of the session's namespace."""

    name: ObjectName
    """Name of the ToolServer."""


class AgentTool(ApiModel):
    """A tool that the agent may use, or tools of one server."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel("has(self.builtin) != has(self.serverRef)", "name either builtin or serverRef"),
                cel("has(self.serverRef) == has(self.allow)", "serverRef needs allow, and builtin takes none"),
                cel(
                    "(has(self.builtin) && self.builtin == 'Http') == has(self.allowHosts)",
                    "builtin Http needs allowHosts, and no other tool takes them",
                ),
                cel(
                    "!has(self.allowMethods) || (has(self.builtin) && self.builtin == 'Http')",
                    "allowMethods is for builtin Http alone",
                ),
            ]
        }
    )

    builtin: Builtin | None = None
    """Shell runs commands in the workspace; Files lists, reads and writes files there; Sql queries the session's data
    sources; Http asks web servers through the gateway."""
    server_ref: ServerRef | None = None
    """A ToolServer whose tools in `allow` the agent may use."""
    allow: (
        Annotated[
            list[ToolName], Field(min_length=1, max_length=64, json_schema_extra={"x-kubernetes-list-type": "set"})
        ]
        | None
    ) = None
    """Names of the server's tools. No other can be called."""
    allow_hosts: (
        Annotated[
            list[HostPattern], Field(min_length=1, max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})
        ]
        | None
    ) = None
    """Hosts that Http may ask: `api.example.com`, `*.example.com`, `api.example.com:8443`. The administrator may
    allow fewer."""
    allow_methods: (
        Annotated[
            list[HttpMethod], Field(min_length=1, max_length=6, json_schema_extra={"x-kubernetes-list-type": "set"})
        ]
        | None
    ) = None
    """What Http may do; GET and HEAD when absent. All others act outside of the session."""


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


EnvVars = Annotated[
    list[EnvVar],
    Field(
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ),
]


class Agent(ApiModel):
    """One agent of the session.

    It runs in a pod of its own; with the strategy Handoff agents without image, resources and env of their own share
    one.
    """

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
                json_schema_extra={
                    "x-kubernetes-list-type": "atomic",
                    "x-kubernetes-validations": [
                        cel(
                            "self.all(x, !has(x.builtin) || "
                            "self.exists_one(y, has(y.builtin) && y.builtin == x.builtin))",
                            "each builtin may stand once in tools",
                        ),
                        cel(
                            "self.all(x, !has(x.serverRef) || "
                            "self.exists_one(y, has(y.serverRef) && y.serverRef.name == x.serverRef.name))",
                            "each serverRef may stand once in tools: name all of its tools in one allow",
                        ),
                    ],
                },
            ),
        ]
        | None
    ) = None
    """Tools it may use, none when empty. When absent: Shell, Files, and with data sources Sql, as far as the session's
    type and mode allow them."""
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Container image other than the runner's: it gets an OpenAI-compatible endpoint in OPENAI_BASE_URL and is
    limited and journaled alike."""
    resources: AgentResources | None = None
    """What the container asks for and may use."""
    env: EnvVars | None = None
    """Environment of the container."""
    depends_on: (
        Annotated[
            list[Annotated[DnsLabel, Field(min_length=1, max_length=MAX_AGENT_NAME)]],
            Field(min_length=1, max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Agents that must have answered before this one begins; it is told their answers. With Sequential and Parallel."""
