"""The tools of servers that an agent is offered: as they were when first offered, for the session's life."""

from typing import Any

from sqlalchemy import Connection, insert, select

from agentsessions.journal import fences
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.tables import tool_pins
from agentsessions.journal.writer import Work

Tools = list[dict[str, Any]]
"""JSON of the tools, as the gateway wrote it."""


def read_pins(conn: Connection, session_uid: str, agent: str) -> dict[str, Tools]:
    """Return the tools that an agent was first offered, by the server's name."""
    query = select(tool_pins.c.server, tool_pins.c.tools).where(
        tool_pins.c.session_uid == session_uid, tool_pins.c.agent == agent
    )
    return {str(row.server): row.tools for row in conn.execute(query)}


def pin(work: Work, pod: PodIdentity, server: str, tools: Tools) -> Tools:
    """Keep a server's tools for an agent, unless some are kept already; return those that are.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
    """
    fences.require_current(work, pod)
    known = read_pins(work.conn, pod.session_uid, pod.agent).get(server)
    if known is not None:
        return known
    row = {"session_uid": pod.session_uid, "agent": pod.agent, "server": server, "tools": tools}
    work.conn.execute(insert(tool_pins).values(row))
    return tools
