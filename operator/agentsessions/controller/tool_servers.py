"""ToolServers as the operator sees them: are those that a session names there, with the tools that it names?

The gateway alone can ask a server; what it found stands in the server's status, and that is what is read here.
"""

from dataclasses import dataclass

from agentsessions.api.reasons import ConditionType, Reason
from agentsessions.api.v1alpha1.agent import Agent
from agentsessions.api.v1alpha1.toolserver import ToolServerStatus
from agentsessions.controller.store import Records, key_of
from agentsessions.controller.views import Raw, parse_status


@dataclass(frozen=True, slots=True)
class ToolServerRecord:
    """A ToolServer as last seen."""

    uid: str
    generation: int
    resource_version: str
    status: ToolServerStatus


class ToolServers(Records[ToolServerRecord]):
    """ToolServers by key."""

    def __init__(self) -> None:
        super().__init__(to_tool_server, lambda record: record)


def to_tool_server(raw: Raw) -> ToolServerRecord:
    """Read a ToolServer."""
    meta = raw["metadata"]
    status = parse_status(ToolServerStatus, raw)
    return ToolServerRecord(meta["uid"], meta.get("generation", 0), meta["resourceVersion"], status)


def tool_problem(servers: ToolServers, namespace: str, agent: Agent) -> tuple[Reason, str] | None:
    """Return why an agent cannot have the tools of servers that it names; None when it can."""
    for tool in agent.tools or ():
        if tool.server_ref is None:
            continue
        name, where = tool.server_ref.name, f"agent {agent.name}: tools"
        record = servers.get(key_of(namespace, name))
        if record is None:
            told = f"which is not in namespace {namespace}: create it, or name another"
            return Reason.SERVER_NOT_FOUND, f"{where} name ToolServer {name!r}, {told}"
        if problem := _why_not_ready(record):
            return Reason.SERVER_NOT_READY, f"{where} name ToolServer {name!r}, which is not ready: {problem}"
        there = sorted(found.name for found in record.status.tools or ())
        if missing := [wanted for wanted in tool.allow or () if wanted not in there]:
            told = f"which has {', '.join(there)[:500]}: name others, or allow them there"
            return Reason.TOOL_NOT_FOUND, f"{where} name {', '.join(missing)} of ToolServer {name!r}, {told}"
    return None


def _why_not_ready(record: ToolServerRecord) -> str | None:
    ready = next((one for one in record.status.conditions or () if one.type == ConditionType.READY), None)
    if ready is None or record.status.observed_generation != record.generation:
        return "the gateway has not asked it yet"
    return None if ready.status == "True" else ready.message
