"""Sessions as lists and headers show them: who needs somebody, and what to do next. Pure."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from agentsessions.api.reasons import ConditionType, Phase, StopReason
from agentsessions.cli.terminal import age, cut, money, phase_text
from agentsessions.client.values import FINAL_PHASES

Json = dict[str, Any]
HEADERS: Final = ("NAME", "PHASE", "REASON", "STEPS", "TOKENS", "AGE")
WIDE_HEADERS: Final = (*HEADERS, "TYPE", "COST", "RETRIES", "POD", "OWNER", "GOAL")
GOAL_CHARS: Final = 60

URGENCY: Final[tuple[Callable[[Json], bool], ...]] = (
    lambda session: is_stalled(session) and not is_final(session),
    lambda session: phase_of(session) == Phase.WAITING,
    lambda session: phase_of(session) == Phase.PAUSED and not is_paused_by_person(session),
    lambda session: phase_of(session) == Phase.FAILED,
    lambda session: phase_of(session) == Phase.PAUSED,
    lambda session: not is_final(session),
)
"""The first that holds says how early a session stands in a list; the rest comes last."""

NEXT_STEPS: Final[dict[str, str]] = {
    Phase.QUEUED: "it waits for a place: see `kubectl get sessionquotas -n {namespace}`",
    Phase.WAITING: "decide about its call: `kubectl agentsession approvals -n {namespace}` shows how",
    Phase.IDLE: "it waits for a message: `kubectl agentsession send {name} TEXT -n {namespace}`",
    Phase.PAUSED: "let it go on: `kubectl agentsession resume {name} -n {namespace}`",
    Phase.RUNNING: "follow it: `kubectl agentsession logs -f {name} -n {namespace}`",
    Phase.STARTING: "follow it: `kubectl agentsession logs -f {name} -n {namespace}`",
    Phase.FAILED: "see what it did: `kubectl agentsession logs {name} -n {namespace}`",
    Phase.COMPLETED: "see what it did: `kubectl agentsession steps {name} -n {namespace}`",
}
LIMIT_FLAGS: Final[dict[str, str]] = {
    StopReason.STEP_LIMIT: "--max-steps",
    StopReason.TOKEN_LIMIT: "--max-tokens",
    StopReason.COST_LIMIT: "--max-cost",
    StopReason.TOOL_CALL_LIMIT: "--max-tool-calls",
    StopReason.TIMEOUT: "--max-seconds",
}


def status_of(session: Json) -> Json:
    """Return the status; empty before the operator wrote one."""
    status: Json = session.get("status") or {}
    return status


def phase_of(session: Json) -> str:
    """Return the phase."""
    return str(status_of(session).get("phase") or Phase.PENDING)


def condition(session: Json, kind: ConditionType) -> Json:
    """Return a condition; empty when there is none."""
    found: Json = next((one for one in status_of(session).get("conditions") or () if one["type"] == kind), {})
    return found


def is_final(session: Json) -> bool:
    """Whether the session is over."""
    return phase_of(session) in FINAL_PHASES


def is_stalled(session: Json) -> bool:
    """Whether the operator says that it does not get on."""
    return condition(session, ConditionType.STALLED).get("status") == "True"


def is_paused_by_person(session: Json) -> bool:
    """Whether a person, and no limit, paused it."""
    return bool(session["spec"].get("operatingMode") == "Paused")


def reason_of(session: Json) -> str:
    """Return why it is where it is, in one word."""
    return str(condition(session, ConditionType.READY).get("reason") or "")


def needs_somebody_first(sessions: Iterable[Json]) -> list[Json]:
    """Return sessions in the order in which they need a person; among equals the youngest first."""
    youngest = sorted(sessions, key=lambda one: str(one["metadata"]["creationTimestamp"]), reverse=True)
    return sorted(youngest, key=urgency)


def urgency(session: Json) -> int:
    """Return how early a session stands in a list, from 0."""
    return next((place for place, holds in enumerate(URGENCY) if holds(session)), len(URGENCY))


SORTS: Final[dict[str, Callable[[Json], Any]]] = {
    "need": urgency,
    "age": lambda one: one["metadata"]["creationTimestamp"],
    "name": lambda one: one["metadata"]["name"],
    "tokens": lambda one: -(usage_of(one).get("totalTokens") or 0),
    "cost": lambda one: -(usage_of(one).get("costMicroUSD") or 0),
}


def usage_of(session: Json) -> Json:
    """Return what was spent."""
    found: Json = status_of(session).get("usage") or {}
    return found


def row(session: Json, *, is_wide: bool, with_namespace: bool, now: datetime | None = None) -> list[str | Text]:
    """Return a session as a line of a list."""
    usage, meta = usage_of(session), session["metadata"]
    cells: list[str | Text] = [meta["namespace"]] if with_namespace else []
    cells += [
        meta["name"],
        phase_text(phase_of(session)),
        reason_of(session),
        str(usage.get("steps", 0)),
        str(usage.get("totalTokens", 0)),
        age(meta["creationTimestamp"], now or datetime.now(UTC)),
    ]
    if is_wide:
        agents = status_of(session).get("agents") or [{}]
        goal = str(session["spec"].get("title") or session["spec"].get("goal") or "")
        cells += [
            str(session["spec"].get("type", "")),
            money(usage.get("costMicroUSD")),
            str(status_of(session).get("retries", 0)),
            str(agents[0].get("podName", "")),
            str(session["spec"].get("owner", "")),
            cut(goal, GOAL_CHARS),
        ]
    return cells


def next_step(session: Json) -> str:
    """Return what a person may do now; empty when nothing comes to mind."""
    phase, meta = phase_of(session), session["metadata"]
    if phase == Phase.PAUSED and status_of(session).get("stopReason") == StopReason.APPROVAL_EXPIRED:
        phase = Phase.WAITING  # it goes on once somebody decides, and not before
    where = {"name": meta["name"], "namespace": meta["namespace"]}
    flag = LIMIT_FLAGS.get(str(status_of(session).get("stopReason") or reason_of(session)))
    if phase == Phase.PAUSED and flag:
        return (
            "raise the limit, and it goes on: `kubectl agentsession limits set {name} {flag} N -n {namespace}`".format(
                flag=flag, **where
            )
        )
    return NEXT_STEPS.get(phase, "").format(**where)
