"""ToolServer: an MCP server whose tools sessions may use. The gateway alone calls it, and alone holds its keys."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.names import ToolName
from agentsessions.api.v1alpha1.provider import SecretKeyRef
from agentsessions.api.v1alpha1.status import Condition

MAX_SERVER_TOOLS: Final = 128
DEFAULT_CALL_SECONDS: Final = 60


class ToolSideEffect(StrEnum):
    """How far a server's tool reaches."""

    NONE = "None"
    EXTERNAL = "External"


class ServerHeader(ApiModel):
    """A header of each request, with a key in it."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            pattern=r"^[A-Za-z0-9-]+$",
            json_schema_extra={
                "x-kubernetes-validations": [
                    cel(
                        "!self.lowerAscii().startsWith('mcp-') && !(self.lowerAscii() in ['host', 'accept', "
                        "'accept-encoding', 'connection', 'content-length', 'content-type', 'te', 'trailer', "
                        "'transfer-encoding', 'upgrade', 'last-event-id'])",
                        "this header belongs to the protocol: name another",
                    )
                ]
            },
        ),
    ]
    """Name of the header, such as Authorization."""
    secret_key_ref: SecretKeyRef
    """Where the gateway finds the whole value, such as `Bearer abc`: a Secret of the server's namespace."""


class AllowedTool(ApiModel):
    """A tool that sessions may use."""

    name: ToolName
    """Its name at the server."""
    side_effect: ToolSideEffect = ToolSideEffect.EXTERNAL
    """None: it reads and changes nothing, may be called again after a crash, and read-only sessions may use it.
    External: it acts, or may act, on something outside of the session."""


class ToolServerSpec(ApiModel):
    """Where the server is, how to reach it, and what of it may be used."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", max_length=512)]
    """Its streamable-HTTP endpoint. Loopback, link-local and cluster addresses only when the administrator allows
    them."""
    headers: (
        Annotated[
            list[ServerHeader],
            Field(
                max_length=4,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """Headers with keys in them."""
    allowed_tools: (
        Annotated[
            list[AllowedTool],
            Field(
                min_length=1,
                max_length=MAX_SERVER_TOOLS,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """Tools that sessions may name; all of the server's when absent, each of them with external effects."""
    call_timeout_seconds: Annotated[int, Field(ge=1, le=600)] | None = None
    """How long one call may take; 60 by default."""


class FoundTool(ApiModel):
    """A tool of the server that sessions can name."""

    name: ToolName
    """Its name at the server."""
    side_effect: ToolSideEffect
    """How far it reaches, as the spec says."""
    digest: Annotated[str, Field(max_length=64)]
    """SHA-256 of its description and its schema."""


class ToolServerStatus(ApiModel):
    """What the gateway found."""

    observed_generation: int | None = None
    """Generation of the spec that the conditions speak of."""
    conditions: Annotated[list[Condition], Field(max_length=8)] | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Ready: it answers, and has tools that sessions can use."""
    tools: Annotated[list[FoundTool], Field(max_length=MAX_SERVER_TOOLS)] | None = None
    """The tools found, by name."""
    tools_digest: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 over them: it changes when any of their schemas does."""


class ToolServer(ApiModel):
    """An MCP server, reached over streamable HTTP. Sessions of its namespace name it."""

    spec: ToolServerSpec
    """Where it is, and what of it may be used."""
    status: ToolServerStatus | None = None
    """What the gateway found."""
