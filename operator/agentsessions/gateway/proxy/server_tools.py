"""Tools of MCP servers: offered as they were when the session first saw them, and run as long as they stay so."""

from collections.abc import Sequence
from typing import Any, Final

import structlog

from agentsessions.api import wire
from agentsessions.api.kinds import ToolClass
from agentsessions.api.tool_schemas import offer_name
from agentsessions.api.v1alpha1.agent import Agent, AgentTool
from agentsessions.api.v1alpha1.toolserver import ToolSideEffect
from agentsessions.gateway.problems import unavailable
from agentsessions.gateway.proxy.http_tool import host_in
from agentsessions.gateway.proxy.mcp_client import McpClient, ServerFault
from agentsessions.gateway.proxy.offers import CallContext, Offered, RunCall, ToolResult
from agentsessions.gateway.proxy.tool_directory import Server, ToolDirectory
from agentsessions.journal import tool_pins
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.store import Store

log = structlog.get_logger(__name__)

EFFECTS: Final = {
    ToolSideEffect.NONE: wire.SideEffect.NONE,
    ToolSideEffect.EXTERNAL: wire.SideEffect.EXTERNAL,
}


class ServerTools:
    """Offers and runs the tools of servers."""

    def __init__(self, store: Store, directory: ToolDirectory, mcp: McpClient) -> None:
        self._store = store
        self._directory = directory
        self._mcp = mcp

    async def offers(self, pod: PodIdentity, agent: Agent) -> list[Offered]:
        """Return the tools of servers that an agent may use, the same for the life of the session.

        Raises:
            ProblemError: 503 when a server cannot be asked what its tools are, or lacks one that the agent names.
            Refusal: The pod does not speak for the agent.
        """
        named = [tool for tool in agent.tools or () if tool.server_ref is not None]
        if not named:
            return []
        pins = await self._store.read(tool_pins.read_pins, pod.session_uid, pod.agent)
        found: list[Offered] = []
        for tool in named:
            server = tool.server_ref.name if tool.server_ref else ""
            tools = pins.get(server) or await self._pin(pod, server, tool)
            found += [self._to_offered(pod.namespace, server, one) for one in tools]
        return found

    async def _pin(self, pod: PodIdentity, name: str, tool: AgentTool) -> tool_pins.Tools:
        server = self._directory.find(pod.namespace, name)
        if server is None:
            raise unavailable(f"There is no ToolServer {name!r} in namespace {pod.namespace}. Create it.")
        try:
            tools = await self._described(server, tool.allow or ())
        except ServerFault as fault:
            raise unavailable(f"ToolServer {server.key} cannot be used: {fault}.") from fault
        return await self._store.write(lambda work: tool_pins.pin(work, pod, name, tools))

    async def _described(self, server: Server, names: Sequence[str]) -> tool_pins.Tools:
        listed = await self._directory.tools(server)
        tools: tool_pins.Tools = []
        for name in names:
            tool, effect = listed.get(name), server.side_effect(name)
            if effect is None:
                raise ServerFault(f"its allowedTools do not have {name!r}")
            if tool is None:
                raise ServerFault(f"it has no tool {name!r}")
            if tool.problem is not None:
                raise ServerFault(f"its tool {name!r} cannot be offered: {tool.problem}")
            tools.append({
                "name": name,
                "description": tool.description,
                "parameters": tool.parameters,
                "digest": tool.digest,
                "sideEffect": effect.value,
            })  # fmt: skip
        return tools

    def _to_offered(self, namespace: str, server: str, tool: dict[str, Any]) -> Offered:
        effect = EFFECTS[ToolSideEffect(tool["sideEffect"])]
        offer = wire.ToolOffer(
            name=offer_name(server, tool["name"]),
            description=tool["description"],
            parameters=tool["parameters"],
            side_effect=effect,
        )
        kind = ToolClass.READ if effect is wire.SideEffect.NONE else ToolClass.EXTERNAL
        return Offered(
            offer, kind, self._runner_of(namespace, server, tool), host_of=lambda _: self._host(namespace, server)
        )

    def _host(self, namespace: str, name: str) -> str:
        server = self._directory.find(namespace, name)
        return host_in(server.spec.url) if server is not None and server.spec is not None else ""

    def _runner_of(self, namespace: str, name: str, tool: dict[str, Any]) -> RunCall:
        async def run(context: CallContext, arguments: dict[str, Any]) -> ToolResult:
            del context
            try:
                return await self._run(namespace, name, tool, arguments)
            except ServerFault as fault:
                return ToolResult(f"[server_failed] ToolServer {name}: {fault}", is_error=True)

        return run

    async def _run(self, namespace: str, name: str, tool: dict[str, Any], arguments: dict[str, Any]) -> ToolResult:
        """Run a call, if the server and what may be used of it still are what the session was offered."""
        server = self._directory.find(namespace, name)
        if server is None:
            return _refused("server_missing", f"there is no ToolServer {name} any more")
        effect = server.side_effect(tool["name"])
        if effect is None:
            return _refused("tool_not_allowed", f"ToolServer {name} does not allow tool {tool['name']} any more")
        if effect.value != tool["sideEffect"]:
            return _refused("tool_changed", f"the side effect of {tool['name']} was declared anew since it was offered")
        now = (await self._directory.tools(server)).get(tool["name"])
        if now is None or now.digest != tool["digest"]:
            what = "is gone" if now is None else "has another description or schema"
            return _refused("tool_changed", f"tool {tool['name']} of ToolServer {name} {what} since it was offered")
        endpoint = await self._directory.endpoint(server)
        try:
            return await self._mcp.call(endpoint, tool["name"], arguments, seconds=server.call_seconds)
        except ServerFault as fault:
            remedy = ": find out before you call it again" if effect is ToolSideEffect.EXTERNAL else ""
            told = f"{str(fault).removesuffix('.')}. Whether the call took effect is not known{remedy}"
            return ToolResult(f"[call_failed] ToolServer {name}: {told}", is_error=True)


def _refused(code: str, reason: str) -> ToolResult:
    """Return what the model is told of a call that was not made."""
    return ToolResult(f"[{code}] not called: {reason}; only a new session can use it", is_error=True)
