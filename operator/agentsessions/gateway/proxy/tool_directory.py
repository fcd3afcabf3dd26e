"""Which tools servers have: the ToolServers of all namespaces, and what they answered last."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import ValidationError

from agentsessions.api.names import GROUP, VERSION
from agentsessions.api.shortened import shorten
from agentsessions.api.tool_schemas import digest_of_tool, why_unusable
from agentsessions.api.v1alpha1.toolserver import DEFAULT_CALL_SECONDS, ToolServerSpec, ToolServerStatus, ToolSideEffect
from agentsessions.engine.client import Client
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import Resource
from agentsessions.gateway.cache import ExpiringCache
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.mcp_client import McpClient, ServerEndpoint, ServerFault
from agentsessions.gateway.proxy.providers import KeyReader

if TYPE_CHECKING:
    import mcp_types

log = structlog.get_logger(__name__)

TOOL_SERVER: Final = Resource(GROUP, VERSION, "toolservers", "ToolServer")
LIST_KEPT_SECONDS: Final = 30.0
"""A tool that changed is found out that late."""
MAX_DESCRIPTION_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Server:
    """A ToolServer as the API server last showed it."""

    namespace: str
    name: str
    generation: int
    resource_version: str
    spec: ToolServerSpec | None
    """None: this version does not understand it."""
    status: ToolServerStatus

    @property
    def key(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}/{self.name}"

    @property
    def call_seconds(self) -> int:
        """How long a call may take."""
        return (self.spec.call_timeout_seconds if self.spec else None) or DEFAULT_CALL_SECONDS

    def side_effect(self, tool: str) -> ToolSideEffect | None:
        """Return how far a tool reaches by the spec; None when it may not be used."""
        if self.spec is None:
            return None
        if self.spec.allowed_tools is None:
            return ToolSideEffect.EXTERNAL
        return next((one.side_effect for one in self.spec.allowed_tools if one.name == tool), None)


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool as its server describes it."""

    name: str
    description: str
    parameters: dict[str, Any]
    digest: str
    problem: str | None
    """Why it cannot be offered."""


class ToolDirectory:
    """All servers, kept current by a watch; their tools, asked for when they are needed."""

    def __init__(self, client: Client, mcp: McpClient, on_change: Callable[[str], None]) -> None:
        """Watch through `client`, ask through `mcp`; `on_change` is told the key of each server that changed."""
        self._mcp = mcp
        self._keys = KeyReader(client, "The ToolServer's header")
        self._on_change = on_change
        self._lists: ExpiringCache[tuple[str, int], dict[str, Listed]] = ExpiringCache(lambda _: LIST_KEPT_SECONDS)
        self.informer: Final[Informer[Server]] = Informer(
            client, TOOL_SERVER, convert=to_server, key_of=lambda server: server.key, on_change=self._changed
        )

    def find(self, namespace: str, name: str) -> Server | None:
        """Return the server that sessions of `namespace` mean by `name`."""
        return self.informer.get(f"{namespace}/{name}")

    async def tools(self, server: Server) -> dict[str, Listed]:
        """Return the server's tools by name, as it described them at most half a minute ago.

        Raises:
            ServerFault: It cannot be asked.
        """
        return await self._lists.get((server.key, server.generation), lambda: self._list(server))

    async def endpoint(self, server: Server) -> ServerEndpoint:
        """Return how to reach a server.

        Raises:
            ServerFault: A key cannot be read.
        """
        if server.spec is None:
            raise ServerFault("its spec is not what this version understands")
        headers = {}
        for header in server.spec.headers or ():
            try:
                headers[header.name] = await self._keys.value(server.namespace, header.secret_key_ref)
            except ModelFault as fault:
                raise ServerFault(fault.message) from fault
        return ServerEndpoint(server.spec.url, headers)

    async def _list(self, server: Server) -> dict[str, Listed]:
        found = await self._mcp.list_tools(await self.endpoint(server))
        return {tool.name: to_listed(tool) for tool in found}

    def _changed(self, old: Server | None, new: Server | None) -> None:
        changed = new or old
        # What only our own status writes changed is no news.
        if changed is not None and (old is None or new is None or old.generation != new.generation):
            self._on_change(changed.key)


def to_server(found: Mapping[str, Any]) -> Server:
    """Return the view of a ToolServer."""
    metadata, spec, status = found["metadata"], None, ToolServerStatus()
    try:
        spec = ToolServerSpec.model_validate(found.get("spec", {}))
        status = ToolServerStatus.model_validate(found.get("status") or {}, extra="ignore")
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        log.warning("tool server not read", namespace=metadata["namespace"], name=metadata["name"], problems=problems)
    return Server(
        metadata["namespace"],
        metadata["name"],
        metadata.get("generation", 0),
        metadata["resourceVersion"],
        spec,
        status,
    )


def to_listed(tool: "mcp_types.Tool") -> Listed:
    """Return a tool as it may be offered, or why it may not."""
    description = shorten(tool.description or "", MAX_DESCRIPTION_BYTES)
    parameters = dict(tool.input_schema)
    problem = why_unusable(parameters)
    digest = "" if problem else digest_of_tool(description, parameters)
    return Listed(tool.name, description, {} if problem else parameters, digest, problem)
