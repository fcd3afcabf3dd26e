"""How deep calls nest. Jobs of the writer.

An agent that works on the goal is at 1, and what it calls, a tool or another agent, at one more. A call that would be
deeper than `limits.recursionLimit` is not run; its result says so to the model.
"""

from typing import Final

from sqlalchemy import Connection

from agentsessions.api.wire import ToolBegin, ToolSettle, ToolVerdict, Verdict
from agentsessions.journal import handoffs, situations, tools
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.policies import FREE, Ruling

DEEPEST: Final = 2
"""How deep agents work at most: who works on a task gives none."""


def begin(work: Work, pod: PodIdentity, asked: ToolBegin, ruling: Ruling = FREE) -> ToolVerdict:
    """Say whether to run a call, as `tools.begin` does, unless it is too deep.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        UnknownCall: The answer of the open turn has no such call.
    """
    found = situations.find(work, pod)
    verdict = tools.begin(work, pod, found, asked, ruling)
    if verdict.verdict is not Verdict.RUN:
        return verdict
    most = found.limits.recursion_limit
    if most is None or most > DEEPEST or (depth := find_depth(work.conn, pod) + 1) <= most:
        return verdict
    output = f"{asked.name}: this call would be at depth {depth}, and recursionLimit is {most}: go on without it"
    tools.settle(work, pod, ToolSettle(call_id=asked.call_id, output=output, is_error=True, duration_milliseconds=0))
    return ToolVerdict(verdict=Verdict.RECORDED, output=output)


def find_depth(conn: Connection, pod: PodIdentity) -> int:
    """Return how deep the pod's agent works."""
    return DEEPEST if handoffs.has_open_task(conn, pod) else 1
