"""The tool by which a director's agents start sessions. What is left of its limits is decided in the journal."""

from functools import partial
from typing import Any, Final

import orjson

from agentsessions.api import wire
from agentsessions.api.kinds import ExternalEffects, Rules, ToolClass
from agentsessions.api.v1alpha1.life import Limits
from agentsessions.api.v1alpha1.role import ChildSessions
from agentsessions.gateway.proxy.offers import CallContext, Offered, ToolResult
from agentsessions.journal import child_sessions
from agentsessions.journal.store import Store

START: Final = "start_session"
DESCRIPTION: Final = (
    "Start a session that works on a goal by itself, and is told only what you write there. What it may spend is taken "
    "out of your own limits. It answers on its own time. End your turn with a text once all are started: you are woken "
    "when all of them are done, or one fails."
)
_LIMITS: Final = ("maxSteps", "maxTokens", "maxToolCalls", "maxCostMicroUSD", "timeoutSeconds")


def build_start(store: Store, allowed: ChildSessions, rules: Rules) -> Offered:
    """Return the tool of a director with `spec.childSessions`."""
    # A session is started once however often the call is repeated. So it counts as external only where such effects
    # are not done at all.
    is_done = rules.external is ExternalEffects.DO
    offer = wire.ToolOffer(
        name=START,
        description=DESCRIPTION,
        parameters=_parameters(allowed),
        side_effect=wire.SideEffect.INTERNAL if is_done else wire.SideEffect.EXTERNAL,
    )
    return Offered(offer, ToolClass.EXTERNAL, partial(_start, store, allowed))


def _parameters(allowed: ChildSessions) -> dict[str, Any]:
    limit = {"type": "integer", "minimum": 1}
    properties: dict[str, Any] = {
        "goal": {
            "type": "string",
            "minLength": 1,
            "maxLength": 32_768,
            "description": "What it is to reach, with all that it needs to know.",
        },
        "name": {
            "type": "string",
            "pattern": "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$",
            "description": "How its name begins.",
        },
        "limits": {
            "type": "object",
            "properties": dict.fromkeys(_LIMITS, limit),
            "additionalProperties": False,
            "description": "What it may spend. Default: an equal share of what is left.",
        },
    }
    if allowed.templates:
        properties["template"] = {
            "type": "string",
            "enum": list(allowed.templates),
            "description": "What it starts from. Default: an agent like you, with your model and tools.",
        }
    return {
        "type": "object",
        "properties": properties,
        "required": [] if allowed.templates else ["goal"],
        "additionalProperties": False,
    }


async def _start(store: Store, allowed: ChildSessions, context: CallContext, asked: dict[str, Any]) -> ToolResult:
    if "goal" not in asked and "template" not in asked:
        return ToolResult("say what the session is to reach: give goal, or a template that has one", is_error=True)
    try:
        limits = Limits.model_validate(asked.get("limits", {}))
    except ValueError:
        return ToolResult("limits has a number that is larger than any session may have: ask for less", is_error=True)
    wish = child_sessions.Wish(context.call_id, limits, asked.get("goal"), asked.get("template"), asked.get("name"))
    started = await store.write(lambda work: child_sessions.start(work, context.pod, wish, allowed))
    if isinstance(started, str):
        return ToolResult(started, is_error=True)
    told = {"session": started.name, "command": started.id, "limits": started.limits.to_json()}
    return ToolResult(orjson.dumps(told).decode())
