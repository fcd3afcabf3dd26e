"""What an observer is shown of the sessions that it monitors: a view that reads, and is bounded in size."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from agentsessions.api import wire
from agentsessions.api.kinds import ToolClass
from agentsessions.api.shortened import shorten
from agentsessions.api.v1alpha1.role import matches
from agentsessions.gateway.health import to_health
from agentsessions.gateway.models import to_usage
from agentsessions.gateway.pod_usage import PodUsage
from agentsessions.gateway.proxy.offers import CallContext, Offered, ToolResult
from agentsessions.journal import observations
from agentsessions.journal.entries import EntryRow
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.stats import read_performance
from agentsessions.journal.store import Store, utc_now
from agentsessions.lifecycle.facts import SessionView

MOST_SESSIONS: Final = 40
MOST_ENTRIES: Final = 80
"""Of all sessions together."""
FEWEST_ENTRIES: Final = 2
"""Of each session, whatever the number of sessions."""
MOST_BODY_BYTES: Final = 400
DESCRIPTION: Final = (
    "Look at the sessions that you observe: phase, usage, health, and what was journaled since you last looked, the "
    "newest of it. Names one session to see more of it."
)
ViewOf = Callable[[str], SessionView | None]


def build_observe(store: Store, view_of: ViewOf, patterns: Sequence[str]) -> Offered:
    """Return the tool of an observer whose `spec.monitors` has these patterns."""

    async def observe(context: CallContext, asked: dict[str, Any]) -> ToolResult:
        wanted = asked.get("session")
        names = list(patterns) if wanted is None else [wanted]
        if wanted is not None and not any(matches(pattern, wanted) for pattern in patterns):
            return ToolResult(f"you do not observe {wanted!r}, only {', '.join(patterns)}", is_error=True)
        found = await store.read(observations.find_observed, context.pod.session_uid, names, MOST_SESSIONS + 1)
        shown = found[:MOST_SESSIONS]
        most = max(FEWEST_ENTRIES, min(observations.MOST_ENTRIES, MOST_ENTRIES // max(len(shown), 1)))
        news = await store.write(lambda work: observations.look(work, context.pod, context.call_id, shown, most))
        seen = [await _describe(store, view_of, row, news[row.uid]) for row in shown]
        more = {"more": "name a session, or observe fewer"} if len(found) > MOST_SESSIONS else {}
        return ToolResult(orjson.dumps({"sessions": seen, **more}).decode())

    parameters = {
        "type": "object",
        "properties": {"session": {"type": "string", "pattern": "^[a-z0-9.-]{1,253}$"}},
        "additionalProperties": False,
    }
    offer = wire.ToolOffer(
        name="observe", description=DESCRIPTION, parameters=parameters, side_effect=wire.SideEffect.NONE
    )
    return Offered(offer, ToolClass.READ, observe)


async def _describe(store: Store, view_of: ViewOf, row: SessionRow, news: observations.News) -> dict[str, Any]:
    fares = to_health(row, view_of(row.uid), await store.read(read_performance, row.uid), PodUsage(), utc_now())
    return {
        "name": row.name,
        "role": row.role,
        "phase": row.phase,
        "reason": row.stop_reason or row.reason,
        "message": row.message,
        "health": fares.status,
        "healthReasons": fares.reasons,
        "queue": fares.message_queue,
        "errorRate": fares.error_rate,
        "usage": to_usage(row.usage).to_json(),
        "entriesLeftOut": news.left_out,
        "entries": [_show(entry) for entry in news.entries],
    }


def _show(entry: EntryRow) -> dict[str, Any]:
    body = "(deleted)" if entry.body is None else orjson.dumps(entry.body).decode()
    return {
        "seq": entry.seq,
        "at": entry.at,
        "type": entry.type,
        "agent": entry.agent,
        "body": shorten(body, MOST_BODY_BYTES),
    }
