"""A call of the runner's own tools is let through only if the agent was offered what it does.

What is refused is settled like a tool that failed: the journal has it, and the model reads why. The runner would have
refused most of it by itself; but the runner is in the pod, and what it may do is said here.
"""

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from agentsessions.api import wire
from agentsessions.api.v1alpha1.agent import Builtin
from agentsessions.gateway.proxy.offers import RUN_BY_RUNNER, Offered
from agentsessions.gateway.proxy.turns import agent_of
from agentsessions.journal.asked_calls import read_asked
from agentsessions.journal.rows import PodIdentity
from agentsessions.lifecycle.facts import SessionView

if TYPE_CHECKING:
    from agentsessions.gateway.state import Gateway

OWN_NAMES: Final = frozenset(offered.offer.name for offered in RUN_BY_RUNNER.values())


async def hold_to_offers(gateway: "Gateway", session: SessionView, pod: PodIdentity, asked: wire.ToolBegin) -> None:
    """Settle a call that the session's type or mode does not allow, so that it is not run.

    Raises:
        Refusal: The journal has no such call for this pod.
    """
    if asked.name not in OWN_NAMES:
        return
    offers = await gateway.proxy.tools.offers(session, pod, agent_of(session, pod))
    offered = next((one for one in offers if one.offer.name == asked.name), None)
    if offered is not None and not offered.offer.is_read_only:
        return
    wrote = await gateway.store.read(read_asked, pod.session_uid, pod.agent, asked.call_id)
    if offered is not None and _only_reads(offered, wrote if wrote is not None else asked.arguments):
        return
    output = (
        f"[refused] {asked.name}: a session of type {session.spec.type} in mode {session.spec.mode} does not allow "
        f"this. Tools on offer: {', '.join(_told(one) for one in offers) or 'none'}."
    )
    report = wire.ToolSettle(call_id=asked.call_id, output=output, is_error=True, duration_milliseconds=0)
    await gateway.store.settle_tool(pod, report)


def _only_reads(offered: Offered, arguments: str) -> bool:
    """Tell whether a call stays within the part of a tool that changes nothing; what is no call at all does."""
    parsed: Any = None
    with suppress(ValueError, RecursionError):
        parsed = json.loads(arguments)
    if not isinstance(parsed, dict) or offered.offer.builtin is not Builtin.FILES:
        return True
    return parsed.get("operation") in wire.READING_OPERATIONS


def _told(offered: Offered) -> str:
    return f"{offered.offer.name} (reading only)" if offered.offer.is_read_only else offered.offer.name
