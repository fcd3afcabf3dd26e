"""Says in each ToolServer's status whether it can be used, and what its tools are. Written only when that changes.

The gateway writes it, because it alone may hold the keys and dial the server. Two gateways find the same and write the
same; who comes second is refused by the resourceVersion, or has nothing to write.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import structlog

from agentsessions.api.reasons import ConditionType, Reason
from agentsessions.api.v1alpha1.status import Condition
from agentsessions.api.v1alpha1.toolserver import MAX_SERVER_TOOLS, FoundTool, ToolServerStatus
from agentsessions.engine.client import Client
from agentsessions.engine.errors import ApiError, Conflict, NotFound
from agentsessions.engine.queue import KeyedQueue
from agentsessions.gateway.proxy.mcp_client import ServerFault
from agentsessions.gateway.proxy.tool_directory import TOOL_SERVER, Listed, Server, ToolDirectory
from agentsessions.lifecycle.conditions import build_condition

log = structlog.get_logger(__name__)

READY_SECONDS: Final = 60.0
"""Between two looks at a server that answers."""
FAILED_SECONDS: Final = 10.0
"""Between two looks at one that does not: what waits for it waits no longer."""
WORKERS: Final = 4


class ToolStatus:
    """Looks at each server now and then, and at once when its spec changes."""

    def __init__(self, client: Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._queue = KeyedQueue()
        self.note: Final = self._queue.add
        """Have a server looked at."""

    async def run(self, directory: ToolDirectory) -> None:
        """Look, for ever."""
        await directory.informer.is_synced.wait()

        async def look(key: str) -> None:
            server = directory.informer.get(key)
            if server is not None:
                self._queue.add_after(key, await self._look(directory, server))

        await self._queue.work(look, WORKERS)

    async def _look(self, directory: ToolDirectory, server: Server) -> float:
        """Look at one server; return in how many seconds to look again."""
        try:
            wanted = found_status(server, await directory.tools(server), self._clock())
        except ServerFault as fault:
            wanted = failed_status(server, str(fault), self._clock())
        is_ready = (wanted.conditions or [])[0].status == "True"
        if wanted != server.status:
            await self._write(server, wanted)
        return READY_SECONDS if is_ready else FAILED_SECONDS

    async def _write(self, server: Server, wanted: ToolServerStatus) -> None:
        status: dict[str, object] = dict.fromkeys(("tools", "toolsDigest")) | wanted.to_json()
        body = {"metadata": {"resourceVersion": server.resource_version}, "status": status}
        try:
            await self._client.merge_patch(TOOL_SERVER, server.namespace, server.name, body, subresource="status")
        except (Conflict, NotFound):  # the next look sees what it is now
            self._queue.add_after(server.key, 1.0)
        except ApiError as error:
            log.warning("tool server's status not written", server=server.key, error=str(error))
        else:
            condition = (wanted.conditions or [])[0]
            log.info("tool server checked", server=server.key, reason=condition.reason, message=condition.message)


def found_status(server: Server, listed: Mapping[str, Listed], now: datetime) -> ToolServerStatus:
    """Return the status of a server that answered with its tools."""
    usable = [
        FoundTool(name=tool.name, side_effect=effect, digest=tool.digest)
        for tool in sorted(listed.values(), key=lambda one: one.name)
        if tool.problem is None and (effect := server.side_effect(tool.name)) is not None
    ]
    told = [f"{len(usable)} tools can be used"]
    told += [f"{t.name}: {t.problem}" for t in listed.values() if t.problem and server.side_effect(t.name)]
    allowed = (server.spec.allowed_tools or ()) if server.spec else ()
    if missing := [tool.name for tool in allowed if tool.name not in listed]:
        told.append(f"not there: {', '.join(missing)}")
    if len(usable) > MAX_SERVER_TOOLS:
        return failed_status(
            server, f"it has {len(usable)} tools, {MAX_SERVER_TOOLS} fit: name those to use in spec.allowedTools", now
        )
    if not usable:
        return failed_status(server, "; ".join(told), now, Reason.TOOL_NOT_FOUND)
    digest = hashlib.sha256("".join(f"{tool.name}={tool.digest};" for tool in usable).encode()).hexdigest()
    return ToolServerStatus(
        observed_generation=server.generation,
        conditions=[_ready(server, Reason.ACCEPTED, "; ".join(told), now)],
        tools=usable,
        tools_digest=digest,
    )


def failed_status(
    server: Server, message: str, now: datetime, reason: Reason = Reason.SERVER_NOT_READY
) -> ToolServerStatus:
    """Return the status of a server that cannot be used. What its tools were is kept for a server that is only away."""
    is_away = reason is Reason.SERVER_NOT_READY and server.status.observed_generation == server.generation
    return ToolServerStatus(
        observed_generation=server.generation,
        conditions=[_ready(server, reason, message, now)],
        tools=server.status.tools if is_away else None,
        tools_digest=server.status.tools_digest if is_away else None,
    )


def _ready(server: Server, reason: Reason, message: str, now: datetime) -> Condition:
    return build_condition(
        ConditionType.READY,
        server.status.conditions,
        now,
        is_true=reason is Reason.ACCEPTED,
        reason=reason,
        message=message,
        generation=server.generation,
    )


async def run_both(directory: ToolDirectory, status: ToolStatus) -> None:
    """Watch the servers, and look at them."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(directory.informer.run())
        tasks.create_task(status.run(directory))
