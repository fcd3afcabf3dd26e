"""What sessions that work together are offered by their role. The gateway runs it: the pod has no way to others.

Each tool decides anew, from the journal, for whom it may speak and to whom. What a model writes is a wish.
"""

from collections.abc import Callable
from typing import Any, Final

import orjson

from agentsessions.api import wire
from agentsessions.api.kinds import ExternalEffects, Rules, ToolClass
from agentsessions.api.v1alpha1.role import SessionRole
from agentsessions.gateway.health import Health, to_health
from agentsessions.gateway.message_acts import MAX_MESSAGE_BYTES
from agentsessions.gateway.pod_usage import PodUsage
from agentsessions.gateway.proxy.child_tools import build_start
from agentsessions.gateway.proxy.observing import build_observe
from agentsessions.gateway.proxy.offers import CallContext, Offered, ToolResult
from agentsessions.journal import mailbox
from agentsessions.journal.departments import find_departments
from agentsessions.journal.refusals import InboxFull, KeyReused, SessionFinished
from agentsessions.journal.rows import MailPriority, SessionRow
from agentsessions.journal.stats import Performance, read_performance
from agentsessions.journal.store import Store, utc_now
from agentsessions.lifecycle.facts import SessionView

PRIORITIES: Final = {priority.name.lower(): priority for priority in MailPriority}
REFUSALS: Final = (mailbox.NotAllowed, mailbox.NobodyThere, InboxFull, KeyReused, SessionFinished)
"""What a model is told, and can do something about."""
WANTED: Final[dict[str, Any]] = {
    "capability": {"type": "string", "description": "Only those with this capability."},
    "labels": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "Only those whose resource has these labels.",
    },
}
SEND: Final = (
    "Send a command to a department: to the one named, else to the next healthy one that has the capability and the "
    "labels. It answers on its own time. End your turn with a text once all commands are sent: you are woken when all "
    "of them are answered, or one fails."
)
FIND: Final = "List the departments that take your commands now, with what they can do and how they fare."
REPORT: Final = (
    "Tell the director how its command goes on. Only for work that takes long: the text you end with is the answer."
)
Row = tuple[SessionRow, Health, Performance]


class RoleTools:
    """Makes the tools of a session's role."""

    def __init__(self, store: Store, view_of: Callable[[str], SessionView | None]) -> None:
        self._store = store
        self._view_of = view_of

    def offers(self, session: SessionView, rules: Rules) -> tuple[Offered, ...]:
        """Return what the agents of a session are offered."""
        spec = session.spec
        match spec.role:
            case SessionRole.DIRECTOR:
                start = spec.child_sessions and build_start(self._store, spec.child_sessions, rules)
                return (*self._for_director(rules), *((start,) if start else ()))
            case SessionRole.OBSERVER:
                return (build_observe(self._store, self._view_of, spec.monitors or []),)
            case SessionRole.DEPARTMENT | SessionRole.WORKER:
                takes_commands = spec.role is SessionRole.DEPARTMENT or spec.director_ref is not None
                return (self._for_department(),) if takes_commands else ()

    def _for_director(self, rules: Rules) -> tuple[Offered, ...]:
        # A command is stored once however often the call is repeated. So it counts as external only where such
        # effects are not done at all.
        is_done = rules.external is ExternalEffects.DO
        effect = wire.SideEffect.INTERNAL if is_done else wire.SideEffect.EXTERNAL
        task = {"type": "string", "minLength": 1, "description": "All that the department needs to know."}
        to = {"type": "string", "description": "Name of a department."}
        priority = {"enum": list(PRIORITIES), "description": "Where several directors wait. Default: normal."}
        send = wire.ToolOffer(
            name="send_command",
            description=SEND,
            parameters=_object({"task": task, "to": to, **WANTED, "priority": priority}, "task"),
            side_effect=effect,
        )
        find = wire.ToolOffer(
            name="find_departments", description=FIND, parameters=_object(WANTED), side_effect=wire.SideEffect.NONE
        )
        return (
            Offered(send, ToolClass.EXTERNAL, self._send),
            Offered(find, ToolClass.READ, self._find),
        )

    def _for_department(self) -> Offered:
        text = {"type": "string", "minLength": 1}
        offer = wire.ToolOffer(
            name="report_progress",
            description=REPORT,
            parameters=_object({"text": text}, "text"),
            side_effect=wire.SideEffect.INTERNAL,
        )
        return Offered(offer, ToolClass.READ, self._report)

    async def _send(self, context: CallContext, asked: dict[str, Any]) -> ToolResult:
        if (size := len(asked["task"].encode(errors="replace"))) > MAX_MESSAGE_BYTES:
            return _refused(f"the task has {size} bytes, {MAX_MESSAGE_BYTES} are allowed: shorten it")
        found = await self._departments(context.pod.session_uid, asked)
        fitting = [row for row, health, _ in found if "to" in asked or health is not Health.UNHEALTHY]
        if not fitting:
            return _refused(
                f"no {'healthy ' if found else ''}department that fits takes your commands now; find_departments "
                "lists those that do"
            )
        order = mailbox.Order(
            context.call_id,
            [row.uid for row in fitting],
            asked["task"],
            PRIORITIES[asked.get("priority", "normal")],
        )
        try:
            sent = await self._store.write(lambda work: mailbox.send_command(work, context.pod, order))
        except REFUSALS as refusal:
            return _refused(str(refusal))
        return _told({"command": sent.id, "to": sent.to})

    async def _find(self, context: CallContext, asked: dict[str, Any]) -> ToolResult:
        found = await self._departments(context.pod.session_uid, asked)
        return _told([_describe(*one) for one in found])

    async def _departments(self, director_uid: str, asked: dict[str, Any]) -> list[Row]:
        """Return those that take commands and fit, each with how it fares."""
        rows = await self._store.read(find_departments, director_uid)
        found: list[Row] = []
        for row in filter(lambda row: _fits(row, asked), rows):
            done = await self._store.read(read_performance, row.uid)
            fares = to_health(row, self._view_of(row.uid), done, PodUsage(), utc_now())
            found.append((row, fares.status, done))
        return found

    async def _report(self, context: CallContext, asked: dict[str, Any]) -> ToolResult:
        try:
            told = await self._store.write(
                lambda work: mailbox.send_report(work, context.pod, context.call_id, asked["text"])
            )
        except REFUSALS as refusal:
            return _refused(str(refusal))
        return _told({"reportedTo": told})


def _fits(row: SessionRow, asked: dict[str, Any]) -> bool:
    if row.name != asked.get("to", row.name):
        return False
    if "capability" in asked and asked["capability"] not in (row.spec.get("capabilities") or ()):
        return False
    return all(row.labels.get(key) == value for key, value in asked.get("labels", {}).items())


def _describe(row: SessionRow, health: Health, done: Performance) -> dict[str, Any]:
    return {
        "name": row.name,
        "role": row.role,
        "title": row.title,
        "capabilities": row.spec.get("capabilities") or [],
        "labels": row.labels,
        "phase": row.phase,
        "health": health,
        "waiting": done.queued,
    }


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _told(what: Any) -> ToolResult:
    return ToolResult(orjson.dumps(what).decode())


def _refused(why: str) -> ToolResult:
    return ToolResult(why, is_error=True)
